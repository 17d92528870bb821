"""When a provider's model is left alone for a while: the rules of the circuit breaker, without clock, I/O or state.

``board.Board`` keeps a ``Breaker`` and a ``Tally`` for each model of each account, over all calls of a process, and
``agents.health`` passes both on to the other processes. Times are s since 1970: they are compared between machines.
"""

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

from agents.providers.errors import ErrorKind

State = Literal["closed", "half_open", "open"]

# These say nothing about the provider: a voice, a model's name or a request of one agent's was wrong.
NOT_THE_PROVIDERS = frozenset(
    {ErrorKind.BAD_REQUEST, ErrorKind.NOT_FOUND, ErrorKind.FORBIDDEN, ErrorKind.CONTENT_FILTER}
)
# One is enough: the next request cannot fare better until somebody has seen to the account.
CERTAIN = frozenset({ErrorKind.UNAUTHORISED, ErrorKind.OUT_OF_CREDIT})
BUCKET_S = 5.0


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the breaker.

    Attributes:
        window_s: how far back answers and failures count.
        least: failures that open it, if they are at least ``share`` of all.
        in_a_row: failures of one process that open it, whatever came before.
        rest_s: until the first trial after it opened; each failed trial doubles it, up to ``longest_rest_s``.
        trial_s: after which a trial without a result counts as lost.
        slow_ms: a first byte that takes longer counts as a failure.
    """

    window_s: float = 60.0
    least: int = 3
    share: float = 0.5
    in_a_row: int = 5
    rest_s: float = 15.0
    longest_rest_s: float = 300.0
    trial_s: float = 30.0
    slow_ms: int = 4000


class Trouble(msgspec.Struct, frozen=True):
    """A failure as an operator is told of it; ``detail`` is the provider's own words, without a key."""

    kind: ErrorKind
    detail: str
    at: float


class Breaker(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a model of an account is used.

    Attributes:
        state: "closed" it serves; "open" it rests; "half_open" one trial is under way.
        since: when it got there.
        until: when it may be tried (open), or the trial counts as lost (half open).
        rests: how often it has opened since it last served.
        trouble: the last failure; stays for the record when it serves again.
    """

    state: State = "closed"
    since: float = 0.0
    until: float = 0.0
    rests: int = 0
    trouble: Trouble | None = None


class Tally(msgspec.Struct, frozen=True):
    """Answers and failures of late: (number of the 5 s bucket, answers, failures), oldest first."""

    buckets: tuple[tuple[int, int, int], ...] = ()


def counted(tally: Tally, *, good: bool, now: float, rules: Rules) -> Tally:
    """The tally with one more answer or failure, without what has become too old to count."""
    bucket = int(now // BUCKET_S)
    kept = {number: (answers, failures) for number, answers, failures in tally.buckets}
    answers, failures = kept.get(bucket, (0, 0))
    kept[bucket] = (answers + good, failures + (not good))
    oldest = bucket - int(rules.window_s // BUCKET_S)
    return Tally(tuple((number, *kept[number]) for number in sorted(kept) if number >= oldest))


def totals(tallies: Iterable[Tally], *, since: float, now: float, rules: Rules) -> tuple[int, int]:
    """Answers and failures within the window, and after ``since``."""
    oldest = max((now - rules.window_s) // BUCKET_S, since // BUCKET_S)
    recent = [each for tally in tallies for each in tally.buckets if each[0] > oldest]
    return sum(answers for _, answers, _ in recent), sum(failures for _, _, failures in recent)


def after_failure(
    breaker: Breaker, trouble: Trouble, *, tallies: Iterable[Tally], in_a_row: int, rules: Rules
) -> Breaker:
    """The breaker after a failure that the tallies hold already.

    Args:
        in_a_row: failures of this process since its last answer, this one included.
    """
    if trouble.kind in NOT_THE_PROVIDERS:
        return breaker
    noted = msgspec.structs.replace(breaker, trouble=trouble)
    if breaker.state == "open":  # a call that had nothing else to ask
        return noted
    if breaker.state == "closed" and trouble.kind not in CERTAIN and in_a_row < rules.in_a_row:
        answers, failures = totals(tallies, since=breaker.since, now=trouble.at, rules=rules)
        if failures < rules.least or failures < rules.share * (answers + failures):
            return noted
    rest_s = min(rules.longest_rest_s, rules.rest_s * 2.0 ** min(breaker.rests, 32))
    since = _later(breaker, trouble.at)
    return Breaker(state="open", since=since, until=trouble.at + rest_s, rests=breaker.rests + 1, trouble=trouble)


def after_answer(breaker: Breaker, *, now: float) -> Breaker:
    """The breaker after an answer: whatever it was, it serves."""
    if breaker.state == "closed":
        return breaker
    return Breaker(state="closed", since=_later(breaker, now), trouble=breaker.trouble)


def is_due(breaker: Breaker, *, now: float) -> bool:
    """Whether a trial may begin."""
    return breaker.state != "closed" and now >= breaker.until


def on_trial(breaker: Breaker, *, now: float, rules: Rules) -> Breaker:
    """The breaker while a trial is under way."""
    return msgspec.structs.replace(breaker, state="half_open", since=_later(breaker, now), until=now + rules.trial_s)


def latest(one: Breaker, other: Breaker) -> Breaker:
    """Of what two processes believe, the news; the same in whatever order they hear of each other."""
    return max(one, other, key=_age)


def _later(breaker: Breaker, now: float) -> float:
    """The time of a change: later than the change before, even if that came from a machine whose clock is ahead."""
    return max(now, math.nextafter(breaker.since, math.inf))


def _age(breaker: Breaker) -> tuple[float, str, float, int, float, str, str]:
    trouble = breaker.trouble
    told = (trouble.at, trouble.kind.value, trouble.detail) if trouble else (0.0, "", "")
    return (breaker.since, breaker.state, breaker.until, breaker.rests, *told)
