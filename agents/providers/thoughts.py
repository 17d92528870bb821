"""The thoughts that some open models write before their answer, between ``<think>`` and ``</think>``: nobody is to
hear them. Used by ``openai_llm``.
"""

OPENS, CLOSES = "<think>", "</think>"


class Thoughts:
    """Takes the thoughts out of a reply's text, in whatever pieces it comes; only before the first word of the answer.

    A tag that never closes hides the rest: a model that is cut off while it thinks has said nothing.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False
        self._answering = False

    def take_out(self, piece: str) -> str:
        """What of the text so far may be heard by now; a beginning that may become a tag is held back."""
        if self._answering:
            return piece
        self._held += piece
        while True:
            if self._thinking:
                _, closed, rest = self._held.partition(CLOSES)
                if not closed:
                    self._held = self._held[-len(CLOSES) :]
                    return ""
                self._thinking, self._held = False, rest
            start = self._held.lstrip()
            if start.startswith(OPENS):
                self._thinking, self._held = True, start[len(OPENS) :]
            elif OPENS.startswith(start):
                return ""
            else:
                self._answering = True
                text, self._held = self._held, ""
                return text

    def rest(self) -> str:
        """What was held back, once the reply has ended; nothing of a thought."""
        text, self._held = ("" if self._thinking else self._held), ""
        return text
