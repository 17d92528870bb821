"""Recordings: begun by `<Record>` or REST, cut from the call's audio, announced by a callback, fetched over /media/.

There is no MP3 encoder here: a recording that is asked for as mp3 is made, named and served as WAV, and the report of
the call says so.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.audio import wav_bytes
from sandbox.plivo.media_format import PHONE_RATE

if TYPE_CHECKING:
    from sandbox.plivo.call import Call
    from sandbox.plivo.exchange import Exchange


@dataclasses.dataclass
class Recording:
    """One recording. `rest`: which of Plivo's two callback vocabularies it uses. Times are ms of the media clock."""

    recording_id: str
    call: Call
    auth_id: str
    start_ms: float
    max_s: float
    stereo: bool
    rest: bool
    callback_url: str = ""
    callback_method: str = "POST"
    started_at: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    end_ms: float | None = None
    available: bool = False
    content: bytes = b""

    @property
    def duration_ms(self) -> float:
        """Length; -1 while it runs."""
        return -1 if self.end_ms is None else self.end_ms - self.start_ms

    def finish(self, end_ms: float) -> None:
        """Cut the audio at the end or at the longest allowed length, whichever is first. Once only."""
        if self.end_ms is not None or self.call.media is None:
            return
        self.end_ms = min(end_ms, self.start_ms + self.max_s * 1000)
        samples = self.call.media.stereo(self.start_ms, self.end_ms)
        if not self.stereo:
            samples = np.mean(samples, axis=1).astype(np.int16)
        self.content = wav_bytes(samples, PHONE_RATE)

    def url(self, base_url: str) -> str:
        """Where the file is."""
        return f"{base_url}/media/v1/Account/{self.auth_id}/Recording/{self.recording_id}.wav"

    def epoch_ms(self, media_ms: float) -> int:
        """A point of the media clock as epoch ms."""
        return int(self.started_at.timestamp() * 1000 + (media_ms - self.start_ms))

    def callback_params(self, base_url: str, api_id: str) -> dict[str, Any]:
        """What the callback says, in the vocabulary of XML or of REST."""
        duration = self.duration_ms
        ended = duration >= 0
        seconds = int(duration // 1000) if ended else -1
        start = self.epoch_ms(self.start_ms) if ended else -1
        end = self.epoch_ms(self.end_ms or 0) if ended else -1
        if self.rest:
            return {
                "api_id": api_id,
                "call_uuid": self.call.uuid,
                "record_url": self.url(base_url),
                "recording_id": self.recording_id,
                "recording_duration": seconds,
                "recording_duration_ms": int(duration),
                "recording_start_ms": start,
                "recording_end_ms": end,
            }
        return {
            "RecordUrl": self.url(base_url),
            "RecordingID": self.recording_id,
            "RecordingDuration": seconds,
            "RecordingDurationMs": int(duration),
            "RecordingStartMs": start,
            "RecordingEndMs": end,
        }

    def to_json(self, base_url: str) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "add_time": self.call.zoned(self.started_at),
            "call_uuid": self.call.uuid,
            "conference_name": None,
            "from_number": self.call.from_number,
            "monthly_recording_storage_amount": 0,
            "recording_format": "wav",
            "recording_id": self.recording_id,
            "recording_storage_duration": 0,
            "recording_storage_rate": 0,
            "recording_type": "call",
            "recording_url": self.url(base_url),
            "recording_duration_ms": f"{self.duration_ms:.5f}",
            "recording_start_ms": f"{self.epoch_ms(self.start_ms):.5f}",
            "recording_end_ms": f"{self.epoch_ms(self.end_ms or 0):.5f}",
            "resource_uri": f"/v1/Account/{self.auth_id}/Recording/{self.recording_id}/",
            "rounded_recording_duration": max(60, int(-(-self.duration_ms // 60000)) * 60),
            "to_number": self.call.to_number,
        }


async def announce(exchange: Exchange, recording: Recording) -> None:
    """A finished recording becomes readable, and its callback is sent. Once only."""
    if recording.available:
        return
    recording.available = True
    if recording.callback_url:
        params = recording.callback_params(exchange.base_url, exchange.new_id())
        await exchange.send(recording.call, recording.callback_url, recording.callback_method, params, event="Record")
