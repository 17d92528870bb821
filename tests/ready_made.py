"""A migrated database and the collected static files, made once per run and copied from then on.

To make them takes longer than most tests, and every worker and every house of ``tests.integration`` wants them.
"""

import atexit
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

# Environment variable: where they lie in this run. `make test` sets it for its two commands, pytest for its workers.
FOLDER = "TESTS_READY_MADE"


def begin() -> Path:
    """The folder of this run, empty until somebody asks; removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="parley-ready-made-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ[FOLDER] = str(folder)
    return folder


def database(to: Path) -> None:
    """Copies the migrated SQLite file."""
    shutil.copyfile(_made("migrate") / "parley.sqlite3", to)


def static(var_dir: Path) -> None:
    """Copies the static files into a folder that becomes ``VAR_DIR``."""
    shutil.copytree(_made("collectstatic") / "static", var_dir / "static")


def installation(var_dir: Path) -> None:
    """Copies all that ``config.supervisor.prepare`` makes into a folder that becomes ``VAR_DIR``."""
    database(var_dir / "parley.sqlite3")
    static(var_dir)


def manage(command: str, **environment: str) -> None:
    """A management command to its end."""
    arguments = [sys.executable, "manage.py", command, "--noinput", "--verbosity", "0"]
    subprocess.run(arguments, env=os.environ | {"PRODUCTION": ""} | environment, check=True)


def _made(command: str) -> Path:
    """The ``VAR_DIR`` of a command, run by whoever asks first."""
    folder = (Path(os.environ[FOLDER]) if FOLDER in os.environ else begin()) / command
    folder.mkdir(exist_ok=True)
    finished = folder / "finished"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            manage(command, VAR_DIR=str(folder), DATABASE_URL="")
            finished.touch()
    return folder
