"""Small rules that every speech adapter shares: which text can be spoken, and where its words stand in the audio."""

from collections.abc import Mapping, Sequence
from typing import Any

from agents.providers.base import WordTiming


def speakable(text: str) -> bool:
    """Whether there is a letter or digit in it: voices answer anything else with an error or with no audio at all."""
    return any(char.isalnum() for char in text)


class WordTimer:
    """Puts characters with times together to words, over the pieces in which the audio of one utterance comes.

    A provider's times count from the beginning of each piece; a word may be cut by the end of a piece.
    """

    def __init__(self) -> None:
        self._word = ""
        self._start_ms = 0
        self._end_ms = 0

    def take(self, alignment: object, offset_ms: int) -> tuple[WordTiming, ...]:
        """Words completed by this piece.

        Args:
            alignment: ElevenLabs' object: ``chars``, ``charStartTimesMs`` and ``charDurationsMs`` (ms) of equal length;
                anything else gives no words.
            offset_ms: audio of the utterance before this piece.
        """
        if not isinstance(alignment, Mapping):
            return ()
        chars = _items(alignment, "chars", "characters")
        starts = _items(alignment, "charStartTimesMs", "charsStartTimesMs")
        durations = _items(alignment, "charDurationsMs", "charsDurationsMs")
        words: list[WordTiming] = []
        for char, start, duration in zip(chars, starts, durations, strict=False):
            if not isinstance(char, str) or not isinstance(start, int | float) or not isinstance(duration, int | float):
                continue
            if char.isspace() or not char:
                words += self.finish()
                continue
            if not self._word:
                self._start_ms = offset_ms + round(start)
            self._word += char
            self._end_ms = offset_ms + round(start + duration)
        return tuple(words)

    def finish(self) -> tuple[WordTiming, ...]:
        """The word that has no space behind it yet."""
        if not self._word:
            return ()
        word = WordTiming(self._word, self._start_ms, max(self._start_ms, self._end_ms))
        self._word = ""
        return (word,)


def _items(alignment: Mapping[str, Any], *names: str) -> Sequence[Any]:
    return next((value for name in names if isinstance(value := alignment.get(name), list)), ())
