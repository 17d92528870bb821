"""Does what the caller says over the agent's voice stop it? Asked by ``bargein.BargeIn`` while the voice is paused."""

from enum import Enum, auto

from agents.spec import TurnTaking
from streaming.conversation.languages import Language, contains, made_of, normalise


class Verdict(Enum):
    """What speech over the agent's voice is."""

    NOTHING = auto()  # no word yet: noise, or a transcript that has not come
    BACKCHANNEL = auto()  # "uh-huh": the agent goes on
    UNDECIDED = auto()  # too few words to stop for
    INTERRUPTION = auto()  # the caller wants the floor


def judge(
    text: str,
    *,
    speech_ms: int,
    turn_taking: TurnTaking,
    rules: Language,
    opening: bool = False,
    picking_up: bool = False,
    closing: bool = False,
    nearly_done: bool = False,
) -> Verdict:
    """Judges what was said over the agent's voice so far.

    Args:
        speech_ms: how long the caller has spoken over it.
        opening: the agent is greeting: "hello?" asks for nothing then.
        picking_up: it began before any of the greeting could be heard: a word then answers the phone, and may well be
            a "hello" of which the beginning is missing ("low", "no"). "Stop" stays what it is.
        closing: the agent is saying goodbye: "thanks, bye" asks for nothing then.
        nearly_done: the agent's last second is playing: a "yes" is then an answer, not a backchannel.
    """
    words = normalise(text).split()
    if not words:
        return Verdict.NOTHING
    polite = _polite(rules, opening=opening, closing=closing)
    courtesy = is_courtesy(text, rules=rules, opening=opening, picking_up=picking_up, closing=closing)
    if closing and courtesy:
        return Verdict.BACKCHANNEL
    answers = nearly_done and not (opening and courtesy) and not made_of(words, rules.fillers)
    stops = not courtesy and contains(words, rules.stops)
    if answers or stops or speech_ms >= turn_taking.interrupt_min_ms:
        return Verdict.INTERRUPTION
    if courtesy:
        return Verdict.BACKCHANNEL
    spoken = sum(word not in rules.fillers for word in words)
    if spoken < turn_taking.interrupt_min_words or made_of(words, polite, unfinished=True):
        return Verdict.UNDECIDED
    return Verdict.INTERRUPTION


def is_courtesy(
    text: str, *, rules: Language, opening: bool = False, picking_up: bool = False, closing: bool = False
) -> bool:
    """Whether a whole utterance over the agent's voice asks for nothing and needs no answer; arguments as of judge."""
    words = normalise(text).split()
    if picking_up and len(words) == 1 and words[0] not in rules.stops - rules.negations:
        return True
    return made_of(words, _polite(rules, opening=opening, closing=closing))


def _polite(rules: Language, *, opening: bool, closing: bool) -> frozenset[str]:
    polite = rules.backchannels | rules.fillers
    if opening:
        polite |= rules.greetings
    if closing:
        polite |= rules.farewells
    return polite
