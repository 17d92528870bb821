"""The kinds of values that attributes of Plivo XML take, each a function from text to value.

They raise ValueError with what was expected; sandbox.plivo.xml puts element and attribute in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from sandbox.plivo.callback_url import MAX_URL, is_http_url

Check = Callable[[str], Any]


def boolean(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        message = "true or false is expected"
        raise ValueError(message)
    return text == "true"


def integer(lowest: int, highest: int) -> Check:
    """A whole number in a range."""

    def check(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,9}", text) or not lowest <= int(text) <= highest:
            message = f"a whole number from {lowest} to {highest} is expected"
            raise ValueError(message)
        return int(text)

    return check


def auto_or(lowest: int, highest: int) -> Check:
    """`auto` (0) or a whole number in a range."""
    number = integer(lowest, highest)
    return lambda text: 0 if text == "auto" else number(text)


def choice(*values: str) -> Check:
    """One of some words."""

    def check(text: str) -> str:
        if text not in values:
            message = f"one of {', '.join(values)} is expected"
            raise ValueError(message)
        return text

    return check


def matching(pattern: str, what: str) -> Check:
    """Text of a form."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if not compiled.fullmatch(text):
            message = f"{what} is expected"
            raise ValueError(message)
        return text

    return check


def http_url(text: str) -> str:
    """A URL that Plivo calls."""
    if not is_http_url(text):
        message = f"an http or https URL of at most {MAX_URL} characters is expected"
        raise ValueError(message)
    return text


def ws_url(text: str) -> str:
    """A URL that Plivo streams to."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        good = False
    if not good or len(text) > MAX_URL or any(mark.isspace() for mark in text):
        message = f"a ws or wss URL of at most {MAX_URL} characters is expected"
        raise ValueError(message)
    return text


def extra_headers(text: str) -> str:
    """`k=v,k2=v2` (or with `;`), at most 512 bytes."""
    if len(text.encode()) > 512:
        message = "at most 512 bytes are expected"
        raise ValueError(message)
    if text and not re.fullmatch(r"[A-Za-z0-9_-]+=[A-Za-z0-9_-]*([,;][A-Za-z0-9_-]+=[A-Za-z0-9_-]*)*", text):
        message = "key=value pairs of letters and digits are expected"
        raise ValueError(message)
    return text


def anything(text: str) -> str:
    """Any text."""
    return text


def short(longest: int) -> Check:
    """Any text up to a length."""

    def check(text: str) -> str:
        if len(text) > longest:
            message = f"at most {longest} characters are expected"
            raise ValueError(message)
        return text

    return check


method = choice("GET", "POST")
