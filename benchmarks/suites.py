"""Commands and sets of tests as measurements, for ``benchmarks.bars``."""

import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PYTHON = sys.executable
POSTGRES = (PYTHON, "-m", "tests.with_postgres")

Measure = Callable[[], tuple[str, bool]]
"""What was found, for a reader, and whether that holds."""


def run(
    command: Sequence[str], *, folder: Path | None = None, only: bool = False, **environment: str
) -> tuple[int, str]:
    """Exit status and output of a command.

    Args:
        only: it gets no other environment than this.
    """
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={"COLUMNS": "400"} | ({} if only else dict(os.environ)) | environment,  # pytest cuts reasons to the width
        stdin=subprocess.DEVNULL,
    )
    return done.returncode, done.stdout + done.stderr


def suite(*arguments: str, wrapper: Sequence[str] = (), at: str = "") -> Measure:
    """A set of tests: all of them must pass, and there must be some.

    What the tests have counted (``record_property``) is added up and told.

    Args:
        wrapper: a command that runs another one.
        at: where they run, for the figure.
    """

    def measure() -> tuple[str, bool]:
        with tempfile.TemporaryDirectory(prefix="parley-bar-") as folder:
            results = Path(folder) / "results.xml"
            status, output = run(
                [*wrapper, PYTHON, "-m", "pytest", "-q", "--no-header", f"--junitxml={results}", *arguments]
            )
            if not results.exists():
                return f"no test ran: {output[-200:]}", False
            found = _figure(ET.parse(results).getroot())  # noqa: S314  (pytest's own)
        failed = re.findall(r"^(?:FAILED|ERROR) (.{,300})", output, re.MULTILINE)
        return " ".join([f"{at}:" if at else "", found, *failed]).strip(), status == 0

    return measure


def every(*measures: Measure) -> Measure:
    """Several parts, all of which must hold."""

    def measure() -> tuple[str, bool]:
        found = [part() for part in measures]
        return "; ".join(text for text, _ in found), all(holds for _, holds in found)

    return measure


def _figure(results: ET.Element) -> str:
    counted: Counter[str] = Counter()
    for each in results.iter("property"):
        if each.attrib["value"].isdecimal():  # not what a plug-in says of itself
            counted[each.attrib["name"]] += int(each.attrib["value"])
    sums: Mapping[str, int] = {
        name: sum(int(each.attrib[name]) for each in results.iter("testsuite"))
        for name in ("tests", "failures", "errors", "skipped")
    }
    passed = sums["tests"] - sums["failures"] - sums["errors"] - sums["skipped"]
    parts = [f"{number} {name}" for name, number in counted.items()]
    parts += [f"{passed} of {sums['tests']} tests passed"]
    return ", ".join(parts)
