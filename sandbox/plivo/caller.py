"""The scripted caller: says recorded clips, waits for the agent, interrupts, presses keys, hangs up.

Driven by the call's media clock, one frame of 20 ms at a time and without tasks of its own, so that a script always
does the same at the same moment. It writes down when everything began and ended, in ms since the call was answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from sandbox.audio import Samples, noise, tone
from sandbox.clips import load_clip
from sandbox.plivo.hearing import Hearing, speech_bounds
from sandbox.plivo.media_format import FRAME_MS, PHONE_FRAME, PHONE_RATE
from sandbox.plivo.scenario import CallerScript, Step

_PAUSE_DIGITS = {"w": 500, "W": 1000}
_NOISE_MS = 4000


class ScriptedCaller:
    """One caller in one call.

    `on_action` is told `hangup`, `drop_tcp` and `digit` (with the digit) at the moment when the script comes to them.
    """

    def __init__(self, script: CallerScript, on_action: Callable[[str, str], None]) -> None:
        """Load every clip of the script now. Raises UnknownClipError."""
        self.script = script
        self.hearing = Hearing()
        self.log: list[dict[str, Any]] = []
        self.clears: list[float] = []
        self.finished = False
        self._on_action = on_action
        self._clips: dict[str, Samples] = {}
        self._speech: deque[Samples] = deque()
        self._noise: Samples | None = None
        self._echo: deque[Samples | None] = deque()  # what is on its way from the loudspeaker to the microphone
        self._echo_gain = 0.0
        self._position = 0  # samples said so far
        self._frame = 0
        self.streamed = False  # somebody listens to what is said: set by whoever carries it
        self._mark_ms = 0.0  # what the agent said until here has been waited for
        self._steps: deque[Step] = deque()
        self.add_steps(script.steps)
        self._running = self._run()

    @property
    def now_ms(self) -> float:
        """Time on the media clock: everything before it has been said and heard."""
        return float(self._frame * FRAME_MS)

    def add_steps(self, steps: tuple[Step, ...]) -> None:
        """More to do, after what is left of the script. Raises UnknownClipError."""
        for step in steps:
            for name in (step.options.get("clip"), step.options.get("say")):
                if name and name not in self._clips:
                    scenario, _, line = name.rpartition("/")
                    self._clips[name] = load_clip(scenario or self.script.scenario, self.script.voice, line)
        self._steps.extend(steps)
        self.finished = False

    def do_now(self, steps: tuple[Step, ...]) -> None:
        """Drop the rest of the script and do these instead; what is being said is said to its end."""
        left = list(self._steps)
        self._steps.clear()
        try:
            self.add_steps(steps)
        except ValueError:
            self._steps.extend(left)
            raise
        self._running = self._run()

    def say(self) -> Samples | None:
        """The caller's next 20 ms; None is digital silence."""
        frame = self._next_speech()
        if self._noise is not None:
            start = self._position % (self._noise.size - PHONE_FRAME)
            frame = _together(frame, self._noise[start : start + PHONE_FRAME])
        if self._echo and (heard := self._echo.popleft()) is not None:
            frame = _together(frame, (heard * self._echo_gain).astype(np.int16))
        self._position += PHONE_FRAME
        return frame

    def _next_speech(self) -> Samples | None:
        if not self._speech:
            return None
        parts, need = [], PHONE_FRAME
        while need and self._speech:
            head = self._speech.popleft()
            parts.append(head[:need])
            if head.size > need:
                self._speech.appendleft(head[need:])
            need -= parts[-1].size
        return np.concatenate([*parts, np.zeros(need, np.int16)])

    def hear(self, samples: Samples | None) -> None:
        """The 20 ms that were heard while the frame from say() was said; then the script moves on."""
        self.hearing.feed(self._frame, samples)
        if self._echo_gain:
            self._echo.append(samples)
        self._frame += 1
        next(self._running, None)

    def cleared(self, ms: float) -> None:
        """The agent's audio was cleared."""
        self.clears.append(ms)

    def spoken_between(self, start_ms: float, end_ms: float) -> str:
        """The words of the lines said in that time."""
        said = [entry for entry in self.log if entry["action"] == "say" and start_ms <= entry["start_ms"] < end_ms]
        return " ".join(entry["text"] for entry in said)

    def _run(self) -> Iterator[None]:
        while True:
            if not self._steps:
                self.finished = True
                yield
                continue
            step = self._steps.popleft()
            entry: dict[str, Any] = {"action": step.action, "start_ms": self.now_ms}
            self.log.append(entry)
            yield from getattr(self, f"_do_{step.action}")(step.options, entry)
            entry.setdefault("end_ms", self.now_ms)

    def _until(self, condition: Callable[[], bool], timeout_ms: float, entry: dict[str, Any]) -> Iterator[None]:
        deadline = self.now_ms + timeout_ms
        while not condition():
            if self.now_ms >= deadline:
                entry["timed_out"] = True
                return
            yield

    def _do_wait_agent_starts(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        mark = self._mark_ms
        yield from self._until(lambda: self.hearing.first_after(mark) is not None, options["timeout_ms"], entry)

    def _do_wait_agent_finishes(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        mark = self._mark_ms

        def quiet() -> bool:
            if self.hearing.first_after(mark) is None:
                return False
            return self.now_ms - self.hearing.stretches[-1].end_ms >= options["silence_ms"]

        yield from self._until(quiet, options["timeout_ms"], entry)
        self._mark_ms = self.now_ms

    def _do_say(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        yield from self._speak(options["clip"], entry, options)

    def _do_interrupt(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        mark = self._mark_ms
        yield from self._until(lambda: self.hearing.first_after(mark) is not None, options["timeout_ms"], entry)
        stretch = self.hearing.first_after(mark)
        if stretch is not None:
            begun = max(stretch.start_ms, mark)

            def long_enough_or_over() -> bool:
                return self.now_ms - begun >= options["after_ms"] or self._quiet_for(1000)

            yield from self._until(long_enough_or_over, options["timeout_ms"], entry)
        entry["agent_was_speaking"] = self.hearing.speaking_at(self.now_ms)
        line = {"action": "say", "start_ms": self.now_ms}
        self.log.append(line)
        yield from self._speak(options["say"], line, {})

    def _quiet_for(self, ms: float) -> bool:
        return self.now_ms - self.hearing.stretches[-1].end_ms >= ms

    def _speak(self, clip: str, entry: dict[str, Any], options: Mapping[str, Any]) -> Iterator[None]:
        samples = self._clips[clip] if clip else options["samples"]
        gain = options.get("gain", 1.0)
        if gain != 1.0:
            samples = np.clip(samples * gain, -32768, 32767).astype(np.int16)
        onset, end = speech_bounds(samples)
        start = self._position
        entry.update(
            clip=clip,
            text=options.get("text") or self.script.lines.get(clip, clip),
            start_ms=start * 1000 / PHONE_RATE,
            onset_ms=(start + onset) * 1000 / PHONE_RATE,
            speech_end_ms=(start + end) * 1000 / PHONE_RATE,
            over_agent=self.hearing.speaking_at(self.now_ms),
        )
        self._speech.append(samples)
        while self._position < start + samples.size:
            yield
        entry["end_ms"] = (start + samples.size) * 1000 / PHONE_RATE
        self._mark_ms = entry["speech_end_ms"]

    def _do_silence(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        until = entry["start_ms"] + options["ms"]
        while self.now_ms < until:
            yield

    def _do_comfort_noise(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        self._speech.append(noise(options["ms"], PHONE_RATE, level_dbfs=options["level_dbfs"]))
        yield from self._do_silence(options, entry)

    def _do_background_noise(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        del entry
        self._noise = noise(_NOISE_MS, PHONE_RATE, level_dbfs=options["level_dbfs"]) if options["active"] else None
        yield

    def _do_echo(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        del entry
        self._echo_gain = 10 ** (options["level_db"] / 20) if options["active"] else 0.0
        self._echo = deque([None] * (int(options["delay_ms"] // FRAME_MS) if options["active"] else 0))
        yield

    def _do_beep(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        self._speech.append(tone(options["hz"], options["ms"], PHONE_RATE))
        yield from self._do_silence(options, entry)
        self._mark_ms = self.now_ms

    def _do_press(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        entry["digits"] = options["digits"]
        for digit in options["digits"]:
            if digit not in _PAUSE_DIGITS:
                self._on_action("digit", digit)
            yield from self._do_silence({"ms": _PAUSE_DIGITS.get(digit, options["gap_ms"])}, {"start_ms": self.now_ms})

    def _do_wait_stream(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        yield from self._until(lambda: self.streamed, options["timeout_ms"], entry)

    def _do_wait_clear(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        count = len(self.clears)
        yield from self._until(lambda: len(self.clears) > count, options["timeout_ms"], entry)

    def _do_wait_hangup(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        yield from self._until(lambda: False, options["timeout_ms"], entry)

    def _do_hangup(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        del options, entry
        self._on_action("hangup", "")
        yield

    def _do_drop_tcp(self, options: Any, entry: dict[str, Any]) -> Iterator[None]:
        del options, entry
        self._on_action("drop_tcp", "")
        yield

    def measures(self) -> dict[str, Any]:
        """Response times and barge-ins as the caller felt them, in ms."""
        said = [entry for entry in self.log if entry["action"] == "say" and "speech_end_ms" in entry]
        responses, barge_ins = [], []
        for index, line in enumerate(said):
            until = said[index + 1]["start_ms"] if index + 1 < len(said) else float("inf")
            first = next(
                (item for item in self.hearing.stretches if line["speech_end_ms"] <= item.start_ms < until), None
            )
            responses.append(
                {
                    "clip": line["clip"],
                    "speech_end_ms": line["speech_end_ms"],
                    "response_ms": round(first.start_ms - line["speech_end_ms"], 3) if first else None,
                }
            )
            if line["over_agent"]:
                barge_ins.append(self._barge_in(line))
        return {"responses": responses, "barge_ins": barge_ins}

    def _barge_in(self, line: dict[str, Any]) -> dict[str, Any]:
        clear = next((ms for ms in self.clears if ms >= line["onset_ms"]), None)
        heard = [item.end_ms for item in self.hearing.stretches if item.start_ms < line["onset_ms"] < item.end_ms]
        return {
            "clip": line["clip"],
            "onset_ms": line["onset_ms"],
            "clear_ms": round(clear - line["onset_ms"], 3) if clear is not None else None,
            "agent_heard_ms": round(heard[0] - line["onset_ms"], 3) if heard else 0.0,
        }

    def report(self) -> dict[str, Any]:
        """Everything that the caller did and heard."""
        return {
            "scenario": self.script.scenario,
            "voice": self.script.voice,
            "finished": self.finished,
            "log": self.log,
            "agent_speech": [
                {"start_ms": item.start_ms, "end_ms": item.end_ms, "ms": round(item.end_ms - item.start_ms, 3)}
                for item in self.hearing.stretches
            ],
            "clears_ms": self.clears,
            "measures": self.measures(),
        }


def _together(frame: Samples | None, other: Samples) -> Samples:
    """Two sounds at once."""
    if frame is None:
        return other
    return np.clip(frame.astype(np.int32) + other, -32768, 32767).astype(np.int16)
