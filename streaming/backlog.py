"""What the database has not taken yet, in the order in which it came, in files that outlive the process.

Owned by ``streaming.journal``, which writes it once the database is well. What the disk does not take either, since
both may be full at once, is held in memory and lost only with the process. What the database refuses for good lies
beside the files in ``*.refused``, for a person to look at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog

from streaming.spill import SUFFIX, SpillFile

log = structlog.get_logger(__name__)

# Each try reads a file as a whole, and each file keeps a descriptor open.
FILE_ENTRIES = 5000
MAX_HELD = 20_000  # entries in memory: hours of calls, some ten megabytes

Kind = Literal["turn", "event", "usage", "ended"]
Key = tuple[int, Kind]


class Entry(msgspec.Struct, frozen=True):
    """One thing to write; ``row`` is what the database's row will hold."""

    kind: Kind
    call_id: int
    row: dict[str, Any]

    @property
    def key(self) -> Key:
        """Entries of the same key are written in their order."""
        return self.call_id, self.kind


def by_kind(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries that may be written together, whatever their calls; each end is by itself, behind all else."""
    groups: dict[Key | Kind, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.key if entry.kind == "ended" else entry.kind, []).append(entry)
    return sorted(groups.values(), key=lambda group: group[0].kind == "ended")


def by_key(entries: Iterable[Entry]) -> list[list[Entry]]:
    """Entries of the same key together, groups in the order of their first entry."""
    groups: dict[Key, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.key, []).append(entry)
    return list(groups.values())


def must_wait(key: Key, waiting: set[Key]) -> bool:
    """Whether an entry must be written after those that wait: its like, and for a call's end all of the call."""
    call_id, kind = key
    return key in waiting or (kind == "ended" and any(other == call_id for other, _ in waiting))


class Held:
    """Entries in memory, in the manner of a ``SpillFile``."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, entries: Sequence[Entry]) -> None:
        """Adds entries."""
        self.entries += entries

    def read(self, _entry: type[Entry]) -> list[Entry]:
        """The entries."""
        return list(self.entries)

    def replace(self, entries: Sequence[Entry]) -> None:
        """Puts these entries in their place."""
        self.entries = list(entries)

    def delete(self) -> None:
        """The database has everything."""
        self.entries = []

    def close(self) -> None:
        """Nothing is open."""


@dataclass(slots=True)
class Part:
    """A file of the backlog, the keys that it holds, and how many entries it still has room for."""

    file: SpillFile | Held
    keys: set[Key]
    room: int


class Backlog:
    """Entries in files, oldest first. One thread at a time.

    Args:
        folder: made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Part] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The files, oldest first."""
        return tuple(self._parts)

    @property
    def waiting(self) -> set[Key]:
        """The keys of everything that waits."""
        return {key for part in self._parts for key in part.keys}

    def recover(self) -> None:
        """Takes over what dead processes of this host have left. Raises OSError."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            file = SpillFile.take(path)
            if file is not None:
                # No room: its last line may have been cut short.
                self._parts.append(Part(file, {entry.key for entry in file.read(Entry)}, room=0))

    def append(self, entries: Sequence[Entry]) -> None:
        """Keeps entries behind all others; they are on the disk when it returns, or in memory where that refuses.

        Raises:
            OSError: the disk refuses them, and memory has no room for more.
        """
        try:
            if not self._parts or self._parts[-1].room <= 0:
                self._parts.append(Part(SpillFile.create(self._folder), set(), FILE_ENTRIES))
            part = self._parts[-1]
            part.file.append(entries)
        except OSError as error:
            if len(self._held()) + len(entries) > MAX_HELD:
                raise
            if not self._parts or not isinstance(self._parts[-1].file, Held):
                self._parts.append(Part(Held(), set(), room=0))
            part = self._parts[-1]
            part.file.append(entries)
            log.error("journal_rows_in_memory_only", rows=len(entries), error=error.strerror)
        part.keys.update(entry.key for entry in entries)
        part.room -= len(entries)

    def _held(self) -> list[Entry]:
        return [entry for part in self._parts if isinstance(part.file, Held) for entry in part.file.entries]

    def take_over(self, other: "Backlog") -> None:
        """Puts all of another backlog behind this one's; the other is empty then."""
        self._parts += other._parts
        other._parts = []

    def settle(self, part: Part, left: Sequence[Entry]) -> None:
        """Of a part's entries only these are still to be written. Raises OSError."""
        if left:
            part.file.replace(left)
            part.keys = {entry.key for entry in left}
        else:
            part.file.delete()
            self._parts.remove(part)

    def set_aside(self, entries: Sequence[Entry]) -> Path:
        """Keeps entries that the database refuses for good, in a file of their own; says where. Raises OSError."""
        file = SpillFile.create(self._folder)
        try:
            file.append(entries)
            return file.path.rename(file.path.with_suffix(".refused"))
        finally:
            file.close()

    def close(self) -> None:
        """Leaves the files to the next process, and in one more what was only in memory."""
        if held := self._held():
            try:
                self._parts.append(Part(SpillFile.create(self._folder), set(), room=0))
                self._parts[-1].file.append(held)
            except OSError:
                log.exception("journal_rows_lost", rows=len(held))
        for part in self._parts:
            part.file.close()
        self._parts = []
