"""Phone numbers do not get into log lines, whatever has put one into a message, a value or the text of an error.

Applied to whole lines at the last moment (``config.logging``): PostgreSQL names the values of a row that breaks a
constraint, a library the address that it asked.
"""

import re

LEFT = 2  # digits, by which whoever has the number at hand sees whether it is this one
# With a plus, as it is or in an address, it is a number. Without one, as Plivo writes it, it may as well be a moment, a
# thread or a nonce: then it must be called a number right before. Of identifiers such digits are a part.
_DIGITS = re.compile(r"(\+|%2[Bb])\d{7,}|(?<![\w.+-])\d{10,15}(?!\w|[.-]\w)")
_CALLED = re.compile(
    r"(?:(?<![^\W_])(?:from|to|sip|tel)|number|phone|caller(?:_?id|_?name)?|callee)"  # the word, whole or at its end
    r"[\\\"')\]]*\s*[=:(]\s*[\\\"'(\[]*$",  # and what stands before its value: in JSON, Python, SQL, addresses
    re.IGNORECASE,
)
_BEFORE = 40  # characters in which it must be called so


def masked(line: str) -> str:
    """The line with nothing of its phone numbers but their last two digits."""
    return _DIGITS.sub(_mask, line)


def _mask(found: re.Match[str]) -> str:
    digits, plus, at = found[0], found[1] or "", found.start()
    if not plus and not _CALLED.search(found.string, max(0, at - _BEFORE), at):
        return digits
    return f"{plus}***{digits[-LEFT:]}"
