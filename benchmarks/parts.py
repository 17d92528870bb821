"""What each part of a live call costs, from the stacks that ``benchmarks.sampled`` saw. Printed by ``make bench``.

A sample belongs to the first part of which some function is on its stack; what happens in the loop's own C code, system
calls above all, has no part of its own.
"""

from collections import Counter
from pathlib import Path

# Name; ms per call-second where a floor was measured (raw server and lean consumer; batched detector); functions.
PARTS: tuple[tuple[str, float | None, tuple[str, ...]], ...] = (
    ("voice detection", 1.2, ("detectors.py",)),
    ("detection's windows, into the core", None, ("Resources._judge_voices",)),
    ("detection's feed", None, ("VadLane.feed",)),
    ("recorder", None, ("audio/recorder.py", "recording_clock.py", "Faculties._record", "archive.py")),
    ("turn model", None, ("turn_model.py", "turn_judge.py")),
    ("STT feed", None, ("Listener._send", "Listener.audio")),
    ("STT answers", None, ("listener.py", "elevenlabs_stt.py")),
    ("language model", None, ("thinker.py",)),
    ("TTS", None, ("Speaker._segment", "elevenlabs_tts.py", "elevenlabs_utterance.py", "elevenlabs_socket.py")),
    ("journal", None, ("journal.py",)),
    ("pacing and timers", None, ("CallSession._on_timer",)),
    ("framing", 2.2, ("PhoneLine.", "StreamConsumer", "StreamProtocol", "WebSocketsSansIOProtocol")),
    ("provider sockets", None, ("websockets/asyncio/connection.py", "httpx", "httpcore", "anyio")),
    ("event loop and system calls", None, ("Runner.run",)),
)
SERVING, IMPORTING = "config/server.py:serve_", "_find_and_load"


def shares(samples: str) -> dict[str, float]:
    """The share of each part in what was seen after the imports; parts in the order of their cost."""
    seen: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, times = line.rpartition(" ")
        if SERVING in stack and IMPORTING not in stack:
            seen[_part(stack)] += int(times)
    return {name: count / seen.total() for name, count in seen.most_common()}


def _part(stack: str) -> str:
    return next((name for name, _, functions in PARTS if any(each in stack for each in functions)), "the rest")


def table(samples: Path, *, cpu: float) -> str:
    """One line a part: ms per call-second, share, floor.

    Args:
        cpu: ms per call-second of the whole.
    """
    floors = {name: floor for name, floor, _ in PARTS}
    lines = [f"{'part':38}{'ms/call-s':>10}{'share':>8}{'floor':>8}"]
    for name, share in shares(samples.read_text()).items():
        floor = floors.get(name)
        lines.append(f"{name:38}{share * cpu:>10.2f}{share:>8.1%}{'' if floor is None else f'{floor:.1f}':>8}")
    return "\n".join(lines)
