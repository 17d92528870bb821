"""Every environment variable that Parley reads, declared once: name, type, default, help.

``config/settings.py`` and ``config/supervisor.py`` read them from here. ``.env.example``
lists the same variables; a test holds the two against each other.
"""

import hashlib
import os
import secrets
import tempfile
import time
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
UNIX_SOCKET_PATH_LIMIT = 100  # bytes; Linux allows 108 with the terminating NUL
BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def boolean(text: str) -> bool:
    """A switch. Strict, since a misspelt ``true`` that meant false would start without production's checks.

    Raises:
        ValueError: it is neither a word for true nor one for false.
    """
    try:
        return BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(text) from None


def time_zone(text: str) -> str:
    """A time zone's name in the IANA database.

    Raises:
        ValueError: there is none of that name.
    """
    if text not in zoneinfo.available_timezones():
        raise ValueError(text)
    return text


def comma_separated(text: str) -> list[str]:
    """The parts between commas, without blanks around them and without empty ones."""
    return [part.strip() for part in text.split(",") if part.strip()]


# What a variable's text must be, for the message about one that is not.
KINDS: dict[Callable[[str], Any], str] = {
    boolean: "true or false",
    int: "a whole number",
    float: "a number",
    time_zone: "a time zone such as Europe/Berlin",
}


@dataclass(frozen=True)
class Variable:
    """One environment variable: how it is read, what it is without being set, and what it is for."""

    name: str
    cast: Callable[[str], Any]
    default: Any
    help: str


VARIABLES = (
    Variable("PRODUCTION", boolean, False, "true refuses to start with any development convenience or missing key"),
    Variable("DEBUG", boolean, False, "Django's debug pages; refused in production"),
    Variable("VAR_DIR", str, "var", "folder for the database, keys, recordings and sockets of this installation"),
    Variable("PHRASES_DIR", str, "", "folder of prepared speech, shared by all hosts; empty: phrases under VAR_DIR"),
    Variable("DATABASE_URL", str, "", "postgres://user:password@host/name; empty: SQLite under VAR_DIR"),
    Variable("REDIS_URL", str, "", "redis://host:6379/0; empty: a private redis-server started by `make run`"),
    Variable("PUBLIC_URL", str, "http://127.0.0.1:8000", "address at which Plivo and browsers reach the web role"),
    Variable("STREAM_URL", str, "", "address at which Plivo reaches the stream role; empty: PUBLIC_URL as ws(s)"),
    Variable(
        "ALLOWED_HOSTS", comma_separated, [], "more host names to answer to, comma separated; PUBLIC_URL's is always in"
    ),
    Variable("TRUST_PROXY", boolean, False, "true behind a proxy that sets and strips X-Forwarded-Proto and -For"),
    Variable("SECRET_KEY", str, "", "Django's signing key; empty: made on first run under VAR_DIR"),
    Variable(
        "ENCRYPTION_KEYS", comma_separated, [], "Fernet keys for stored secrets, newest first; empty: made on first run"
    ),
    Variable("SUPPRESSION_KEY", str, "", "key of the do-not-call hashes, never changed; empty: made on first run"),
    Variable("TIME_ZONE", time_zone, "UTC", "zone of the times in the admin and of {{date}} and {{time}} on calls"),
    Variable("ALLOW_UNSIGNED", boolean, False, "true admits unsigned webhooks and sockets, for local development only"),
    Variable("STREAM_SIGNATURE", str, "required", "required: signed handshakes only; token: rest on the token alone"),
    Variable("PLIVO_API_URL", str, "https://api.plivo.com", "Plivo's REST API, or the sandbox"),
    Variable("PLIVO_AUTH_ID", str, "", "of a Plivo account that the admin then lists by itself"),
    Variable("PLIVO_AUTH_TOKEN", str, "", "its token, needed with the id; not stored"),
    Variable("OPENAI_BASE_URL", str, "https://api.openai.com/v1", "OpenAI's API, or the sandbox"),
    Variable("OPENAI_API_KEY", str, "", "used by OpenAI accounts without a key of their own"),
    Variable("ELEVENLABS_BASE_URL", str, "https://api.elevenlabs.io", "ElevenLabs' API, or the sandbox"),
    Variable("ELEVENLABS_API_KEY", str, "", "used by ElevenLabs accounts without a key of their own"),
    Variable("PROVIDER_CLOCK_SCALE", float, 1.0, "factor on every provider timeout; the quick tests use 0.1"),
    Variable(
        "STREAM_PROCESSES", int, 1, "stream processes of `make run`, one for each core that shall carry live calls"
    ),
    Variable("TURN_MODEL", boolean, True, "false: the end of a turn is judged without the smart-turn model (100 MB)"),
    Variable("MAX_LIVE_CALLS", int, 0, "live calls that one stream process takes; 0: by measured loop lag alone"),
    Variable("DRAIN_SECONDS", int, 600, "how long a stopping stream process waits for its live calls"),
    Variable("APPROVAL_ABOVE", int, 1000, "people of a campaign that need no second person's approval; 0: all need it"),
    Variable("WEBHOOK_RETENTION_DAYS", int, 30, "how long received webhooks, with their numbers, can be looked up"),
    Variable("METRICS_TOKEN", str, "", "bearer token that may read /metrics from elsewhere than loopback"),
    Variable("LOG_LEVEL", str, "INFO", "DEBUG, INFO, WARNING or ERROR"),
)

_BY_NAME = {variable.name: variable for variable in VARIABLES}
_env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")


def env(name: str) -> Any:
    """The value of a declared variable.

    Raises:
        KeyError: the variable is not declared in ``VARIABLES``.
        ImproperlyConfigured: its text is not of the declared type.
    """
    variable = _BY_NAME[name]
    text = _env.get_value(name, default="").strip()
    if not text:  # unset, or `NAME=` as in an env file
        return variable.default
    try:
        return variable.cast(text)
    except ValueError as error:
        raise ImproperlyConfigured(f"{name} must be {KINDS[variable.cast]}, not {text!r}: {variable.help}") from error


def var_dir() -> Path:
    """The folder of this installation's own files; made when missing, readable by the owner only."""
    path = Path(env("VAR_DIR"))
    path = path if path.is_absolute() else BASE_DIR / path
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def secret(name: str) -> str:
    """A key from the environment or, outside production, one made on first run and kept under ``VAR_DIR``.

    Raises:
        ImproperlyConfigured: production without the variable.
    """
    value = env(name)
    if isinstance(value, list):
        value = ",".join(value)
    if value:
        return value
    if env("PRODUCTION"):
        raise ImproperlyConfigured(f"{name} must be set in production: {_BY_NAME[name].help}")
    path = var_dir() / f"{name.lower()}.key"
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        return _read_when_written(path)  # an earlier run, or another process of this one, made it
    with os.fdopen(descriptor, "w") as file:
        file.write(Fernet.generate_key().decode() if name == "ENCRYPTION_KEYS" else secrets.token_urlsafe(48))
    return _read_when_written(path)


def _read_when_written(path: Path, tries: int = 100) -> str:
    """The file's text; waits for the process that has just created it to fill it."""
    for _ in range(tries):
        if text := path.read_text().strip():
            return text
        time.sleep(0.02)
    raise ImproperlyConfigured(f"{path} is empty: delete it if no data was encrypted with it")


def redis_socket() -> Path:
    """Where the private redis-server listens when ``REDIS_URL`` is unset."""
    path = var_dir() / "redis.sock"
    if len(str(path)) <= UNIX_SOCKET_PATH_LIMIT:
        return path
    return Path(tempfile.gettempdir()) / f"parley-{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.sock"


def redis_url() -> str:
    """``REDIS_URL``, or the private server's socket as ``unix://``."""
    return env("REDIS_URL") or f"unix://{redis_socket()}"


def broker_url() -> str:
    """The same server in Celery's spelling."""
    url = redis_url()
    return url.replace("unix://", "redis+socket://", 1) if url.startswith("unix://") else url


def fernet_keys() -> list[str]:
    """``ENCRYPTION_KEYS``, newest first.

    Raises:
        ImproperlyConfigured: one of them is no Fernet key, or production without the variable.
    """
    keys = comma_separated(secret("ENCRYPTION_KEYS"))
    for place, key in enumerate(keys, start=1):
        try:
            Fernet(key)
        except ValueError:
            raise ImproperlyConfigured(
                f"ENCRYPTION_KEYS: key {place} of {len(keys)} is no Fernet key (32 bytes in URL-safe base64); make one "
                'with python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
            ) from None
    return keys


def public_url() -> str:
    """``PUBLIC_URL`` without a trailing slash.

    Raises:
        ImproperlyConfigured: it is no http(s) address, or not https in production.
    """
    return _address("PUBLIC_URL", env("PUBLIC_URL"), secure="https", plain="http")


def stream_url() -> str:
    """``STREAM_URL``, or ``PUBLIC_URL`` with its scheme turned into ws or wss; without a trailing slash.

    Raises:
        ImproperlyConfigured: it is no ws(s) address, or not wss in production.
    """
    return _address("STREAM_URL", env("STREAM_URL") or public_url().replace("http", "ws", 1), secure="wss", plain="ws")


def _address(name: str, url: str, *, secure: str, plain: str) -> str:
    parts = urlsplit(url)
    if env("PRODUCTION") and parts.scheme != secure:
        raise ImproperlyConfigured(f"{name} must begin with {secure}:// in production")
    if parts.scheme not in {secure, plain} or not parts.hostname:
        raise ImproperlyConfigured(f"{name} must be {secure}://host or {plain}://host, not {url!r}")
    return url.rstrip("/")
