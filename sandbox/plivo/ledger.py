"""The ledger: who was really rung, which calls were posted, which webhooks and sockets went out, and with what answer.

It is what a test believes in the end. It survives the calls and is only emptied when somebody asks for it.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

_MOST = 200_000


class Ledger:
    """Four lists of plain mappings, oldest first, each entry with `at`, seconds since the epoch."""

    def __init__(self) -> None:
        """Empty."""
        self._lists: dict[str, deque[dict[str, Any]]] = {
            name: deque(maxlen=_MOST) for name in ("rings", "posts", "webhooks", "sockets")
        }

    def _add(self, name: str, entry: dict[str, Any]) -> dict[str, Any]:
        entry = {"at": round(time.time(), 6), **entry}
        self._lists[name].append(entry)
        return entry

    def rang(self, *, number: str, call_uuid: str, behaviour: str) -> None:
        """A phone rang."""
        self._add("rings", {"number": number, "call_uuid": call_uuid, "behaviour": behaviour})

    def posted(self, *, auth_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """A POST /Call/ was received; the caller fills in `status` and `request_uuid` of the returned entry."""
        return self._add("posts", {"auth_id": auth_id, "body": body, "status": None, "request_uuid": None})

    def webhook(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A webhook is about to be sent; its `status` or `error` is filled in afterwards."""
        return self._add("webhooks", entry)

    def socket(self, entry: dict[str, Any]) -> dict[str, Any]:
        """A WebSocket is about to be opened; `opened`, `status` or `error` is filled in afterwards."""
        return self._add("sockets", entry)

    def of_call(self, name: str, call_uuid: str) -> list[dict[str, Any]]:
        """The entries of one list that belong to a call."""
        return [entry for entry in self._lists[name] if entry.get("call_uuid") == call_uuid]

    def report(self) -> dict[str, list[dict[str, Any]]]:
        """All four lists."""
        return {name: list(entries) for name, entries in self._lists.items()}

    def reset(self) -> None:
        """Forget everything."""
        for entries in self._lists.values():
            entries.clear()
