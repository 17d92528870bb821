"""The declared environment variables, their example file and the keys made on first run."""

import re
import stat

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env as environment
from config.env import BASE_DIR, VARIABLES, env, redis_socket, secret

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
    with pytest.raises(ImproperlyConfigured, match="DRAIN_SECONDS must be a int: how long"):
        env("DRAIN_SECONDS")


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", "")
    assert env("PUBLIC_URL") == "http://127.0.0.1:8000"


def test_a_deep_folder_does_not_make_the_redis_socket_too_long(own_var_dir, monkeypatch):
    monkeypatch.setenv("VAR_DIR", str(own_var_dir / ("deep" * 30)))
    assert len(str(redis_socket())) <= environment.UNIX_SOCKET_PATH_LIMIT


def test_the_stream_url_follows_the_public_url(monkeypatch):
    monkeypatch.setenv("PUBLIC_URL", "https://voice.example.com/")
    monkeypatch.delenv("STREAM_URL", raising=False)
    assert environment.stream_url() == "wss://voice.example.com"
