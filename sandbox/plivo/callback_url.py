"""The retry settings that Plivo reads from a URL's fragment (`#ct=2000&rt=10000&rc=2&rp=5xx`).

The fragment is neither sent nor signed. Ranges and defaults as on Plivo's page on callback configuration; wrong values
fall back to the default, as an unknown fragment does.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl, urldefrag, urlsplit

MAX_URL = 2048


FAILURES = frozenset({"ct", "rt", "4xx", "5xx"})  # what `rp=all` stands for


@dataclasses.dataclass(frozen=True)
class CallbackUrl:
    """Where to send, and how patiently: ms, retries on the same URL, and what is retried."""

    url: str
    connect_ms: int = 2000
    read_ms: int = 40000
    total_ms: int = 55000
    retries: int = 1
    policy: frozenset[str] = frozenset({"ct", "rt"})

    def retried(self, outcome: str) -> bool:
        """Whether `ct`, `rt`, `4xx` or `5xx` is tried again."""
        return outcome in (FAILURES if "all" in self.policy else self.policy)


_RANGES = {
    "ct": ("connect_ms", 100, 10000),
    "rt": ("read_ms", 100, 40000),
    "tt": ("total_ms", 100, 55000),
    "rc": ("retries", 0, 5),
}


def parse_callback_url(text: str, *, read_ms: int = 40000) -> CallbackUrl:
    """Split a callback URL from its settings. `read_ms` is the default when the fragment says nothing."""
    url, fragment = urldefrag(text.strip())
    settings: dict[str, int] = {"read_ms": read_ms}
    policy = frozenset({"ct", "rt"})
    for key, value in parse_qsl(fragment):
        if key in _RANGES:
            name, lowest, highest = _RANGES[key]
            if value.isdecimal() and lowest <= int(value) <= highest:
                settings[name] = int(value)
        elif key == "rp":
            asked = frozenset(value.split(",")) & {"4xx", "5xx", "ct", "rt", "all"}
            policy = asked or policy
    return CallbackUrl(url=url, policy=policy, **settings)


def is_http_url(text: str) -> bool:
    """A URL that Plivo would call: http or https, a host, at most 2048 characters."""
    if not isinstance(text, str) or len(text) > MAX_URL or any(mark.isspace() for mark in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
