"""When a caller's turn is over at the earliest: Parley's own rules on the caller's audio alone, without a server.

``benchmarks.stream_bars`` takes this off the response that was heard; what remains is the platform's own time.
"""

import functools

from agents.providers.base import MULAW_8K
from agents.spec import TurnTaking
from benchmarks.load.caller import WINDOW
from benchmarks.load.clips import FRAME, Clip, line_noise
from benchmarks.load.heard import PER_MS
from streaming.audio.vad import VadHub
from streaming.conversation.utterance import CallerSpeech

BEFORE_FRAMES, AFTER_FRAMES = 100, 50


@functools.cache
def decision_ms(clip: Clip, phase: int, numbers: TurnTaking) -> float:
    """From the last sound of a finished sentence to the moment at which its turn is over.

    Args:
        phase: samples of the stream before the sentence, modulo the detector's window; a multiple of 32.
    """
    _, line = line_noise()
    before = next(count for count in range(BEFORE_FRAMES, BEFORE_FRAMES + WINDOW) if count * FRAME % WINDOW == phase)
    stream = line[: before * FRAME] + clip.audio + line[: AFTER_FRAMES * FRAME]
    heard: list[float] = []
    hub = VadHub()
    lane = hub.attach(MULAW_8K, heard.append)
    speech = CallerSpeech(threshold=numbers.speech_threshold, start_windows=numbers.start_windows)
    for end in range(FRAME, len(stream) + 1, FRAME):
        lane.feed(stream[end - FRAME : end])
        hub.tick()
        for probability in heard:
            speech.feed(probability, end // PER_MS)
        heard.clear()
    return speech.end_ms + numbers.min_wait_ms - (before * FRAME + clip.voiced) / PER_MS
