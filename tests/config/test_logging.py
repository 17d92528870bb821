"""No phone number in a log line, whoever writes it and by whichever way it came there."""

import json
import os
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.env import BASE_DIR
from config.masking import masked
from tests.config.test_production import GOOD

pytestmark = pytest.mark.pure

NUMBER = "14155552671"
WRITES = """
    import logging
    import structlog
    from django.db import IntegrityError

    NUMBER = "14155552671"
    ours, theirs = structlog.get_logger("ours"), logging.getLogger("theirs")
    DETAIL = f"Key (contact_list_id, number)=(5f0c1a51-0000-4000-8000-000000000000, +{NUMBER}) already exists."
    try:
        try:
            raise ValueError(f"no such number: +{NUMBER}")
        except ValueError as cause:
            raise IntegrityError(f"duplicate key value violates unique constraint\\nDETAIL:  {DETAIL}") from cause
    except IntegrityError as error:
        ours.exception("failed", error=str(error))
        theirs.exception("failed: %s", error)
        logging.getLogger("django.request").error("Internal Server Error: /x/", exc_info=error)
        logging.getLogger("django.server").warning("GET /?To=%2B14155552671")
    ours.error(f"+{NUMBER}", to=f"+{NUMBER}", rows=[{"number": f"+{NUMBER}"}], To=NUMBER, raw=b"+14155552671")
    theirs.error("asked %s of %s", {"from": NUMBER, "to": int(NUMBER)}, f"https://x/?From={NUMBER}&To=%2B{NUMBER}")
    ours.error("kept", pk=NUMBER, at="2026-11-27T01:02:03.123456+00:00", at_ms=1795741323123)
"""


def lines(program: str, tmp_path, **environment: str) -> list[str]:
    """What a process of ours with this program writes to stderr."""
    environment = {"PATH": os.environ["PATH"], "VAR_DIR": str(tmp_path), **GOOD, **environment}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=True)
    return done.stderr.splitlines()


START = {
    "Django": "import os, django\nos.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'\ndjango.setup()\n",
    "Celery": "from config.celery import app\nimport django\ndjango.setup()\napp.log.setup(loglevel='INFO')\n",
}
MODES = {
    "production": {},
    "development": {"PRODUCTION": "false", "DEBUG": "true", "PUBLIC_URL": "http://localhost:8000"},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("process", START)
def test_no_line_of_any_process_bears_a_number(tmp_path, process, mode) -> None:
    written = lines(START[process] + textwrap.dedent(WRITES), tmp_path, **MODES[mode])
    (kept,) = [line for line in written if NUMBER in line]
    for identifier in (NUMBER, "2026-11-27T01:02:03.123456+00:00", "1795741323123"):
        assert identifier in kept, "of what is no number nothing is hidden"
    text = "\n".join(written)
    assert text.count("already exists") >= 4, "of the message, the value and the tracebacks"
    assert text.count("ValueError: no such number: +***71") >= 3
    if mode == "production":
        assert all(json.loads(line)["level"] for line in written)


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("+14155552671", "+***71"),
        ("=(a, +14155552671) already", "=(a, +***71) already"),
        ("To=%2B14155552671&x", "To=%2B***71&x"),
        ("From=14155552671&To=4930123456", "From=***71&To=***56"),
        (r'"{\"to\": \"14155552671\"}"', r'"{\"to\": \"***71\"}"'),
        ("Key (to_number)=(14155552671) already", "Key (to_number)=(***71) already"),
        ("sip:14155552671@phone.plivo.com", "sip:***71@phone.plivo.com"),
        ("from_number='14155552671'", "from_number='***71'"),
        ("CallerName: 14155552671.", "CallerName: ***71."),
    ],
)
def test_of_a_number_two_digits_are_left(line, shown) -> None:
    assert masked(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        '"timestamp": "2026-11-27T01:02:03.123456Z"',
        "at 2026-11-27 01:02:03+0000",
        "token=1795741323123 total: 1795741323 hotel=1795741323",
        "thread 140245678901234, pid=1234567890, at_ms=1795741323123",
        "01795741323123456789-0123456789ab4cde8f01234567890123.jsonl",
        "To=1234567890ab",
        "to: 2026-1127010203",
        "from 1795741323 to 1795741399",
        "call=5f0c1a51-0000-4000-8000-014155552671",
        "number=3.14159265358979",
        "+1415",
    ],
)
def test_what_is_no_number_stays_whole(line) -> None:
    assert masked(line) == line


@given(st.text(), st.from_regex(r"\+[1-9]\d{6,14}", fullmatch=True), st.text())
def test_no_number_with_its_plus_gets_through_and_to_mask_twice_changes_nothing(before, number, after) -> None:
    line = masked(f"{before} {number} {after}")
    assert number not in line
    assert masked(line) == line
