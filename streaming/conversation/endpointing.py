"""When has the caller finished? How much silence a turn needs before it ends.

Rules in the order of their weight: what the agent has just asked for (a number, an e-mail address ...), what the
caller is giving, how complete the words are, the pauses that this caller makes. Asked by ``hearing.Hearing`` at every
pause; a turn model's probability settles only what the words leave open.
"""

import re

import msgspec

from agents.spec import TurnTaking
from streaming.conversation.languages import CLAUSE_ENDS, SENTENCE_ENDS, Language, language, made_of, normalise

# Share of the way from the least to the longest wait that open words get when nothing else is known.
UNDECIDED_SHARE = 0.35
# The learned floor: an average of in-turn pauses, each new one weighing this much, with this much room above it.
PAUSE_WEIGHT = 0.4
PAUSE_ROOM = 1.25
# A national number with its area code; E.164 allows 15.
PHONE_DIGITS = 10

OPEN = "open_words"

_SENTENCE_END = re.compile(rf"[{SENTENCE_ENDS}]['\"”»)]*$")
_TRAILING_OFF = re.compile(rf"(\.\.\.|…|-|[{CLAUSE_ENDS}])['\"”»]*$")
_SENTENCES = re.compile(rf"(?<=[{SENTENCE_ENDS}])\s+")
_EMAIL = re.compile(r"\S+@\S+\.\w{2,}\W*$")
_SPOKEN_EMAIL_END = re.compile(r"\b(?:dot|punkt|punto|point)\s+[a-z]{2,6}\W*$", re.IGNORECASE)


class Wait(msgspec.Struct, frozen=True):
    """Silence that ends the turn, in ms, and the rule that asks for it (becomes the turn's ``end_reason``)."""

    ms: int
    rule: str


class Endpointing:
    """The end-of-turn rules of one call, and what they have learned of its caller.

    Attributes:
        learned_ms: average of this caller's pauses within a turn, 0 before the first.
        asked: what the agent's last words ask for: "number", "email", "spelling", "address" or "".
    """

    def __init__(self, *, turn_taking: TurnTaking, language_tag: str) -> None:
        self._numbers = turn_taking
        self._language: Language = language(language_tag)
        self._asks = [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in self._language.asks]
        self.learned_ms = 0.0
        self.asked = ""

    def agent_said(self, text: str) -> None:
        """The agent has spoken; only its last question, or else its last sentence, matters."""
        sentences = [part for part in _SENTENCES.split(text.strip()) if part]
        questions = [part for part in sentences if part.endswith(("?", "\uff1f"))]
        last = (questions or sentences or [""])[-1]
        self.asked = next((name for name, pattern in self._asks if pattern.search(last)), "")

    def caller_paused(self, pause_ms: int) -> None:
        """The caller went on within the same turn after ``pause_ms`` of silence.

        Pauses in which the agent was heard must not come here, nor pauses too short to have tempted anyone.
        """
        if self._numbers.commit_ms <= pause_ms <= 2 * self._numbers.max_wait_ms:
            self.learned_ms += (pause_ms - self.learned_ms) * (PAUSE_WEIGHT if self.learned_ms else 1.0)

    def wait(self, text: str, *, probability: float | None = None) -> Wait:
        """Silence after which this turn ends.

        Args:
            text: all that the caller has said in the turn.
            probability: a turn model's (0-1) that the caller has finished, None when none was asked.
        """
        numbers = self._numbers
        words = normalise(text).split()
        ms, rule = self._by_words(text, words, probability)
        giving = self._giving(text, words)
        longest = numbers.max_wait_ms
        if giving:
            ms += numbers.patience_ms
            longest += numbers.patience_ms
            rule = f"patience_{giving}"
        floor = int(self.learned_ms * PAUSE_ROOM)
        if ms < floor:
            ms, rule = floor, "learned_pace"
        if ms >= longest:
            ms, rule = longest, "longest_silence"
        return Wait(max(ms, numbers.min_wait_ms), rule)

    def undecided(self, text: str) -> bool:
        """Whether these words leave it open, if the caller has finished; no words yet leave everything open."""
        words = normalise(text).split()
        return not words or self._by_words(text, words, None)[1] == OPEN

    def _by_words(self, text: str, words: list[str], probability: float | None) -> tuple[int, str]:
        numbers = self._numbers
        stripped = text.strip()
        if not words or words[-1] in self._language.tails or _TRAILING_OFF.search(stripped):
            return numbers.max_wait_ms, "unfinished_words"
        if _SENTENCE_END.search(stripped) or made_of(words, self._language.answers):
            return numbers.min_wait_ms, "complete_words"
        room = numbers.max_wait_ms - numbers.min_wait_ms
        if probability is not None:
            return numbers.min_wait_ms + int(room * (1.0 - probability)), "turn_model"
        return numbers.min_wait_ms + int(room * UNDECIDED_SHARE), OPEN

    def _giving(self, text: str, words: list[str]) -> str:
        """What value is being given and is not complete yet, or ""."""
        if _EMAIL.search(text) or (("@" in text or self.asked == "email") and _SPOKEN_EMAIL_END.search(text)):
            return ""
        if "@" in text:
            return "email"
        digits = _count_digits(words, self._language)
        if self.asked and self._refuses(text, words, digits):
            return ""
        if len(words) >= 2 and all(len(word) == 1 and word.isalpha() for word in words[-2:]):
            return "spelling"
        tail = words[-3:]
        if digits and (self.asked == "number" or _count_digits(tail, self._language) >= 2 or _long_number(tail)):
            return "" if digits >= PHONE_DIGITS else "number"
        return self.asked

    def _refuses(self, text: str, words: list[str], digits: int) -> bool:
        """The agent asked for a value and this whole sentence does not give it ("I don't have one.")."""
        if len(words) < 3 or words[-1] in self._language.tails or not _SENTENCE_END.search(text.strip()):
            return False
        refused = digits <= 1 and not self._language.negations.isdisjoint(words)
        return refused or (self.asked == "number" and not digits)


def _count_digits(words: list[str], rules: Language) -> int:
    return sum(sum(map(str.isdigit, word)) or (word in rules.digits) for word in words)


def _long_number(words: list[str]) -> bool:
    """Three digits or more in one written group ("415"), which people give in pieces; a price or a date has fewer."""
    return any(word.isdigit() and len(word) >= 3 for word in words)
