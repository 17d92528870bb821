"""What a supervised process prints: appended to its log file and, line by line under its name, to the terminal.

Reading never stops before the process ends: a pipe that nobody empties freezes the process that writes into it.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

READ_BYTES = 65_536  # also the longest line that the terminal gets in one piece; the file has every line whole


def tell(line: bytes) -> None:
    """One line to the terminal. Bytes, since a terminal's encoding must not decide whether a log line can be told."""
    # A terminal that is gone (`make run | head`) ends nothing here, and there is nowhere left to say so.
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.flush()


class Output:
    """Copies the output of one process, over all its restarts."""

    def __init__(self, name: str, log: Path, *, quiet: bool) -> None:
        """Args:
        name: of the process, in front of its lines on the terminal.
        log: the file to append to.
        quiet: the file alone gets the lines.
        """
        self._prefix = f"{name:>7} | ".encode()
        self._log = log
        self._quiet = quiet
        self._log_fails = False

    async def copy(self, source: asyncio.StreamReader) -> None:
        """Copies until the process has closed its output. In pieces, because a line may be longer than any buffer."""
        rest = b""
        while piece := await self._read(source):
            self._append(piece)
            if self._quiet:
                continue
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) >= READ_BYTES:
                lines, rest = [*lines, rest], b""
            for line in lines:
                tell(self._prefix + line)
        if rest:
            tell(self._prefix + rest)

    async def _read(self, source: asyncio.StreamReader) -> bytes:
        try:
            return await source.read(READ_BYTES)
        except OSError as error:
            tell(self._prefix + f"its output cannot be read any more: {error}".encode())
            return b""

    def _append(self, piece: bytes) -> None:
        try:
            # Opened each time: the file may be rotated away, and a full disk may have room again.
            with self._log.open("ab", buffering=0) as log:
                log.write(piece)
        except OSError as error:
            if not self._log_fails:
                tell(self._prefix + f"its log lines are lost until {self._log} can be written: {error}".encode())
            self._log_fails = True
        else:
            self._log_fails = False
