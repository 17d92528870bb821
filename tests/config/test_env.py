"""The declared environment variables, their example file and the keys made on first run."""

import re
import stat

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from config import env as environment
from config.env import BASE_DIR, VARIABLES, env, fernet_keys, public_url, redis_socket, secret, stream_url

pytestmark = pytest.mark.pure


@pytest.fixture
def own_var_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    for name in ("SECRET_KEY", "ENCRYPTION_KEYS", "SUPPRESSION_KEY", "PRODUCTION", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_example_file_lists_every_variable_with_its_default_and_help():
    text = (BASE_DIR / ".env.example").read_text()
    listed = re.findall(r"^# (.+)\n#([A-Z_]+)=(.*)$", text, re.MULTILINE)
    declared = [(variable.help, variable.name, _as_text(variable.default)) for variable in VARIABLES]
    assert listed == declared


def _as_text(default):
    if isinstance(default, bool):
        return str(default).lower()
    return ",".join(default) if isinstance(default, list) else str(default)


def test_nothing_but_env_py_reads_the_environment():
    readers = [
        path.relative_to(BASE_DIR).as_posix()
        for package in ("agents", "calls", "config", "streaming")
        for path in (BASE_DIR / package).rglob("*.py")
        if re.search(r"os\.environ(\.get\(|\[[^]]+\](?! =))|getenv\(", path.read_text())
    ]
    # The programs that start other programs hand their environment on.
    assert set(readers) <= {"config/demo.py", "config/supervisor.py"}


def test_a_key_is_made_once_and_only_its_owner_can_read_it(own_var_dir):
    first = secret("SECRET_KEY")
    assert len(first) > 40
    assert secret("SECRET_KEY") == first
    assert stat.S_IMODE((own_var_dir / "secret_key.key").stat().st_mode) == 0o600


def test_production_does_not_make_up_keys(own_var_dir, monkeypatch):
    monkeypatch.setenv("PRODUCTION", "true")
    with pytest.raises(ImproperlyConfigured, match="SUPPRESSION_KEY must be set in production"):
        secret("SUPPRESSION_KEY")
    assert not list(own_var_dir.iterdir())


def test_a_variable_of_the_wrong_type_is_named_with_its_meaning(monkeypatch):
    monkeypatch.setenv("DRAIN_SECONDS", "soon")
    with pytest.raises(ImproperlyConfigured, match="DRAIN_SECONDS must be a whole number, not 'soon': how long"):
        env("DRAIN_SECONDS")


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_an_empty_variable_is_an_unset_one(variable, text, monkeypatch):
    monkeypatch.setenv(variable.name, text)
    assert env(variable.name) == variable.default


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("on", True), ("off", False), ("0", False)]
)
def test_a_switch_has_words_for_on_and_for_off(text, value, monkeypatch):
    monkeypatch.setenv("DEBUG", text)
    assert env("DEBUG") is value


@pytest.mark.parametrize("text", ["ture", "enabled", "2"])
def test_a_misspelt_switch_is_not_taken_for_off(text, monkeypatch):
    monkeypatch.setenv("PRODUCTION", text)
    with pytest.raises(ImproperlyConfigured, match=f"PRODUCTION must be true or false, not '{text}': true refuses"):
        env("PRODUCTION")


def test_a_list_is_read_with_blanks_around_its_commas(monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", "a.example.com, b.example.com,")
    assert env("ALLOWED_HOSTS") == ["a.example.com", "b.example.com"]


def test_an_unusable_encryption_key_is_named_by_its_place_and_not_shown(own_var_dir, monkeypatch):
    monkeypatch.setenv("ENCRYPTION_KEYS", f"{Fernet.generate_key().decode()},hunter2")
    with pytest.raises(ImproperlyConfigured, match="key 2 of 2 is no Fernet key") as refusal:
        fernet_keys()
    assert "hunter2" not in str(refusal.value)


def test_the_key_made_on_first_run_is_a_fernet_key(own_var_dir):
    assert len(fernet_keys()) == 1


@pytest.mark.parametrize("url", ["voice.example.com", "ws://voice.example.com", "https://", "ftp://voice.example.com"])
def test_a_public_url_that_is_no_web_address_is_refused(url, monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", url)
    with pytest.raises(ImproperlyConfigured, match="PUBLIC_URL must be https://host or http://host"):
        public_url()


@pytest.mark.parametrize("url", ["voice.example.com", "https://voice.example.com", "wss://", "127.0.0.1:8001"])
def test_a_stream_url_that_is_no_websocket_address_is_refused(url, monkeypatch):
    monkeypatch.setenv("STREAM_URL", url)
    with pytest.raises(ImproperlyConfigured, match="STREAM_URL must be wss://host or ws://host"):
        stream_url()


def test_a_deep_folder_does_not_make_the_redis_socket_too_long(own_var_dir, monkeypatch):
    monkeypatch.setenv("VAR_DIR", str(own_var_dir / ("deep" * 30)))
    assert len(str(redis_socket())) <= environment.UNIX_SOCKET_PATH_LIMIT


def test_the_stream_url_follows_the_public_url(monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", "https://voice.example.com/")
    monkeypatch.delenv("STREAM_URL", raising=False)
    assert stream_url() == "wss://voice.example.com"


def test_a_time_zone_is_one_of_the_worlds(monkeypatch):
    monkeypatch.setenv("TIME_ZONE", "Europe/Berlin")
    assert env("TIME_ZONE") == "Europe/Berlin"
    monkeypatch.setenv("TIME_ZONE", "Berlin")
    with pytest.raises(ImproperlyConfigured, match="TIME_ZONE must be a time zone such as Europe/Berlin, not 'Berlin'"):
        env("TIME_ZONE")
