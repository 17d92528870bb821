"""What stands in the call log after a kill, for ``benchmarks.kill``; imported once Django is set up."""

import io
import wave

import numpy as np

from benchmarks.losses import RATE, Samples, Span
from calls.models import Call, Recording, Turn


def ended(call_id: int) -> bool:
    """Whether the call has reached its end."""
    return Call.objects.filter(pk=call_id, status=Call.Status.ENDED).exists()


def recorded(call_id: int) -> bool:
    """Whether the whole of the call's own recording can be played."""
    row = Recording.objects.filter(call_id=call_id, source=Recording.Source.PARLEY, status=Recording.Status.READY)
    return any(not any(part["held"] for part in each.parts.values()) for each in row)


def tracks(call_id: int) -> tuple[Samples, Samples]:
    """Caller and agent on the recording.

    Raises:
        ValueError: it has another rate than the simulated phone.
    """
    with Recording.objects.get(call_id=call_id, source=Recording.Source.PARLEY).file.open("rb") as file:
        return read_tracks(file.read())


def turns(call_id: int) -> tuple[list[Span], list[Span]]:
    """When caller and agent spoke, in ms since the call was live; without turns of no words."""
    rows = list(Turn.objects.filter(call_id=call_id))
    caller = [Span(row.started_ms, row.ended_ms) for row in rows if row.role == Turn.Role.CALLER and row.text]
    agent = [Span(row.started_ms, row.ended_ms) for row in rows if row.role == Turn.Role.AGENT and row.heard]
    return caller, agent


def read_tracks(content: bytes) -> tuple[Samples, Samples]:
    """Left and right of a stereo WAV. Raises ValueError at another rate than the simulated phone's."""
    with wave.open(io.BytesIO(content)) as file:
        if file.getframerate() != RATE:
            raise ValueError(f"a recording at {file.getframerate()} Hz")
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2).astype(np.int16)
    return both[:, 0], both[:, 1]
