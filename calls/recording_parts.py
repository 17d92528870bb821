"""Our own recordings, from the stream hosts' parts: noted when a stream starts, joined in Storage when it is over.

A call that was resumed on another stream host has a part on each. Every host joins its own to the file that is there,
on the call's clock, whenever it comes: the file holds all that was stored so far, and the row says what is missing.
Called by ``streaming.archive`` in its own thread.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import IO, Protocol

from django.db import transaction

from calls.models import Call, Recording
from calls.recordings import store

ERROR_LENGTH = 300


class Audio(Protocol):
    """A WAV that is made while it is read.

    Attributes:
        rate: Hz.
        duration_ms: of the whole.
    """

    rate: int
    channels: int
    duration_ms: int

    def open(self) -> IO[bytes]:
        """The file, seekable."""
        ...

    def peaks(self) -> Sequence[Sequence[float]]:
        """For each channel, the waveform's heights, 0-1."""
        ...


def open_recording(*, call_id: int, host: str, rate: int) -> None:
    """Notes that this host is recording the call (``rate`` in Hz); a resumed stream keeps the row."""
    with transaction.atomic():
        recording = _locked(call_id)
        if recording is not None:
            if not recording.file:
                recording.rate = rate
            _note_part(recording, host, held=True)
            recording.save()


def attach_recording(
    *,
    call_id: int,
    host: str,
    started_ms: int,
    join: Callable[[IO[bytes] | None, int], Audio],
    repaired: bool,
    error: str,
) -> None:
    """Joins what a host has recorded of a call to the file in Storage, and marks the recording ready.

    Any order of the hosts, and a part that comes twice, give the same file. Of a call that is gone nothing is kept.

    Args:
        started_ms: wall clock of the part's first sample, ms since 1970.
        join: makes the whole, of the file so far (None: there is none) and the part's place in it, ms.
        repaired: the part was put together after a crash.
        error: why something of the part is missing, or empty.

    Raises:
        OSError: a file cannot be read or stored; the row stays as it is, so that the host can try again.
    """
    while True:
        with transaction.atomic():
            recording = _locked(call_id)
        if recording is None:
            return
        earlier = recording.file.name or ""
        storage = recording.file.storage
        with storage.open(earlier) if earlier else nullcontext() as so_far:
            audio = join(so_far, _place_ms(recording.call, started_ms))
            peaks = [list(channel) for channel in audio.peaks()]
            with audio.open() as whole:
                name, size, digest = store(recording, whole, suffix=".wav")
        with transaction.atomic():
            recording = _locked(call_id)
            ours = recording is not None and (recording.file.name or "") == earlier
            if recording is not None and ours:
                recording.file.name = name
                recording.size, recording.sha256 = size, digest
                recording.duration_ms, recording.rate = audio.duration_ms, audio.rate
                recording.channels, recording.peaks = audio.channels, peaks
                recording.repaired = recording.repaired or repaired
                _note_part(recording, host, held=False, error=error)
                recording.save()
        if ours:
            if earlier and earlier != name:
                storage.delete(earlier)
            return
        storage.delete(name)  # another host stored meanwhile: once more, with its part


def fail_recording(*, call_id: int, host: str, error: str, held: bool) -> None:
    """Notes why something of the call is missing, for its page; what is stored stays ready.

    Args:
        held: the host still has something else of the call, which it will attach.
    """
    with transaction.atomic():
        recording = _locked(call_id)
        if recording is not None:
            _note_part(recording, host, held=held, error=error)
            recording.save()


def _locked(call_id: int) -> Recording | None:
    """The call's row, made if need be, under its lock; None when the call is gone."""
    call = Call.objects.filter(pk=call_id).first()
    if call is None:
        return None
    recording, _ = Recording.objects.select_for_update().get_or_create(
        call=call, source=Recording.Source.PARLEY, defaults={"status": Recording.Status.RUNNING}
    )
    return recording


def _place_ms(call: Call, started_ms: int) -> int:
    """Of a part on the call's clock; computers' clocks may differ, so that a part can seem to precede the call."""
    return max(0, started_ms - round(call.live_at.timestamp() * 1000)) if call.live_at else 0


def _note_part(recording: Recording, host: str, *, held: bool, error: str = "") -> None:
    """Says how a host's part stands, and what follows for the whole; reasons add up."""
    known = recording.parts.get(host, {}).get("error", "")
    if error and error not in known:
        known = f"{known}; {error}" if known else error
    recording.parts[host] = {"held": held, "error": known}
    held_by = [name for name, part in sorted(recording.parts.items()) if part["held"]]
    missing = [
        f"Stream host {name}: {part['error']}." for name, part in sorted(recording.parts.items()) if part["error"]
    ]
    if recording.file:
        recording.status = Recording.Status.READY
        missing += [f"Stream host {name} still holds a part, which is added when it is back." for name in held_by]
    else:
        recording.status = Recording.Status.RUNNING if held_by else Recording.Status.FAILED
    recording.error = " ".join(missing)[:ERROR_LENGTH]
