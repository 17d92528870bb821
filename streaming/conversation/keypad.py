"""Keys that the caller presses, collected until "#" or a pause. Asked by ``machine.Conversation``."""

from streaming.conversation.desk import Desk
from streaming.conversation.timers import Timer

KEYS = frozenset("0123456789*#ABCD")
# The usual inter-digit time-out of phone menus; the 40 digits bound a stuck key.
PAUSE_MS = 2000
MAX_DIGITS = 40


class Keypad:
    """The digits of one entry.

    Attributes:
        digits: pressed so far.
        began_ms: when the first was pressed.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.digits = ""
        self.began_ms = 0

    def press(self, key: str) -> bool:
        """Takes a key; True when the entry is complete. Anything but one key of a phone is ignored."""
        if key not in KEYS:
            return False
        if not self.digits:
            self.began_ms = self._desk.now
        if key == "#" and self.digits:
            return True
        self.digits += key
        if key == "#" or len(self.digits) >= MAX_DIGITS:
            return True
        self._desk.timers.set(Timer.KEYPAD, self._desk.now + PAUSE_MS)
        return False

    def take(self) -> str:
        """Ends the entry and returns its digits, "" when none were pressed."""
        self._desk.timers.clear(Timer.KEYPAD)
        digits, self.digits = self.digits, ""
        return digits
