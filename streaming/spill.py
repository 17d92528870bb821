"""Files for journal entries that the database did not take: one JSON line each, flushed to disk at once.

Written and read by ``streaming.journal`` alone. A file is locked while its writer lives, so that a starting process
takes over only what a dead one has left.
"""

import fcntl
import os
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)
_SUFFIX = ".jsonl"
_REFUSED = ".refused"


class SpillFile:
    """The file that this process appends to; made with the first entry. Safe to use from several threads.

    Args:
        folder: made when missing, readable by the owner only: entries hold what people said.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._path: Path | None = None

    @property
    def holds_something(self) -> bool:
        """Whether entries were written since the last ``close``."""
        return self._file is not None

    def write(self, entries: Sequence[msgspec.Struct]) -> None:
        """Appends entries; they are on the disk when it returns. Raises OSError."""
        with self._lock:
            if self._file is None:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._path = self._folder / f"{uuid.uuid4().hex}{_SUFFIX}"
                self._file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
                fcntl.flock(self._file, fcntl.LOCK_EX)
            self._file.write(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> Path:
        """Ends the file; its path is free to be read, and the next entry makes a new one."""
        with self._lock:
            if self._file is None or self._path is None:
                raise ValueError("nothing was written")
            self._file.close()
            self._file = None
            return self._path

    @staticmethod
    def read(path: Path, entry: type[T]) -> list[T]:
        """The file's entries; a last line that a crash cut short is left out."""
        found: list[T] = []
        decoder = msgspec.json.Decoder(entry)
        for line in path.read_bytes().splitlines():
            try:
                found.append(decoder.decode(line))
            except msgspec.DecodeError:
                continue
        return found

    @staticmethod
    def finish(path: Path, refused: Sequence[msgspec.Struct]) -> None:
        """Deletes a file that was written to the database; what the database refused stays beside it for a person."""
        if refused:
            lines = b"".join(msgspec.json.encode(entry) + b"\n" for entry in refused)
            kept = path.with_suffix(_REFUSED)
            kept.touch(mode=0o600)
            kept.write_bytes(lines)
        path.unlink(missing_ok=True)


def abandoned_spills(folder: Path) -> list[Path]:
    """Files in the folder that no living process holds."""
    free = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
        free.append(path)
    return free
