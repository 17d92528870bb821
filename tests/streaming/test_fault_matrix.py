"""What a caller hears when something goes wrong: every stage, every fault, every moment of a call.

Whole calls with the real adapters over the sandbox's servers; the phone tells phrases by their sound. The agent of
``MATRIX`` has no second choice of anything, that of ``SECOND_CHOICE`` has one of everything.

In ``make test`` the providers' clocks and the sandbox's delays are a tenth of what they are; in ``make test-slow``
nothing is scaled. Audio, and with it turn-taking, always takes its time. A cell that cannot exist is empty or missing,
and the reason stands there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from agents.providers.base import Clocks
from agents.spec import TurnTaking
from tests.streaming.faulty_calls import Call, call_on, live_process

pytestmark = pytest.mark.db

PHRASES = {
    "greeting": "Hello Ann.",
    "first": "We have two tables.",
    "second": "Would you like the one by the window?",
    "apology": "I am sorry.",
    "patience": "One moment, please.",
    "again": "Sorry, could you say that again?",
    "lost": "Sorry, I lost you for a moment. Please go on.",
}
ANSWER = f"{PHRASES['first']} {PHRASES['second']}"
REQUEST = "I would like a table for two people."
AGENT: dict[str, Any] = {
    "greeting": "Hello {{name}}.",  # a caller's own, which no cache holds
    "apology": PHRASES["apology"],
    "tools": ("end_call", "press_keys"),
}

USUAL = "nothing unusual"
LATER = "the answer, a moment later"  # the same sounds, and the timeline tells of a fault
CUT = "half the greeting, then the answer"
HALF = "half a sentence, then the rest"
ASKS = "half the answer, then it asks the caller to say it again"
SORRY = "the apology, then the hang-up"
SORRY_AT_ONCE = "the apology for a greeting, then the hang-up"
SORRY_LATER = "the answer, then the apology and the hang-up"
LOST_AT_ONCE = "half the greeting, an excuse for the gap, then the answer"
LOST_GREETED = "the greeting, an excuse for the gap, then the answer"
LOST_HALF = "half the answer, an excuse for the gap, then the answer"
LOST_WHOLE = "the answer, an excuse for the gap, then the answer to what was said again"

# What the phone hears, and whether the agent then hangs up. Words of patience in between are left out.
OUTCOMES = {
    USUAL: (["greeting", "first", "second"], False),
    CUT: (["greeting...", "first", "second"], False),
    HALF: (["greeting", "first...", "second"], False),
    ASKS: (["greeting", "first", "again"], False),
    SORRY: (["greeting", "apology"], True),
    SORRY_AT_ONCE: (["apology"], True),
    SORRY_LATER: (["greeting", "first", "second", "apology"], True),
    LOST_AT_ONCE: (["greeting...", "lost", "first", "second"], False),
    LOST_GREETED: (["greeting", "lost", "first", "second"], False),
    LOST_HALF: (["greeting", "first...", "lost", "first", "second"], False),
    LOST_WHOLE: (["greeting", "first", "second", "lost", "first", "second"], False),
}

MOMENTS = ("greeting", "mid-turn", "tool")
MATRIX: dict[str, dict[str, tuple[str, ...]]] = {
    "stt": {  #            while it greets  in an answer   while a tool runs, and the caller says more
        "refuse":          (LATER,          LATER,         LATER),
        "401":             (SORRY_AT_ONCE,  SORRY,         SORRY),
        "429 concurrency": (LATER,          LATER,         LATER),
        "429 busy":        (LATER,          LATER,         LATER),
        "429 quota":       (SORRY_AT_ONCE,  SORRY,         SORRY),
        "500":             (LATER,          LATER,         LATER),
        "slow":            (LATER,          LATER,         LATER),
        "stall":           (LATER,          LATER,         LATER),
        "garbage":         (LATER,          LATER,         LATER),
        "half-close":      (LATER,          LATER,         LATER),
        "drop":            (LATER,          LATER,         LATER),
    },
    "llm": {
        # While it greets, the model's connection is only warmed: nobody reads the answer, so none can be slow or break.
        "refuse":          (USUAL,          LATER,         LATER),
        "401":             (USUAL,          SORRY,         SORRY),
        "429 concurrency": (USUAL,          LATER,         LATER),
        "429 busy":        (USUAL,          LATER,         LATER),
        "429 quota":       (USUAL,          SORRY,         SORRY),
        "500":             (USUAL,          LATER,         LATER),
        "slow":            ("",             LATER,         LATER),
        "stall":           ("",             ASKS,          ASKS),
        "garbage":         ("",             ASKS,          ASKS),
        "half-close":      ("",             ASKS,          ASKS),
        "drop":            ("",             ASKS,          ASKS),
    },
    "tts": {
        # While it greets, what is refused is only opened ahead: the greeting opens it anew.
        "refuse":          (LATER,          LATER,         LATER),
        "401":             (LATER,          SORRY,         SORRY),
        "429 concurrency": (LATER,          LATER,         LATER),
        "429 busy":        (LATER,          LATER,         LATER),
        "429 quota":       (LATER,          SORRY,         SORRY),
        "500":             (LATER,          LATER,         LATER),
        "slow":            (LATER,          LATER,         LATER),
        "stall":           (CUT,            HALF,          HALF),
        "garbage":         (CUT,            HALF,          HALF),
        "half-close":      (CUT,            HALF,          HALF),
        "drop":            (CUT,            HALF,          HALF),
    },
    "plivo": {
        # A live call asks nothing of Plivo's API, so 401, 429 and 500 have no cell: what does (hanging up, recording,
        # putting through) is in tests/calls. A stream that is refused, or whose start comes late, never becomes a
        # session (tests/streaming/test_door.py): Plivo tries again, or asks for the next document.
        "stall":           (USUAL,          USUAL,         USUAL),
        "garbage":         (USUAL,          USUAL,         USUAL),
        "half-close":      (LOST_GREETED,   LOST_WHOLE,    LOST_WHOLE),
        "drop":            (LOST_AT_ONCE,   LOST_HALF,     USUAL),
    },
}  # fmt: skip

# The same in an answer, when the fault stays for the rest of the call; what is missing is as in ``MATRIX``.
FOR_GOOD = {
    "stt": dict.fromkeys(("refuse", "429 concurrency", "429 busy", "500"), SORRY_LATER),
    "llm": dict.fromkeys(("refuse", "429 concurrency", "429 busy", "500", "slow"), SORRY),
    "tts": dict.fromkeys(("refuse", "429 concurrency", "429 busy", "500", "slow"), SORRY),
}
# And when it stays, and there is a second account.
SECOND_CHOICE = {
    stage: dict.fromkeys(("refuse", "401", "429 concurrency", "429 busy", "429 quota", "500"), LATER)
    for stage in ("stt", "llm", "tts")
}

FAULTS = {
    "refuse": "refuse",
    "401": "unauthorized",
    "429 concurrency": "too_many_concurrent_requests",
    "429 busy": "system_busy",
    "429 quota": "insufficient_quota",
    "500": "server_error",
    "slow": "slow_first_byte",
    "stall": "stall",
    "garbage": "garbage",
    "half-close": "half_close",
    "drop": "drop",
}
REFUSALS = frozenset({"refuse", "401", "429 concurrency", "429 busy", "429 quota", "500"})
SLOW_MS = 8000
FAILURES = {"stt": {"stt_failed"}, "llm": {"llm_failed"}, "tts": {"tts_failed", "tts_not_connected"}}


class Scale(msgspec.Struct, frozen=True):
    """How much the waits for providers are shortened.

    Attributes:
        silence_s: the longest silence. What is left of three seconds when providers take a tenth of their time is the
            end of the turn, that tenth, and what a machine needs that carries a dozen calls at once.
        pause_s: of the agent, after which the caller takes an answer for complete.
        patience_s: how long the caller waits for an answer.
    """

    factor: float
    silence_s: float
    pause_s: float
    patience_s: float


SCALED = Scale(0.1, silence_s=2.0, pause_s=0.9, patience_s=6.5)
UNSCALED = Scale(1.0, silence_s=3.0, pause_s=3.5, patience_s=29)
both = pytest.mark.parametrize(
    "scale", [pytest.param(SCALED, id="scaled"), pytest.param(UNSCALED, id="unscaled", marks=pytest.mark.slow)]
)


class Cell(msgspec.Struct, frozen=True):
    """One call with one fault; ``for_good``: it stays."""

    stage: str
    fault: str
    moment: str
    for_good: bool = False

    @property
    def caller_adds(self) -> bool:
        """A recogniser is asked something while a tool runs only if the caller says something then."""
        return (self.stage, self.moment) == ("stt", "tool")

    @property
    def breaks(self) -> bool:
        """It breaks an answer that has begun."""
        return self.fault not in {"slow", *REFUSALS}


HEALTHY = Cell("", "", "")
_warmed: list[str] = []  # what the libraries do at their first use in a process is done


# --- one call --------------------------------------------------------------------------------------------------------


async def provoke(call: Call, cell: Cell) -> None:
    """From now on the fault waits for the stage."""
    if cell == HEALTHY:
        return
    more: dict[str, int] = {"count": -1 if cell.for_good else 1}
    if cell.fault == "slow":
        more["delay_ms"] = SLOW_MS
    elif cell.breaks and cell.stage != "stt":  # a recogniser breaks when it is asked for the final text
        more["after"] = 11 if cell.stage == "llm" else 1
    if (cell.stage, cell.moment) == ("llm", "tool"):
        more["skip"] = 1  # the request that the tool call comes of
    if cell.fault in REFUSALS and cell.stage in {"stt", "tts"} and cell.moment != "greeting":
        await call.fault("drop", cell.stage)  # what is connected can be refused when it has to connect anew
    warming = (cell.stage, cell.moment) == ("llm", "greeting")
    await call.fault(FAULTS[cell.fault], "other" if warming else cell.stage, **more)


async def break_line(call: Call, cell: Cell, scale: Scale) -> None:
    """Plivo's end of the stream goes wrong now."""
    phone = call.phone
    if cell.fault == "garbage":
        for nonsense in ("{not json", '{"event": "media", "media": {"payload": "%%%"}}', '{"event": 5}'):
            phone.put(nonsense)
    elif cell.fault == "stall":
        phone.muted = True
        await asyncio.sleep(2 * scale.factor)
        phone.muted = False
    elif cell.fault == "half-close":
        phone.muted = True  # it sends nothing more, and takes what it is sent
        await call.goes_on()
    else:
        phone.hang_up(1006)
        await call.goes_on()


async def converse(call: Call, cell: Cell, scale: Scale) -> None:
    """The caller's side of the call: hears the greeting, asks, and hears what comes of it."""
    phone, plivo, moment, beyond = call.phone, cell.stage == "plivo", cell.moment, 0
    if moment == "greeting" and not plivo:
        await provoke(call, cell)
    call.ring()
    if moment == "greeting" and plivo:
        await phone.until(lambda: phone.heard_ms >= 200)
        await break_line(call, cell, scale)
        beyond = len(phone.heard) if cell.fault in {"half-close", "drop"} else 0  # from the next stream's beginning
    await call.answered(pause_s=0.6, seconds=scale.patience_s, beyond=beyond)
    if call.over:
        return
    if moment != "greeting" and not plivo and not cell.caller_adds:
        await provoke(call, cell)
    before = len(phone.heard)
    phone.say(600)
    if moment == "tool" and (plivo or cell.caller_adds):
        await phone.until(lambda: phone.count("sendDTMF"))
        if plivo:
            await break_line(call, cell, scale)
        else:
            await provoke(call, cell)
            phone.say(600)
    elif moment == "mid-turn" and plivo:
        await phone.until(lambda: len(phone.heard) >= before + 200 * phone.fmt.bytes_per_ms)
        await break_line(call, cell, scale)
    await call.answered(pause_s=scale.pause_s, seconds=scale.patience_s, beyond=before)
    if not call.over and phone.transcript[-1] == "lost":
        before = len(phone.heard)
        phone.say(600)
        await call.answered(pause_s=scale.pause_s, seconds=scale.patience_s, beyond=before)


async def outcome(call: Call, cell: Cell, scale: Scale) -> str:
    """Carries the call to its end; what the caller heard, and what else is wrong with it."""
    tool = {"tool_calls": [{"name": "press_keys", "arguments": {"keys": "1"}}]}
    await call.says(default=REQUEST)
    await call.replies(*([tool] if cell.moment == "tool" else []), default=ANSWER)
    if cell.stage == "llm" and cell.breaks:
        await call.latencies(llm_tokens_per_s=10 * scale.factor)  # so slow that its first words are heard by then
    if cell.caller_adds:
        await call.latencies(llm_first_token_ms=400 / scale.factor)  # so slow that there is time to say more
    await converse(call, cell, scale)
    over = call.over
    await call.mend()
    await call.hang_up()
    heard = ([name for name in call.phone.transcript if name != "patience"], over)
    words = next((words for words, sounds in OUTCOMES.items() if sounds == heard), str(heard))
    noted = {row["kind"]: row["data"] for row in call.store.events}
    failed = noted.keys() & FAILURES.get(cell.stage, set())
    if words == USUAL and failed:
        words = LATER
    wrong = []
    if cell.stage in FAILURES and words != USUAL and not failed:
        wrong.append("the timeline tells of no failure")
    if (cell.stage, cell.fault) == ("plivo", "garbage") and not noted["session_ended"]["malformed"]:
        wrong.append("the timeline tells of no nonsense")
    if call.phone.longest_silence_s > scale.silence_s:
        wrong.append(f"silence of {call.phone.longest_silence_s:.1f} s")
    # A server that was told to be slow notices only behind its pause that nobody is there any more.
    if left := await call.connections_left(5 + SLOW_MS / 1000 * scale.factor):
        wrong.append(f"{left} connections left")
    if (ending := call.store.ended[-1][1:]) != (("provider_failure", True) if over else (None, False)):
        wrong.append(f"the call ended as {ending}")
    return "; ".join([words, *wrong])


# --- many beside each other ------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def calls(folder: Path, scale: Scale, count: int, *, second_choice: bool) -> AsyncIterator[list[Call]]:
    """So many calls that can be put through, in one process."""
    # No answer is begun on trust: a fault that spoils such a one is not heard at all.
    quick = TurnTaking(min_wait_ms=100, max_wait_ms=800, commit_ms=120, speculate_ms=0, stt_final_ms=300)
    agent = AGENT | {"turn_taking": quick if scale is SCALED else TurnTaking(speculate_ms=0)}
    async with (
        live_process(folder, Clocks().scaled(scale.factor)) as (process, stores),
        contextlib.AsyncExitStack() as stack,
    ):
        made = []
        for number in range(count + 1):
            call = await stack.enter_async_context(
                call_on(
                    process,
                    stores,
                    number + 1,
                    PHRASES,
                    time_scale=scale.factor,
                    second_choice=second_choice,
                    variables={"name": "Ann"},
                    **agent,
                )
            )
            made.append(call)
        if not _warmed:
            _warmed.append(await outcome(made[0], HEALTHY, scale))
        yield made[1:]


async def outcomes(folder: Path, scale: Scale, cells: list[Cell], *, second_choice: bool = False) -> list[str]:
    """Of each cell; all at once, each a little later than the one before."""

    async def later(number: int, call: Call) -> str:
        await asyncio.sleep(number * 0.15)
        return await outcome(call, cells[number], scale)

    with structlog.testing.capture_logs() as logs:
        async with calls(folder, scale, len(cells), second_choice=second_choice) as made:
            found = await asyncio.gather(*(later(number, call) for number, call in enumerate(made)))
    assert [entry for entry in logs if entry.get("exc_info")] == [], "no fault is one of ours"
    return found


async def differing(
    expected: dict[Cell, str], folder: Path, scale: Scale, *, second_choice: bool = False
) -> dict[Cell, str]:
    """What was heard in the cells where it was not what is expected.

    On a machine that has other work to do, a dozen calls at once miss clocks of a third of a second: those few that
    came out otherwise are made once more.
    """
    wrong: dict[Cell, str] = dict.fromkeys(expected, "")
    for attempt in range(2 if scale is SCALED else 1):
        cells = list(wrong)
        found = await outcomes(folder / str(attempt), scale, cells, second_choice=second_choice)
        wrong = {cell: words for cell, words in zip(cells, found, strict=True) if words != expected[cell]}
        if not wrong:
            break
    return wrong


@both
@pytest.mark.parametrize(
    ("stage", "moments"),
    [*((stage, moment) for stage in ("stt", "llm", "tts") for moment in MOMENTS), ("plivo", " ".join(MOMENTS))],
)
async def test_what_a_caller_hears_of_a_fault(stage: str, moments: str, scale: Scale, tmp_path: Path) -> None:
    expected = {
        Cell(stage, fault, moment): words
        for fault, row in MATRIX[stage].items()
        for moment, words in zip(MOMENTS, row, strict=True)
        if words and moment in moments
    }
    assert await differing(expected, tmp_path, scale) == {}


@both
@pytest.mark.parametrize("stage", FOR_GOOD)
async def test_what_a_caller_hears_of_a_fault_that_stays(stage: str, scale: Scale, tmp_path: Path) -> None:
    # A recogniser is given up after less time than a call with the usual patience waits for a final text.
    unheard = stage == "stt" and scale is UNSCALED
    expected = {
        Cell(stage, fault, "mid-turn", for_good=True): SORRY if unheard else words
        for fault, words in FOR_GOOD[stage].items()
    }
    assert await differing(expected, tmp_path, scale) == {}


@both
@pytest.mark.parametrize("stage", SECOND_CHOICE)
async def test_a_second_choice_takes_over_from_a_fault_that_stays(stage: str, scale: Scale, tmp_path: Path) -> None:
    expected = {Cell(stage, fault, "mid-turn", for_good=True): words for fault, words in SECOND_CHOICE[stage].items()}
    assert await differing(expected, tmp_path, scale, second_choice=True) == {}
