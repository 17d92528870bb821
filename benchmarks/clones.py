"""The README's two commands in fresh clones, each with a virtual environment of its own; used by ``benchmarks.bars``.

What is committed is cloned, not what lies in the folder. Nothing of the caller's environment comes along but what finds
programs and packages.
"""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.suites import run
from config.env import BASE_DIR

KEPT = re.compile(r"PATH|HOME|USER|LANG|LC_\w+|TMPDIR|PIP_\w+|(?:https?|no|all)_proxy|SSL_\w+|REQUESTS_CA_BUNDLE", re.I)
TEST_SECONDS = 15 * 60
RUNS = 2


def demo() -> tuple[str, bool]:
    """``make demo ONCE=1``."""
    with _clone() as (folder, commit):
        seconds, status, output = _make(folder, "demo", "ONCE=1")
    return f"at {commit}: {demo_figure(status, output)}, exit {status}, {seconds:.0f} s with set-up", status == 0


def demo_figure(status: int, output: str) -> str:
    """What a run of the demo says of itself, its failure included."""
    found = re.findall(r"^(?:\d+ caller turns.*|Transcript, .*|The demo failed.*|Missing .*)$", output, re.MULTILINE)
    return " ".join(found) or f"exit {status}: {output[-300:]}"


def tests() -> tuple[str, bool]:
    """``make test`` twice, the set-up not counted."""
    with _clone() as (folder, commit):
        _, status, output = _make(folder, "setup-test")
        if status:
            return f"at {commit}: the set-up failed: {output[-300:]}", False
        runs = [_make(folder, "test") for _ in range(RUNS)]
    told = [_test_figure(*each) for each in runs]
    return f"at {commit}: {'; then '.join(told)}", all(not status and s < TEST_SECONDS for s, status, _ in runs)


def _test_figure(seconds: float, status: int, output: str) -> str:
    sums = re.findall(r"^.*\b(?:passed|failed|errors?)\b.* in [\d.]+s.*$", output, re.MULTILINE)
    failed = re.findall(r"^(?:FAILED|ERROR) .{,300}", output, re.MULTILINE)
    what = " and ".join(each.split(" in ")[0].strip("= ") for each in sums) or output[-300:]
    return " ".join([f"{what}, exit {status}, {seconds / 60:.1f} min", *failed])


@contextlib.contextmanager
def _clone() -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory(prefix="parley-clone-") as folder:
        place = Path(folder) / "parley"
        status, output = run(["git", "clone", "-q", f"file://{BASE_DIR}", str(place)])
        if status:
            raise RuntimeError(f"git clone failed: {output}")
        _, commit = run(["git", "rev-parse", "--short", "HEAD"], folder=place)
        yield place, commit.strip()


def _make(folder: Path, *arguments: str) -> tuple[float, int, str]:
    """Seconds, exit status and output."""
    environment = {name: value for name, value in os.environ.items() if KEPT.fullmatch(name)}
    begun = time.monotonic()
    status, output = run(["make", *arguments], folder=folder, only=True, **environment)
    return time.monotonic() - begun, status, output
