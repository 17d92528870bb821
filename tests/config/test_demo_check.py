"""The demo passes only if all of the conversation is in the call log: whatever is taken away, it is missed."""

import io
import wave
from collections.abc import Callable

import numpy as np
import pytest
from django.core.files.base import ContentFile

from calls.models import Call, CallSummary, Recording, Turn
from config.demo_check import check
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LINES = (
    "hello i would like to book an appointment",
    "tuesday morning please",
    "wait sorry i meant wednesday",
    "goodbye",
)
TURN_MS = 2000
RATE = 8000


def wav(
    turns: list[Turn], *, channels: int = 2, swapped: bool = False, mixed: bool = False, without: str = ""
) -> ContentFile:
    """A recording with noise where somebody speaks."""
    samples = np.zeros((turns[-1].ended_ms * RATE // 1000, channels), np.int16)
    for turn in turns:
        if turn.role != without:
            channel = (turn.role == "agent") != swapped if channels == 2 else 0
            place = slice(turn.started_ms * RATE // 1000, turn.ended_ms * RATE // 1000)
            voice = np.random.default_rng(1).normal(0, 3000, place.stop - place.start)
            samples[place, slice(None) if mixed else int(channel)] = voice[:, None] if mixed else voice
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return ContentFile(content.getvalue(), "recording.wav")


@pytest.fixture
def call() -> Call:
    """A call of four turns each way with all that belongs to it."""
    call = factories.CallFactory(status="ended")
    turns = []
    for number, line in enumerate(LINES):
        at = 2 * number * TURN_MS
        turns.append(Turn(role="caller", text=f"{line.capitalize()}.", started_ms=at, ended_ms=at + TURN_MS))
        answer = {"text": "All right then.", "heard": "All right" if number == 1 else "All right then."}
        timed = {"speech_end_ms": at + TURN_MS, "first_heard_ms": at + TURN_MS + 500}
        at += TURN_MS
        turns.append(
            Turn(role="agent", interrupted=number == 1, started_ms=at, ended_ms=at + TURN_MS, **answer, **timed)
        )
    for index, turn in enumerate(turns):
        turn.call, turn.index = call, index
        turn.save()
    Recording.objects.create(call=call, source="parley", status="ready", file=wav(turns))
    extracted = {"reason": "book an appointment", "day": "Wednesday morning", "name": "Anna Miller"}
    CallSummary.objects.create(call=call, status="ready", summary="Anna booked.", extracted=extracted)
    return call


@pytest.fixture
def report() -> dict:
    """What the sandbox says of that call."""
    return {
        "violations": [],
        "caller": {
            "log": [{"action": "say", "text": line} for line in LINES] + [{"action": "hangup"}],
            "measures": {
                "responses": [{"response_ms": 500.0} for _ in LINES],
                "barge_ins": [{"clear_ms": 300.0, "agent_heard_ms": 400.0}],
            },
        },
    }


def record(call: Call, **changes) -> None:
    recording = call.recordings.get()
    recording.file.save("again.wav", wav(list(call.turns.all()), **changes))


def extract(call: Call, **changes) -> None:
    summary = call.summary
    summary.extracted |= changes
    summary.save()


def change(turns: str, **values) -> Callable[[Call, dict], None]:
    return lambda call, _: call.turns.filter(role=turns).update(**values)


def measure(name: str, values: list) -> Callable[[Call, dict], None]:
    return lambda _, report: report["caller"]["measures"].update({name: values})


BREAKAGES = {
    "an end": lambda call, _: Call.objects.filter(pk=call.pk).update(status="live"),
    "the caller's turns": lambda call, _: call.turns.filter(role="caller", index=0).delete(),
    "the caller's words": change("caller", text="Who knows?"),
    "the agent's turns": lambda call, _: call.turns.filter(role="agent", index=7).delete(),
    "answers at the phone": measure("responses", [{"response_ms": 500.0}] * 3 + [{"response_ms": None}]),
    "the interruption in the log": change("agent", interrupted=False),
    "what was not heard": change("agent", heard="All right then."),
    "a voice that stops": measure("barge_ins", [{"clear_ms": None, "agent_heard_ms": 400.0}]),
    "a voice that stops soon": measure("barge_ins", [{"clear_ms": 300.0, "agent_heard_ms": 9000.0}]),
    "the timings": change("agent", first_heard_ms=None),
    "Plivo's rules": lambda _, report: report["violations"].append({"kind": "binary_frame"}),
    "the recording": lambda call, _: call.recordings.all().delete(),
    "a ready recording": lambda call, _: call.recordings.update(status="running"),
    "stereo": lambda call, _: record(call, channels=1),
    "the caller's voice": lambda call, _: record(call, without="caller"),
    "the agent's voice": lambda call, _: record(call, without="agent"),
    "the right channels": lambda call, _: record(call, swapped=True),
    "a channel for each": lambda call, _: record(call, mixed=True),
    "the summary": lambda call, _: CallSummary.objects.filter(call=call).update(summary=""),
    "a ready summary": lambda call, _: CallSummary.objects.filter(call=call).update(status="pending"),
    "the last word of the day": lambda call, _: extract(call, day="Tuesday morning"),
    "the name": lambda call, _: extract(call, name=None),
    "the reason": lambda call, _: extract(call, reason=""),
}


def test_a_whole_conversation_lacks_nothing(call, report):
    verdict = check(call.pk, report)
    assert verdict.missing == []
    assert (verdict.caller_turns, verdict.agent_turns, verdict.interruptions) == (4, 4, 1)


@pytest.mark.parametrize("taken", BREAKAGES)
def test_whatever_is_taken_away_is_missed(call, report, taken):
    BREAKAGES[taken](call, report)
    assert check(call.pk, report).missing
