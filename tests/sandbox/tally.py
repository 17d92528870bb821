"""Counts what a vendor's SDK was answered over HTTP, for ``make bars``."""

from collections.abc import Callable
from typing import Any

import httpx


class Tally:
    """Of one SDK in one test."""

    def __init__(self, sdk: str) -> None:
        self._sdk = sdk
        self._answered = 0
        self._refused = 0

    async def httpx(self, response: httpx.Response) -> None:
        """httpx's hook."""
        self._count(response.status_code)

    def requests(self, response: Any, *_: Any, **__: Any) -> None:
        """The requests library's hook."""
        self._count(response.status_code)

    def tell(self, record_property: Callable[[str, object], None]) -> None:
        """Puts it into the test's report."""
        record_property(f"{self._sdk} calls answered", self._answered)
        record_property(f"{self._sdk} calls refused", self._refused)

    def _count(self, status: int) -> None:
        self._answered += status < 400
        self._refused += status >= 400
