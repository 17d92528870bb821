"""A reply's stream of text cut into pieces to be spoken: an early first clause, then sentences.

One ``Segmenter`` per reply. A boundary needs the white space after it, so that "3.5", "example.com" and
"a.b@example.org" stay whole however the stream is chopped.
"""

import re

from streaming.conversation.languages import CLAUSE_ENDS, SENTENCE_ENDS, WIDE_ENDS
from streaming.conversation.speakable import can_be_spoken, speakable

# The first piece ends at the first , ; : . ? ! after 15-25 characters.
FIRST_CHARS = 15
NEXT_CHARS = 25
# A sentence that runs on is cut at a clause, or at worst at a word, so that the voice never waits for it.
LONG_CHARS = 220

_BOUNDARY = re.compile(
    rf"(?P<end>[.!?]+|[…{SENTENCE_ENDS}{CLAUSE_ENDS}])[\"'”»)\]*_]*(?P<space>\s+)|(?P<newline>\s*\n\s*)"
)
_WIDE_BOUNDARY = re.compile(f"[{WIDE_ENDS}]")
_SINGLE_LETTERS = re.compile(r"(?:^|[\s(])(?:[^\W\d_]\.)*[^\W\d_]$")
_LAST_WORD = re.compile(r"([^\W_]+)$")
_LIST_NUMBER = re.compile(r"^\s*\d{1,3}$")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# English, German, Spanish, French and Hindi (romanised); a missed one costs a pause, a wrong one only a longer piece.
_ABBREVIATIONS = _words(
    """dr mr mrs ms prof sr sra jr st mt ft vs etc e.g i.e approx dept est ext fig inc ltd co corp gen gov hon no nos
    rev sgt capt lt col vol tel hr std str abs bzw ca evtl ggf inkl nr usw vgl z.b d.h u.a zzgl bspw frl hrn
    srta ud uds pág núm dña av avda mme mlle mgr bd boul art env réf shri smt kum jan feb mar apr jun jul aug sep sept
    oct okt nov dec dez mon tue tues wed thu thur thurs fri sat sun"""
)
# Words that are also abbreviations: they abbreviate only before a number.
_BEFORE_NUMBER = _words("no nos art fig vol ext nr mar jan jun sun sat mon wed fri tel est")


class Segmenter:
    """Cuts text as it streams in; pieces come out clean and ready to be spoken.

    Attributes:
        spoken: whether any piece has come out.
    """

    __slots__ = ("_buffer", "_ordinals", "spoken")

    def __init__(self, *, language_tag: str = "en") -> None:
        self._buffer = ""
        self._ordinals = language_tag.lower().startswith("de")  # "am 3. Mai"
        self.spoken = False

    def feed(self, text: str) -> list[str]:
        """Takes more text; returns the pieces that it completed, mostly none or one."""
        self._buffer = (self._buffer + text).lstrip()
        pieces: list[str] = []
        while (cut := self._cut()) is not None:
            self._take(cut, pieces)
        return pieces

    def flush(self) -> list[str]:
        """The text has ended: what is left, if it can be spoken."""
        pieces: list[str] = []
        self._take(len(self._buffer), pieces)
        return pieces

    def discard(self) -> None:
        """Forgets the unfinished rest (of a reply that broke off)."""
        self._buffer = ""

    def _take(self, cut: int, pieces: list[str]) -> None:
        piece = speakable(self._buffer[:cut])
        self._buffer = self._buffer[cut:].lstrip()
        if can_be_spoken(piece):
            pieces.append(piece)
            self.spoken = True

    def _cut(self) -> int | None:
        """Where the next piece ends in the buffer, None when it is not complete yet."""
        wanted = NEXT_CHARS if self.spoken else FIRST_CHARS
        clause = 0
        for match in _BOUNDARY.finditer(self._buffer):
            if (match.start("space") if match["newline"] is None else match.start()) >= LONG_CHARS:
                break
            if self._is_sentence_end(match):
                if match.start() >= wanted:
                    return match.end()
            elif match["end"] in CLAUSE_ENDS and not self._between_digits(match):
                if not self.spoken and match.start() >= wanted:
                    return match.end()
                if match.start() >= wanted:
                    clause = match.end()
        for match in _WIDE_BOUNDARY.finditer(self._buffer):
            if match.start() >= wanted // 3:  # these scripts say in a character what others say in a syllable
                return match.end()
        if len(self._buffer) > LONG_CHARS:
            return clause or self._buffer.rfind(" ", wanted, LONG_CHARS) + 1 or None
        return None

    def _is_sentence_end(self, match: re.Match[str]) -> bool:
        if match["newline"] is not None:
            return True
        if match["end"] in CLAUSE_ENDS:
            return False
        return "\n" in match["space"] or match["end"] != "." or self._full_stop(match)

    def _full_stop(self, match: re.Match[str]) -> bool:
        """Whether the point ends a sentence, and not an abbreviation, an ordinal or a list number."""
        before = self._buffer[: match.start()]
        if _LIST_NUMBER.match(before.rsplit("\n", 1)[-1]) or _SINGLE_LETTERS.search(before):
            return False
        last = _LAST_WORD.search(before)
        word = last[1].lower() if last else ""
        if word.isdigit():
            return not (self._ordinals and len(word) <= 2)
        if word in _BEFORE_NUMBER:
            following = self._buffer[match.end() : match.end() + 1]
            return bool(following) and not following.isdigit()
        return word not in _ABBREVIATIONS

    def _between_digits(self, match: re.Match[str]) -> bool:
        before = self._buffer[match.start() - 1 : match.start()]
        after = self._buffer[match.end() : match.end() + 1]
        return before.isdigit() and (not after or after.isdigit())
