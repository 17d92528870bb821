"""Production does not start with a development convenience; its deployment check is clean."""

import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from config.env import BASE_DIR

pytestmark = pytest.mark.pure

GOOD = {
    "PRODUCTION": "true",
    "PUBLIC_URL": "https://voice.example.com",
    "SECRET_KEY": "x7" * 40 + "abcdefghij",
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "SUPPRESSION_KEY": "s" * 50,
}


def check(tmp_path, **changes):
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), **GOOD, **changes}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    return subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=False)


def test_the_deployment_check_finds_nothing(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ALLOW_UNSIGNED": "true"}, "does not start with DEBUG or ALLOW_UNSIGNED"),
        ({"DEBUG": "true"}, "does not start with DEBUG or ALLOW_UNSIGNED"),
        ({"SECRET_KEY": ""}, "SECRET_KEY must be set"),
        ({"ENCRYPTION_KEYS": ""}, "ENCRYPTION_KEYS must be set"),
        ({"PUBLIC_URL": "http://voice.example.com"}, "must begin with https"),
        ({"PRODUCTION": "ture"}, "PRODUCTION must be true or false, not 'ture'"),
        ({"ENCRYPTION_KEYS": "hunter2"}, "key 1 of 1 is no Fernet key"),
        ({"STREAM_URL": "ws://voice.example.com"}, "STREAM_URL must begin with wss"),
        ({"STREAM_SIGNATURE": "maybe"}, "must be 'required' or 'token'"),
        ({"PLIVO_AUTH_ID": "ma" + "1" * 18, "PLIVO_AUTH_TOKEN": "t"}, "PLIVO_AUTH_ID must be MA or SA"),
        ({"PLIVO_AUTH_TOKEN": "t"}, "set both or neither"),
    ],
)
def test_production_refuses_to_start(tmp_path, change, complaint):
    done = check(tmp_path, **change)
    assert done.returncode != 0
    assert complaint in done.stderr
