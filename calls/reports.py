"""What the call log shows of a call: latencies, timeline, usage, in the order a reader wants them.

Reads only; called by ``calls.admin``.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agents.providers.errors import FACTS
from calls.models import Call, CallEvent, CallSummary, Recording, Turn, Usage

# Stages of an answer, in order: what a reader sees, and the moment that ends it.
STAGES = (
    ("Turn decided", "decided_ms"),
    ("Words final", "stt_final_ms"),
    ("First word thought", "llm_first_ms"),
    ("First sound made", "tts_first_ms"),
    ("Sent", "first_sent_ms"),
    ("Heard", "first_heard_ms"),
)


@dataclass(frozen=True)
class Stage:
    """One moment of an answer: ``at_ms`` after the caller's last word, None where it was not measured."""

    name: str
    at_ms: int | None


@dataclass(frozen=True)
class TurnView:
    """One turn as the page shows it; ``stages`` only of replies."""

    turn: Turn
    stages: tuple[Stage, ...]
    response_ms: int | None
    unheard: str

    @property
    def start_s(self) -> float:
        """Start in seconds, as the player counts."""
        return self.turn.started_ms / 1000


@dataclass(frozen=True)
class UsageTotal:
    """What all provider calls of one stage and model consumed."""

    stage: str
    model: str
    calls: int
    errors: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    characters: int
    audio_s: float
    first_ms: int | None


@dataclass(frozen=True)
class TimelineEntry:
    """One event, and what an operator can do about it where a provider failed."""

    event: CallEvent
    problem: str


@dataclass(frozen=True)
class CallPage:
    """Everything on a call's page, read with a fixed number of queries."""

    call: Call
    turns: tuple[TurnView, ...]
    timeline: tuple[TimelineEntry, ...]
    usage: tuple[UsageTotal, ...]
    recordings: tuple[Recording, ...]
    summary: CallSummary | None
    response_p50_ms: int | None
    response_worst_ms: int | None
    extracted: tuple[tuple[str, Any], ...] = field(default=())

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Headings of the table of timings."""
        return tuple(name for name, _ in STAGES)

    @property
    def problems(self) -> tuple[str, ...]:
        """What went wrong with providers on this call, each once, in the order of its appearance."""
        return tuple(dict.fromkeys(entry.problem for entry in self.timeline if entry.problem))

    @property
    def playable(self) -> Recording | None:
        """The recording for the player: ours before Plivo's."""
        ready = [recording for recording in self.recordings if recording.status == Recording.Status.READY]
        return min(ready, key=lambda recording: recording.source != Recording.Source.PARLEY, default=None)

    @property
    def playable_length(self) -> str:
        """Its length, such as "1:05": the player asks for nothing before it plays, so it cannot say."""
        seconds = round(self.playable.duration_ms / 1000) if self.playable else 0
        return f"{seconds // 60}:{seconds % 60:02}"


_REMEDIES = {kind.value: facts.remedy for kind, facts in FACTS.items()}
_FAILED = {
    "stt_failed": "Speech-to-text",
    "llm_failed": "Language model",
    "tts_failed": "Text-to-speech",
    "tts_not_connected": "Text-to-speech",
}


def call_page(call: Call) -> CallPage:
    """Reads a call's page: five queries whatever its length."""
    turns = tuple(turn_view(turn) for turn in call.turns.all())
    responses = [view.response_ms for view in turns if view.response_ms is not None]
    summary = CallSummary.objects.filter(call=call).first()
    return CallPage(
        call=call,
        turns=turns,
        timeline=tuple(TimelineEntry(event, _problem(event)) for event in call.events.all()),
        usage=usage_totals(call.usage.all()),
        recordings=tuple(call.recordings.all()),
        summary=summary,
        response_p50_ms=int(statistics.median(responses)) if responses else None,
        response_worst_ms=max(responses, default=None),
        extracted=tuple((summary.extracted or {}).items()) if summary else (),
    )


def _problem(event: CallEvent) -> str:
    """A provider's failure in words that an operator can act on; empty for every other event."""
    data = event.data
    if event.kind == "provider_changed":
        stage = _FAILED.get(f"{data.get('stage')}_failed", "A stage")
        taken = f"choice {data.get('choice')} ({data.get('provider')}, {data.get('model')})"
        return f"{stage}: the call went on with {taken}."
    stage, remedy = _FAILED.get(event.kind, ""), _REMEDIES.get(data.get("kind"))
    return f"{stage}: {remedy}" if stage and remedy else ""


def turn_view(turn: Turn) -> TurnView:
    """A turn with its latencies; those need the end of the caller's speech."""
    if turn.speech_end_ms is None or turn.role != Turn.Role.AGENT:
        stages: tuple[Stage, ...] = ()
    else:
        moments = ((name, getattr(turn, column)) for name, column in STAGES)
        stages = tuple(Stage(name, None if at is None else at - turn.speech_end_ms) for name, at in moments)
    return TurnView(
        turn=turn,
        stages=stages,
        response_ms=stages[-1].at_ms if stages else None,
        unheard=unheard(turn.text, turn.heard) if turn.role == Turn.Role.AGENT else "",
    )


def unheard(generated: str, heard: str) -> str:
    """The rest of a generated text from the first word that the caller did not hear."""
    spoken = heard.split()
    words = generated.split()
    if words[: len(spoken)] == spoken:
        return " ".join(words[len(spoken) :])
    return "" if len(spoken) >= len(words) else " ".join(words[len(spoken) :])


def usage_totals(rows: Iterable[Usage]) -> tuple[UsageTotal, ...]:
    """Usage by stage and model, in the order of the pipeline."""
    groups: dict[tuple[str, str], list[Usage]] = defaultdict(list)
    for row in rows:
        groups[row.stage, row.model].append(row)
    order = ["stt", "llm", "tts"]
    return tuple(
        UsageTotal(
            stage=Usage.Stage(stage).label,
            model=model,
            calls=len(group),
            errors=sum(bool(row.error) for row in group),
            input_tokens=sum(row.input_tokens for row in group),
            cached_tokens=sum(row.cached_tokens for row in group),
            output_tokens=sum(row.output_tokens for row in group),
            characters=sum(row.characters for row in group),
            audio_s=sum(row.audio_ms for row in group) / 1000,
            # A recogniser's first byte waits for the caller's first word: that says nothing about the provider.
            first_ms=None if stage == "stt" else _median([row.first_ms for row in group if row.first_ms is not None]),
        )
        for (stage, model), group in sorted(groups.items(), key=lambda item: (order.index(item[0][0]), item[0][1]))
    )


def masked(number: str) -> str:
    """A number for people who may not see it whole: its first five and last two characters."""
    return number if len(number) < 8 else f"{number[:5]}{'•' * (len(number) - 7)}{number[-2:]}"


def _median(values: list[int]) -> int | None:
    return int(statistics.median(values)) if values else None
