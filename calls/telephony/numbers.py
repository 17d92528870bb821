"""Phone numbers as Plivo writes them, in one spelling of ours."""

import re
import unicodedata

MAX_LENGTH = 120
_DIGITS = re.compile(r"\+?([1-9][0-9]{6,14})")


def normalise(raw: str) -> str:
    """``+15551234567`` for a number with or without its plus; anything else (a SIP end, "anonymous") as it is.

    Blanks and control characters are dropped and the result is cut at 120 characters.
    """
    text = "".join(character for character in raw if not unicodedata.category(character).startswith(("C", "Z")))
    text = text[:MAX_LENGTH]
    match = _DIGITS.fullmatch(text)
    return f"+{match[1]}" if match else text
