"""A file of what the database did not take: one JSON line each, on the disk before ``append`` returns.

Used by ``streaming.backlog`` for the journal and by ``streaming.opt_outs``. A file is locked for as long as a process
has it open, so that a starting process takes over only what a dead one has left.
"""

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TypeVar

import msgspec
import structlog

log = structlog.get_logger(__name__)

T = TypeVar("T", bound=msgspec.Struct)
SUFFIX = ".jsonl"


class SpillFile:
    """One locked file. Made by ``create`` or ``take``; readable by its owner only: entries hold what people said."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._file = descriptor

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new file in the folder, which is made when missing; names sort by their time. Raises OSError."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f"{time.time_ns():020d}-{uuid.uuid4().hex}{SUFFIX}"
        return cls(path, _locked(path, os.O_CREAT | os.O_EXCL))

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """A file that no living process holds; None when one does, or has just finished it. Raises OSError."""
        try:
            descriptor = _locked(path, 0)
        except (BlockingIOError, FileNotFoundError):
            return None
        # Its holder may have put another file in its place between our opening and our locking it.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return cls(path, descriptor)
        os.close(descriptor)
        return None

    def append(self, entries: Sequence[msgspec.Struct]) -> None:
        """Adds entries, all or none. Raises OSError."""
        end = os.fstat(self._file).st_size
        try:
            _write(self._file, entries)
        except OSError:
            os.ftruncate(self._file, end)  # half a line would spoil the next one
            raise

    def read(self, entry: type[T]) -> list[T]:
        """The file's entries; a line that a crash cut short is left out. Raises OSError."""
        found: list[T] = []
        decoder = msgspec.json.Decoder(entry)
        for number, line in enumerate(self.path.read_bytes().splitlines(), 1):
            try:
                found.append(decoder.decode(line))
            except msgspec.DecodeError:
                log.warning("spill_line_cut_short", file=self.path.name, line=number)
        return found

    def replace(self, entries: Sequence[msgspec.Struct]) -> None:
        """Puts these entries in the place of the file's, all at once. Raises OSError."""
        part = self.path.with_suffix(".part")
        part.unlink(missing_ok=True)  # of a process that died here
        descriptor = _locked(part, os.O_CREAT | os.O_EXCL)
        try:
            _write(descriptor, entries)
            part.replace(self.path)
        except OSError:
            os.close(descriptor)
            raise
        os.close(self._file)
        self._file = descriptor

    def delete(self) -> None:
        """The database has everything. Raises OSError."""
        self.path.with_suffix(".part").unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leaves the file to another process; not to be used after."""
        os.close(self._file)


def _locked(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, entries: Sequence[msgspec.Struct]) -> None:
    lines = memoryview(b"".join(_line(entry) for entry in entries))
    while lines:
        lines = lines[os.write(descriptor, lines) :]
    os.fsync(descriptor)


def _line(entry: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(entry) + b"\n"
    except UnicodeEncodeError:  # half a character from a provider; the database does not get it either
        return json.dumps(msgspec.to_builtins(entry), ensure_ascii=False).encode(errors="ignore") + b"\n"
