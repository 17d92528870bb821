"""``python -m benchmarks.audio_floor``: what the audio of one call costs, in µs for each step and ms of CPU a second.

Each figure is the median of several rounds; the second column is that of one call that listens and speaks all the time.
Absolute figures belong to the machine, compare them on one.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from agents.providers.base import L16_8K, L16_24K, MULAW_8K
from streaming.audio import codecs
from streaming.audio.detectors import CONTEXT, SILERO_FILES, WINDOW
from streaming.audio.models import Model, model_file
from streaming.audio.pacer import Pacer
from streaming.audio.recorder import Recorder
from streaming.audio.resample import Converter
from streaming.audio.silero import STATE
from streaming.audio.vad import VadHub

ROUNDS = 7
FRAME = bytes(np.random.default_rng(1).integers(0, 256, 160, dtype=np.uint8))
PIECE = codecs.mulaw_to_l16(FRAME * 10)
FRAMES_A_SECOND = 50
WINDOWS_A_SECOND = 8000 / WINDOW
PIECES_A_SECOND = 5


def measured(step: Callable[[], object], *, times: int, each: int = 1) -> float:
    """Median CPU time of one ``step`` in µs, divided by the ``each`` things it does."""
    step()
    rounds = []
    for _ in range(ROUNDS):
        begun = time.thread_time()
        for _ in range(times):
            step()
        rounds.append((time.thread_time() - begun) / times / each * 1e6)
    return statistics.median(rounds)


def line(name: str, microseconds: float, a_second: float) -> None:
    """Prints one figure and what it comes to in a second of a call."""
    print(f"{name:<44}{microseconds:>9.2f} us {microseconds * a_second / 1000:>8.3f} ms/call-s")


def vad(calls: int) -> float:
    """One window of one call, when so many calls share an inference."""
    hub = VadHub()
    lanes = [hub.attach(MULAW_8K, lambda _: None) for _ in range(calls)]
    window = FRAME + FRAME[:96]

    def tick() -> None:
        for lane in lanes:
            lane.feed(window)
        hub.tick()

    return measured(tick, times=max(20, 400 // calls), each=calls)


def by_runtime(calls: int) -> float:
    """The network of one window as onnxruntime computes it."""
    path = model_file(*SILERO_FILES)
    if path is None:
        raise RuntimeError("no Silero model: install requirements-models.txt")
    model = Model(path)
    inputs = {
        "input": np.zeros((calls, CONTEXT + WINDOW), np.float32),
        "state": np.zeros((2, calls, STATE), np.float32),
        "sr": np.array(8000, np.int64),
    }
    return measured(lambda: model.run(inputs), times=max(20, 400 // calls), each=calls)


def pacer() -> float:
    """One poll that sends a piece, the audio's arrival and its placement on the recording included."""
    voice = Pacer(MULAW_8K)
    voice.release(1)
    now = 0
    piece = FRAME * 10

    def step() -> None:
        nonlocal now
        voice.add(1, now // 200, piece)
        voice.complete(1, now // 200)
        for item in voice.poll(now).send:
            voice.acknowledge(getattr(item, "name", ""), now)
        voice.heard(now)
        now += 200

    return measured(step, times=300)


def recorder(folder: Path) -> float:
    """One frame of the caller, as the event loop sees it; the disk is the writer thread's."""
    writer = Recorder(folder, limit_bytes=1 << 30)
    recording = writer.open("floor", MULAW_8K, wall_ms=0)
    chunk = 0

    def step() -> None:
        nonlocal chunk
        chunk += 1
        recording.caller(FRAME, chunk, chunk * 20, now_ms=chunk * 20)

    result = measured(step, times=2000)
    recording.leave()
    writer.close()
    return result


def main() -> None:
    """Prints the table."""
    voice = Converter(L16_24K, MULAW_8K)
    speech = codecs.samples_to_l16(np.zeros(4800, np.int16))
    line("decode mu-law to float, 20 ms", measured(lambda: codecs.mulaw_to_float(FRAME), times=5000), FRAMES_A_SECOND)
    line("decode mu-law to l16, 20 ms", measured(lambda: codecs.mulaw_to_l16(FRAME), times=5000), FRAMES_A_SECOND)
    for calls in (1, 8, 16, 32, 64):
        line(f"voice activity, a window, {calls} calls at once", vad(calls), WINDOWS_A_SECOND)
        line("    its network by onnxruntime", by_runtime(calls), WINDOWS_A_SECOND)
    line("encode l16 to mu-law, 200 ms", measured(lambda: codecs.l16_to_mulaw(PIECE), times=2000), PIECES_A_SECOND)
    line("convert l16 24 kHz to mu-law, 200 ms", measured(lambda: voice.convert(speech), times=500), PIECES_A_SECOND)
    same = Converter(L16_8K, L16_8K)
    line("convert to the same format, 200 ms", measured(lambda: same.convert(PIECE), times=5000), PIECES_A_SECOND)
    line("pace a piece of 200 ms", pacer(), PIECES_A_SECOND)
    with tempfile.TemporaryDirectory() as folder:
        line("record a frame of the caller, 20 ms", recorder(Path(folder)), FRAMES_A_SECOND)


if __name__ == "__main__":
    main()
