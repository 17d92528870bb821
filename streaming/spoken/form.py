"""The spoken form of a written text, and the way back from spoken words to written ones.

What the caller has heard is kept in written words; the voice's timings come in spoken ones.
"""

import bisect
import functools
import re
from itertools import pairwise

from agents.providers.base import WordTiming
from streaming.spoken.lexicon import tongue
from streaming.spoken.rules import rewritten

_MAY_CHANGE = re.compile(r"[\d@&]|www\.|\w\.\w", re.IGNORECASE)
_WORD = re.compile(r"\S+")


class SpokenForm:
    """One text.

    Attributes:
        text: what the voice is to be given.
        written: the words of the written text.
    """

    __slots__ = ("_written_of", "text", "written")

    def __init__(self, text: str, written: tuple[str, ...], written_of: tuple[int, ...]) -> None:
        self.text = text
        self.written = written
        self._written_of = written_of

    def timings(self) -> "WrittenTimings":
        """Turns the timings of this text's spoken words into timings of its written ones, as they come in."""
        return WrittenTimings(self.written, self._written_of)


class WrittenTimings:
    """The timings of one utterance, word by word.

    Words that a voice gives beyond those of the text (it has normalised by itself) are passed on as they are.
    """

    def __init__(self, written: tuple[str, ...], written_of: tuple[int, ...]) -> None:
        self._written = written
        self._written_of = written_of
        self._heard = 0
        self._open: list[WordTiming] = []
        self._next = 0
        self._end_ms = 0

    def take(self, words: tuple[WordTiming, ...]) -> tuple[WordTiming, ...]:
        """Written words that are complete now."""
        done: list[WordTiming] = []
        for word in words:
            if self._heard >= len(self._written_of):
                done += [*self.finish(), word]
                continue
            belongs = self._written_of[self._heard]
            self._heard += 1
            if self._open and belongs > self._next:
                done += self._close()
            while self._next < belongs:
                done += self._close()
            self._open.append(word)
            following = self._written_of[self._heard : self._heard + 1]
            if not following or following[0] > belongs:
                done += self._close()
        return tuple(done)

    def finish(self) -> tuple[WordTiming, ...]:
        """The word whose last spoken words never came."""
        return tuple(self._close()) if self._open else ()

    def _close(self) -> list[WordTiming]:
        start = self._open[0].start_ms if self._open else self._end_ms
        self._end_ms = self._open[-1].end_ms if self._open else self._end_ms
        self._open = []
        self._next += 1
        return [WordTiming(self._written[self._next - 1], start, self._end_ms)]


@functools.lru_cache(maxsize=1024)
def spoken_form(text: str, language_tag: str) -> SpokenForm:
    """The form in which a voice of that language (BCP 47 tag) is given the text. Never raises."""
    words = list(_WORD.finditer(text))
    written = tuple(match[0] for match in words)
    places = rewritten(text, tongue(language_tag)) if _MAY_CHANGE.search(text) else []
    # Corresponding positions in both texts; between two of them they run side by side.
    spoken, marks = "", [(0, 0)]
    at = 0
    for place in places:
        spoken += text[at : place.start]
        marks.append((len(spoken), place.start))
        spoken += place.words
        marks.append((len(spoken), place.end))
        at = place.end
    spoken += text[at:]
    marks.append((len(spoken), len(text)))
    ends = [match.end() for match in words]
    written_of = []
    for match in _WORD.finditer(spoken):
        position = _written_position(match.end() - 1, marks)
        written_of.append(min(bisect.bisect_right(ends, position), len(written) - 1))
    return SpokenForm(spoken, written, tuple(written_of))


def _written_position(position: int, marks: list[tuple[int, int]]) -> float:
    for (from_spoken, from_written), (to_spoken, to_written) in pairwise(marks):
        if from_spoken <= position < to_spoken:
            return from_written + (position - from_spoken) * (to_written - from_written) / (to_spoken - from_spoken)
    return marks[-1][1]
