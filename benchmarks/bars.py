"""``make bars``: a line for each promised figure: name, what was measured now, the bar, and whether it holds.

Without names the short ones run; ``make bars BARS="kill codecs"`` runs those named, long ones too. Exit status 1 if any
that ran falls short.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

PYTHON = sys.executable
CODECS = ("audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000")
POSTGRES = (PYTHON, "-m", "tests.with_postgres")


@dataclass(frozen=True)
class Bar:
    """One promised figure. ``measure`` returns what it found and whether that holds."""

    name: str
    bar: str
    measure: Callable[[], tuple[str, bool]]
    long: bool = False


def run(command: Sequence[str], **environment: str) -> tuple[int, str]:
    """Exit status and output of a command."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def suite(*arguments: str, wrapper: Sequence[str] = ()) -> Callable[[], tuple[str, bool]]:
    """A bar that is a set of tests: all of them must pass, and there must be some."""

    def measure() -> tuple[str, bool]:
        status, output = run([*wrapper, PYTHON, "-m", "pytest", "-q", "--no-header", *arguments])
        closing = re.findall(r"^.*\b(?:passed|failed|error).*$", output, re.MULTILINE)
        failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
        return " ".join([closing[-1].strip("= ") if closing else "no test ran", *failed]), status == 0

    return measure


def demo(*arguments: str) -> tuple[str, bool]:
    """One whole call in a database of its own."""
    with tempfile.TemporaryDirectory(prefix="parley-bar-") as folder:
        status, output = run([PYTHON, "-m", "config.demo", "--once", *arguments], DEMO_VAR_DIR=folder)
    found = re.search(r"^\d+ caller turns.*$", output, re.MULTILINE)
    failure = re.search(r"^(?:The demo failed|Missing).*$", output, re.MULTILINE)
    text = found[0] if found else f"exit {status}"
    return f"{text} {failure[0]}" if failure else text, status == 0


def every(*measures: Callable[[], tuple[str, bool]]) -> Callable[[], tuple[str, bool]]:
    """A bar of several parts, all of which must hold."""

    def measure() -> tuple[str, bool]:
        found = [part() for part in measures]
        return "; ".join(text for text, _ in found), all(holds for _, holds in found)

    return measure


def kill() -> tuple[str, bool]:
    """The stream process killed with SIGKILL in the middle of calls; the worst of each figure."""
    status, output = run([PYTHON, "-m", "benchmarks.kill"])
    found = re.search(r"^.* calls killed .*$", output, re.MULTILINE)
    return found[0] if found else f"exit {status}", status == 0


BARS = (
    Bar(
        "strangers",
        "every stranger's socket refused, 0 provider connections",
        suite("tests/streaming/test_door.py", "tests/integration/stream/test_strangers.py"),
    ),
    Bar("webhooks", "forged, altered, unsigned, replayed: 403, nothing changed", suite("tests/calls/test_webhooks.py")),
    Bar("lifecycle", "any order, doubling, loss of events: the same row", suite("tests/calls/test_states.py")),
    Bar("sdks", "openai, elevenlabs, plivo SDKs accept the sandbox", suite("tests/sandbox", "-m", "not slow")),
    Bar(
        "canaries",
        "keys planted through every feature: 0 hits in database, logs, Redis, pages, files",
        every(
            suite("tests", "-k", "canary or never_comes_out or key_never", "-m", "not slow"),
            suite("tests/integration/test_canaries.py"),
        ),
        long=True,
    ),
    Bar("demo", "exit 0; 4 turns each way, 1 interruption, recording, summary", demo, long=True),
    Bar(
        "codecs",
        "the demo passes with each codec",
        every(*(lambda codec=codec: demo("--codec", codec) for codec in CODECS)),
        long=True,
    ),
    Bar(
        "servers",
        "the demo passes on uvicorn and on Daphne",
        every(*(lambda server=server: demo("--server", server) for server in ("uvicorn", "daphne"))),
        long=True,
    ),
    Bar(
        "databases",
        "stream and lifecycle tests pass on SQLite and PostgreSQL",
        every(
            suite("tests/calls", "tests/streaming", "-m", "not slow"),
            suite("tests/calls", "tests/streaming", "-m", "not slow", wrapper=POSTGRES),
        ),
        long=True,
    ),
    Bar("kill", "again within 5 s, no turn lost, at most 1 s of audio, ends by itself", kill, long=True),
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
