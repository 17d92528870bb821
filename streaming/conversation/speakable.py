"""Text made fit to be spoken: no markdown, no emoji. Used by ``segmenter`` on each segment."""

import re

_LINK = re.compile(r"!?\[([^\]]*)\]\((?:[^)\s]*)\)")
_LINE_MARKS = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]*|[-+•][ \t]+|[-=_*]{3,}[ \t]*$)", re.MULTILINE)
_MARKS = re.compile(r"\*+|`+|~~|\|")
_EDGE_UNDERSCORES = re.compile(r"(?<!\w)_+|_+(?!\w)")
# Pictographs with the joiners and selectors that follow them; joiners elsewhere belong to Indic and Persian script.
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff\u2190-\u21ff]"
    "[\ufe0e\ufe0f\u20e3\u200d\U0001f3fb-\U0001f3ff]*|[\ufe0e\ufe0f\u20e3]"
)
# A line that ends without punctuation (a list item) is followed by a short pause.
_LINE_END = re.compile(r"(?<=\w)[ \t]*\n\s*(?=\S)")
_SPACES = re.compile(r"\s+")


def speakable(text: str) -> str:
    """The words of ``text`` without mark-up and pictures, on one line."""
    text = _LINK.sub(r"\1", text)
    text = _LINE_MARKS.sub("", text)
    text = _MARKS.sub("", text).strip()
    text = _LINE_END.sub(", ", text)
    text = _EDGE_UNDERSCORES.sub("", text)
    text = _EMOJI.sub("", text)
    return _SPACES.sub(" ", text).strip()


def can_be_spoken(text: str) -> bool:
    """Whether it holds a letter or a digit: voices return no audio for anything less."""
    return any(char.isalnum() for char in text)
