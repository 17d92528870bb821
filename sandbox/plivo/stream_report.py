"""A stream in the call report, and the audio that it really played, at its own rate and to the sample.

Used by the control API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sandbox.audio import wav_bytes

if TYPE_CHECKING:
    from sandbox.plivo.stream_client import StreamClient


def stream_wav(stream: StreamClient) -> bytes:
    """What the far party heard of a stream: mono, silence where nothing was played, sample 0 at the answer."""
    playout = stream.player.playout
    end = playout.chunks[-1].end if playout.chunks else 0
    samples = np.zeros(end, np.int16)
    for chunk in playout.chunks:
        samples[chunk.start : chunk.end] = stream.spec.media_format.decode(chunk.data)
    return wav_bytes(samples, playout.rate)


def stream_json(stream: StreamClient) -> dict[str, Any]:
    """The stream for the control API."""
    return {
        "stream_id": stream.stream_id,
        "url": stream.spec.url,
        "bidirectional": stream.spec.bidirectional,
        "content_type": f"{stream.spec.media_format.encoding};rate={stream.spec.media_format.rate}",
        "status": stream.status,
        "reason": stream.reason,
        "start_ms": stream.start_sent_ms,
        "connections": stream.connections,
        "frames_sent": stream.frames_sent,
        "messages": stream.player.messages,
        "playout": stream.player.playout.report(),
    }
