"""``make bars``: a line for each promised figure: name, what was measured now, the bar, and whether it holds.

Without names the short ones run; ``make bars BARS="kill codecs"`` runs those named, long ones too. Exit status 1 if any
that ran falls short.
"""

import argparse
import re
import sys
import tempfile
from dataclasses import dataclass

from benchmarks import clones, noise, stream_bars
from benchmarks.suites import POSTGRES, PYTHON, Measure, every, run, suite

CODECS = ("audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000")
SERVERS = ("uvicorn", "daphne")
JOURNEYS = "tests/integration/stream"
QUICK = ("-m", "not slow", "-n", "3")
KILLED = "again within 5 s, no turn lost, at most 1 s of audio, ends by itself"
LIFE_OF_A_CALL = ("tests/calls", "tests/streaming", *QUICK)

DIALLING = "import django, sys; django.setup(); from benchmarks import dialling; sys.exit(dialling.main())"

KEEPERS_OF_KEYS = (
    "tests/agents/admin/test_canary.py",
    "tests/agents/admin/test_accounts.py",
    "tests/agents/admin/test_history.py",
    "tests/agents/test_accounts.py",
    "tests/agents/test_rotation.py",
    "tests/calls/admin/test_connections.py",
)


@dataclass(frozen=True)
class Bar:
    """One promised figure."""

    name: str
    bar: str
    measure: Measure
    long: bool = False


def demo(*arguments: str) -> tuple[str, bool]:
    """One whole call in a database of its own."""
    with tempfile.TemporaryDirectory(prefix="parley-bar-") as folder:
        status, output = run([PYTHON, "-m", "config.demo", "--once", *arguments], DEMO_VAR_DIR=folder)
    return " ".join([*arguments[1:], clones.demo_figure(status, output)]), status == 0


def kill(*arguments: str) -> tuple[str, bool]:
    """The stream process killed with SIGKILL in the middle of calls; the worst of each figure."""
    status, output = run([PYTHON, "-m", "benchmarks.kill", *arguments])
    found = re.search(r"^.* calls killed .*$", output, re.MULTILINE)
    return found[0] if found else f"exit {status}: {output[-300:]}", status == 0


def campaigns(name: str) -> Measure:
    """A measurement of ``benchmarks.dialling``, over a database of its own."""

    def measure() -> tuple[str, bool]:
        with tempfile.TemporaryDirectory(prefix="parley-bar-") as folder:
            own = {
                "VAR_DIR": folder,
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DATABASE_URL": "",
                "LOG_LEVEL": "ERROR",
            }
            status, output = run([PYTHON, "-c", DIALLING, name], **own)
        found = re.search(r"^found: (.*)$", output, re.MULTILINE)
        return found[1] if found else f"exit {status}: {output[-300:]}", status == 0

    return measure


def stopping() -> tuple[str, bool]:
    """Opt-outs, a pause and the switch while a campaign dials."""
    status, output = run([PYTHON, "-m", "benchmarks.stopping"])
    found = re.search(r"^stopping: (.*)$", output, re.MULTILINE)
    return found[1] if found else f"exit {status}: {output[-300:]}", status == 0


def broken() -> tuple[str, bool]:
    """A campaign of 10,000 people while everything around it breaks."""
    status, output = run([PYTHON, "-m", "benchmarks.campaign_chaos"])
    found = re.search(r"^chaos: (.*)$", output, re.MULTILINE)
    return found[1] if found else f"exit {status}: {output[-300:]}", status == 0


def people() -> tuple[str, bool]:
    """A campaign to 500 people, machines and phones that nobody answers."""
    status, output = run([PYTHON, "-m", "benchmarks.people"])
    found = re.search(r"^people: (.*)$", output, re.MULTILINE)
    return found[1] if found else f"exit {status}: {output[-300:]}", status == 0


def soak() -> tuple[str, bool]:
    """Calls in rotation for SOAK_MINUTES."""
    status, output = run([PYTHON, "-m", "benchmarks.soak"])
    found = re.search(r"^soaked: (.*)$", output, re.MULTILINE)
    return found[1] if found else f"exit {status}: {output[-300:]}", status == 0


BARS = (
    Bar(
        "strangers",
        "every stranger's socket refused, 0 provider connections",
        suite("tests/streaming/test_door.py", f"{JOURNEYS}/test_strangers.py", "-m", "not slow"),
    ),
    Bar("webhooks", "forged, altered, unsigned, replayed: 403, nothing changed", suite("tests/calls/test_webhooks.py")),
    Bar(
        "lifecycle",
        "any order, doubling, loss of events: the same row",
        suite("tests/calls/test_states.py", "tests/calls/test_lifecycle.py"),
    ),
    Bar(
        "sdks",
        "openai, elevenlabs, plivo SDKs: all used calls succeed, violations are refused as the vendor does",
        suite("tests/sandbox", "tests/agents/providers", "tests/calls/telephony", "tests/calls/test_phone.py", *QUICK),
    ),
    Bar(
        "canaries",
        "keys planted through every feature: 0 hits in database, logs, Redis, pages, files",
        suite(*KEEPERS_OF_KEYS, "tests/integration/test_canaries.py"),
        long=True,
    ),
    Bar(
        "noise",
        "a minute each: at most 1 pause in white noise, 1 in a street, 4 in babble; 0 replies cancelled",
        noise.measure,
    ),
    Bar("demo", "exit 0; 4 turns each way, 1 interruption, recording, summary", demo, long=True),
    Bar("clone", "the same in a fresh clone: make demo ONCE=1", clones.demo, long=True),
    Bar("tests", "make test in a fresh clone: green twice in a row, each under 15 minutes", clones.tests, long=True),
    Bar(
        "codecs",
        "the demo passes with each codec",
        every(*(lambda codec=codec: demo("--codec", codec) for codec in CODECS)),
        long=True,
    ),
    Bar(
        "servers",
        "the stream tests and the demo pass on uvicorn and on Daphne",
        every(
            *(suite(JOURNEYS, "-k", f"{server}-sqlite", at=server) for server in SERVERS),
            *(lambda server=server: demo("--server", server) for server in SERVERS),
        ),
        long=True,
    ),
    Bar(
        "databases",
        "stream and lifecycle tests pass on SQLite and PostgreSQL",
        every(
            suite(*LIFE_OF_A_CALL, at="SQLite"),
            suite(*LIFE_OF_A_CALL, wrapper=POSTGRES, at="PostgreSQL"),
            *(suite(JOURNEYS, "-k", f"{server}-postgres", at=f"{server} on PostgreSQL") for server in SERVERS),
        ),
        long=True,
    ),
    Bar("kill", KILLED, kill, long=True),
    Bar("kill50", f"50 times: {KILLED}", lambda: kill("--times", "50"), long=True),
    Bar(
        "drain",
        "SIGTERM with 10 live calls: 0 dropped, new streams refused meanwhile",
        suite(f"{JOURNEYS}/test_drains.py"),
        long=True,
    ),
    Bar(
        "chaos",
        "Redis, database, disk, worker, beat broken: calls go on, nothing finished is lost",
        suite("tests/chaos"),
        long=True,
    ),
    Bar("soak", "an hour of calls in rotation: memory, files, sockets, threads and tasks stay flat", soak, long=True),
    Bar(
        "abuse",
        "1,000 malformed messages, 200 hostile handshakes, stalls: 0 crashes, 0 leaks, other calls' lateness unchanged",
        suite(f"{JOURNEYS}/test_abuse.py", "-m", "slow"),
        long=True,
    ),
    *(Bar(*each, long=True) for each in stream_bars.BARS),
    Bar("hours", "100,000 random instants, zones and rules: 0 calls outside the hours", campaigns("hours"), long=True),
    Bar(
        "importing",
        "100,000 rows in under 60 s and 300 MB; their rehearsal in under 5 s",
        campaigns("importing"),
        long=True,
    ),
    Bar(
        "claiming",
        "a claim among 1,000,000 people under 10 ms at the median, whatever their number",
        campaigns("claiming"),
        long=True,
    ),
    Bar(
        "pacing",
        "4 processes at 2, 10 and 50 a second: never above in any second (once at 50), 95 % used",
        campaigns("pacing"),
        long=True,
    ),
    Bar(
        "crashes",
        "each crash point of the dial path, each outcome of the request cut at every phase: classified, rung once",
        suite("tests/calls/telephony/test_dial.py", "tests/calls/campaigns/test_dialling.py", "-n", "2"),
        long=True,
    ),
    Bar(
        "stopping",
        "last request 2 s after an opt-out, a pause, the switch without Redis",
        stopping,
        long=True,
    ),
    Bar(
        "chaos",
        "10,000 people, diallers killed, Redis emptied, beats gone, 5 % lost, 5 % 5xx: nobody twice, all end in 600 s",
        broken,
        long=True,
    ),
    Bar(
        "people",
        "500 people, machines, screeners: as scripted; each message whole after its greeting; greeted within 500 ms",
        people,
        long=True,
    ),
)


def main() -> int:
    """Runs the bars; 0 when all that ran hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="bars to run: " + ", ".join(bar.name for bar in BARS))
    names = set(parser.parse_args().names)
    if unknown := names - {bar.name for bar in BARS}:
        parser.error(f"there is no bar {', '.join(sorted(unknown))}")
    missed = 0
    for bar in BARS:
        if bar.name not in names and (names or bar.long):
            if not names:
                print(f"{bar.name:10} | not run: long, name it | {bar.bar}")
            continue
        figure, holds = bar.measure()
        missed += not holds
        print(f"{bar.name:10} | {figure} | {bar.bar} | {'holds' if holds else 'FALLS SHORT'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
