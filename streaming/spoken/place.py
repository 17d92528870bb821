"""What a rule gives: a place in a text and its words."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from streaming.spoken.lexicon import Tongue

SAID = "\0"  # stands where an earlier rule has said something: neither letter nor digit nor space


class Said(NamedTuple):
    """A place in a text, from ``start`` to ``end`` (characters), and its words."""

    start: int
    end: int
    words: str


Rule = Callable[[str, Tongue], Iterator[Said]]
