"""Whether the whole of the demo's conversation is in the call log: what Parley wrote is held against what the simulated
phone says was spoken and heard. Imported only once Django is set up.
"""

import re
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calls.models import Call, CallSummary, Recording, Turn

MIN_TURNS = 4
STOPS_WITHIN_MS = 2000  # of the caller's first sound over the agent's voice
BLOCK_MS = 100
AUDIBLE_RMS = 200
CALLER, AGENT = 0, 1  # channels
# What the demo's caller wants; a word or two of each field must be there.
WANTED = {"reason": "appointment", "day": "Wednesday", "name": "Anna Miller"}

Report = Mapping[str, Any]
Levels = NDArray[np.float64]


@dataclass
class Verdict:
    """What is in the call log after the call, and what should be there but is not."""

    caller_turns: int = 0
    agent_turns: int = 0
    interruptions: int = 0
    missing: list[str] = field(default_factory=list)


def check(call_id: int, report: Report) -> Verdict:
    """Looks for all of the conversation.

    Args:
        report: the sandbox's, of the call that has ended.
    """
    call = Call.objects.get(pk=call_id)
    turns = list(call.turns.all())
    caller = [turn for turn in turns if turn.role == Turn.Role.CALLER and turn.text]
    agent = [turn for turn in turns if turn.role == Turn.Role.AGENT and turn.heard]
    cut_off = [turn for turn in agent if turn.interrupted and len(turn.heard) < len(turn.text)]
    return Verdict(
        caller_turns=len(caller),
        agent_turns=len(agent),
        interruptions=min(len(cut_off), _stopped(report)),
        missing=[
            *([f"the call's end (it is {call.status})"] if call.status != Call.Status.ENDED else []),
            *_missing_of_the_talk(caller, agent, cut_off, report),
            *_missing_of_the_recording(call, caller, agent),
            *_missing_of_the_summary(call),
        ],
    )


def _missing_of_the_talk(caller: list[Turn], agent: list[Turn], cut_off: list[Turn], report: Report) -> Iterator[str]:
    said = {_words(entry["text"]) for entry in report["caller"]["log"] if entry["action"] == "say"}
    understood = [turn for turn in caller if _words(turn.text) in said]
    answered = [each for each in report["caller"]["measures"]["responses"] if each["response_ms"] is not None]
    if min(len(understood), len(agent), len(answered)) < MIN_TURNS:
        yield (
            f"{MIN_TURNS} turns each way (the caller was understood {len(understood)} times, heard {len(answered)} "
            f"answers; the log has {len(agent)})"
        )
    if not cut_off:
        yield "an interrupted answer of which less was heard than there was to say"
    if not _stopped(report):
        yield "an agent that stops when it is interrupted"
    if sum(turn.first_heard_ms is not None and turn.speech_end_ms is not None for turn in agent) < MIN_TURNS:
        yield "the timings of the answers"
    if report["violations"]:
        yield f"Plivo's rules kept ({report['violations'][0]})"


def _stopped(report: Report) -> int:
    """How many times the agent fell silent because the caller spoke, as the caller heard it."""
    return sum(
        each["clear_ms"] is not None and each["agent_heard_ms"] <= STOPS_WITHIN_MS
        for each in report["caller"]["measures"]["barge_ins"]
    )


def _missing_of_the_recording(call: Call, caller: list[Turn], agent: list[Turn]) -> Iterator[str]:
    recording = Recording.objects.filter(
        call=call, source=Recording.Source.PARLEY, status=Recording.Status.READY
    ).first()
    if recording is None:
        yield "the recording"
        return
    levels = _levels(recording)
    if levels is None:
        yield "a recording in stereo"
        return
    for name, channel, turns in (("caller", CALLER, caller), ("agent", AGENT, agent)):
        if silent := [turn for turn in turns if not _audible(levels, channel, turn)]:
            yield f"the {name}'s voice on the recording at {silent[0].started_ms / 1000:.1f} s"
    if all(_audible(levels, CALLER, turn) for turn in agent):
        yield "a channel for each voice"


def _levels(recording: Recording) -> Levels | None:
    """RMS of each block of each channel; None when it is not in stereo."""
    with recording.file.open("rb") as file, wave.open(file) as audio:
        if audio.getnchannels() != 2:
            return None
        samples = np.frombuffer(audio.readframes(audio.getnframes()), "<i2").reshape(-1, 2).astype(np.float64)
        block = audio.getframerate() * BLOCK_MS // 1000
    whole = samples[: len(samples) // block * block].reshape(-1, block, 2)
    levels: Levels = np.sqrt((whole**2).mean(axis=1))
    return levels


def _audible(levels: Levels, channel: int, turn: Turn) -> bool:
    during = levels[turn.started_ms // BLOCK_MS : turn.ended_ms // BLOCK_MS + 1, channel]
    return bool(during.size) and float(during.max()) >= AUDIBLE_RMS


def _missing_of_the_summary(call: Call) -> Iterator[str]:
    summary = CallSummary.objects.filter(call=call, status=CallSummary.Status.READY).first()
    if summary is None or not summary.summary:
        yield "the summary"
        return
    for name, words in WANTED.items():
        if words not in str(summary.extracted.get(name)):
            yield f"the extracted {name} (it is {summary.extracted.get(name)!r})"


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))
