"""Kills the stream process with SIGKILL in the middle of calls and looks what is left: ``python -m benchmarks.kill``.

One call for each moment at which a process may die; the moment is found by what is going on on the line. With
``--times`` more than there are moments they come again and again, each time a little earlier or later. Prints a line
of JSON for each: how long the caller waited for the agent, which turns and how much audio are missing, whether they
went on to talk and the call came to its end by itself; then the worst of each in a line, for ``benchmarks.bars``.

The truth is the simulated phone's: what its caller said and heard, against the rows and the recording in the call log.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

from benchmarks.losses import FRAME_MS, Samples, Span, ended_turns, lost_voice, voiced_ms
from config import demo, supervisor

FINISHES = {"wait_agent_finishes": {"timeout_ms": 20_000}}
# Long enough for a process to die and another to take over; then the two talk on.
GOES_ON = ({"silence": 14_000}, FINISHES, {"say": "hours"}, FINISHES, {"say": "goodbye"}, "wait_hangup", "hangup")
ONE_TURN = (FINISHES, {"say": "book"}, *GOES_ON)
TWO_TURNS = (FINISHES, {"say": "book"}, FINISHES, {"silence": 700}, {"say": "day"}, *GOES_ON)
SETTLED_MS = 250
SPARED_MS = 1000  # the audio just before the kill that may be lost
AGAIN_S = 5.0
SPEAKING_MS = 60  # the longest quiet within which somebody still speaks

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Moment:
    """When the process is killed.

    Attributes:
        steps: what the caller does.
        line: the number of the caller's line that must have begun.
        speaks: whose voice is waited for, "caller" or "agent"; "nobody": for the end of the agent's answer.
        for_ms: how long that must have lasted.
        spread_ms: by how much longer or shorter it may be when the moment comes again.
    """

    name: str
    steps: tuple[Any, ...]
    line: int
    speaks: str
    for_ms: int
    spread_ms: tuple[int, int]


MOMENTS = (
    Moment("the caller is speaking", TWO_TURNS, 2, "caller", 600, (-500, 500)),
    Moment("the agent has begun to answer", TWO_TURNS, 2, "agent", SETTLED_MS + 50, (0, 900)),
    Moment("the agent is speaking", TWO_TURNS, 2, "agent", 3000, (-1500, 0)),
    Moment("the agent has just finished", ONE_TURN, 1, "nobody", SETTLED_MS + 50, (0, 1200)),
)
SEED = 1


def moments(times: int) -> list[Moment]:
    """So many, in turn; those of the first round as they stand, later ones shifted, by the same dice every time."""
    dice = random.Random(SEED)
    found = []
    for number in range(times):
        moment = MOMENTS[number % len(MOMENTS)]
        shift = dice.randint(*moment.spread_ms) if number >= len(MOMENTS) else 0
        found.append(replace(moment, for_ms=moment.for_ms + shift))
    return found


class Line:
    """Listens in on a call until its moment has come; told the time by whoever asks."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment
        self._begun_ms: float | None = None
        self._voice_end = -1.0
        self._moved_ms = 0.0

    def is_time(self, report: Report, now_ms: float) -> bool:
        """Whether to kill now. ``now_ms``: any clock that goes on."""
        lines = [entry for entry in report["caller"]["log"] if entry["action"] == "say" and "onset_ms" in entry]
        if len(lines) < self._moment.line:
            return False
        line = lines[self._moment.line - 1]
        if self._begun_ms is None:
            self._begun_ms = now_ms
        if self._moment.speaks == "caller":
            return now_ms - self._begun_ms >= self._moment.for_ms
        answer = [each for each in report["caller"]["agent_speech"] if each["start_ms"] > line["speech_end_ms"]]
        if not answer:
            return False
        if answer[-1]["end_ms"] != self._voice_end:
            self._voice_end, self._moved_ms = answer[-1]["end_ms"], now_ms
        quiet_ms = now_ms - self._moved_ms
        if self._moment.speaks == "agent":
            return quiet_ms < SPEAKING_MS and self._voice_end - answer[0]["start_ms"] >= self._moment.for_ms
        return quiet_ms >= self._moment.for_ms and not report["streams"][-1]["playout"]["checkpoints_pending"]


async def kill_once(running: demo.Stack, box: httpx.AsyncClient, moment: Moment) -> dict[str, Any]:
    """One call, one kill; the figures."""
    script = {"scenario": demo.SCENARIO, "steps": list(moment.steps)}
    uuid, call_id = await demo.place_call(running, script=script)
    await report(box, uuid, wait="streaming")
    stream = await carrier(running)
    line, asked = Line(moment), time.monotonic()
    while not line.is_time(await report(box, uuid), time.monotonic() * 1000):
        if time.monotonic() - asked > demo.START_SECONDS:
            raise demo.DemoError(f"it never came to that {moment.name}")
        await asyncio.sleep(0.01)
    os.kill(stream.handle.pid, signal.SIGKILL)
    log = _aftermath()
    await demo.until(lambda: log.ended(call_id), 150, running, "the call did not end by itself")
    await demo.until(lambda: log.recorded(call_id), 60, running, "there is no recording")
    after = await report(box, uuid, wait="ended")
    truth = (await box.get(f"/control/calls/{uuid}/audio.wav")).raise_for_status().content
    return {"moment": moment.name} | await asyncio.to_thread(figures, log, call_id, after, truth)


async def carrier(running: demo.Stack) -> supervisor.Process:
    """The stream process that carries the one call."""
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        for each in running.keeper.processes:
            if each.name.partition("-")[0] == "stream":
                port = each.command[each.command.index("--own-port" if "--own-port" in each.command else "--port") + 1]
                page = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                if "\nparley_live_calls 1.0" in page:
                    return each
    raise demo.DemoError("no process carries the call")


async def report(box: httpx.AsyncClient, uuid: str, **query: str) -> Report:
    """What the simulated phone knows of the call."""
    found: Report = (await box.get(f"/control/calls/{uuid}", params=query)).raise_for_status().json()
    return found


def figures(log: ModuleType, call_id: int, after: Report, truth: bytes) -> dict[str, Any]:
    """What became of a call that was killed once, by the phone's report and the call log."""
    first, *others = after["streams"]
    killed_ms, live_ms = first["connections"][-1]["closed_ms"], first["start_ms"]
    resumed_ms = next((each["start_ms"] for each in others if each["start_ms"] is not None), None)
    said = [entry for entry in after["caller"]["log"] if entry["action"] == "say"]
    lines = [Span(entry["onset_ms"], entry["speech_end_ms"]) for entry in said]
    voice = [Span(each["start_ms"], each["end_ms"]) for each in after["caller"]["agent_speech"]]
    again = [each.start_ms for each in voice if resumed_ms is not None and each.start_ms > resumed_ms]
    ended = ended_turns(lines, [each for each in voice if each.start_ms < killed_ms], before_ms=killed_ms - SETTLED_MS)
    in_log = [[Span(live_ms + row.start_ms, live_ms + row.end_ms) for row in rows] for rows in log.turns(call_id)]
    kept = [
        sum(any(turn.meets(row) for row in rows) for turn in turns) for turns, rows in zip(ended, in_log, strict=True)
    ]
    later = [line for line in lines if line.start_ms > killed_ms and again and line.start_ms > again[0]]
    answered = [line for line in later if any(line.meets(row) for row in in_log[0])]
    return {
        "streams": len(after["streams"]),
        "agent_again_s": round((again[0] - killed_ms) / 1000, 2) if again else None,
        "caller_turns": [kept[0], len(ended[0])],
        "agent_turns": [kept[1], len(ended[1])],
        "later_lines": [len(answered), len(later)],
        **_audio(log.read_tracks(truth), log.tracks(call_id), live_ms, killed_ms, resumed_ms),
    }


def _audio(
    truth: tuple[Samples, Samples],
    recording: tuple[Samples, Samples],
    live_ms: float,
    killed_ms: float,
    resumed_ms: float | None,
) -> dict[str, Any]:
    """Voice that is missing: ms older than what is forgiven, from how long before the kill on (s), ms after it."""
    lost = [
        (channel, at)
        for channel, (said, recorded) in enumerate(zip(truth, recording, strict=True))
        for at in lost_voice(said, recorded, offset_ms=live_ms)
        if at >= live_ms
    ]
    early = [at for _, at in lost if at < killed_ms - SPARED_MS]
    spared = [at for _, at in lost if killed_ms - SPARED_MS <= at < killed_ms]
    # A stream's first frame begins up to a frame after its start.
    after = [at for _, at in lost if resumed_ms is not None and at > resumed_ms + FRAME_MS]
    return {
        "voice_s": [round(voiced_ms(said, killed_ms) / 1000, 1) for said in truth],
        "lost_early_ms": FRAME_MS * len(early),
        "lost_last_s": round((killed_ms - min(spared)) / 1000, 2) if spared else 0.0,
        "lost_later_ms": FRAME_MS * len(after),
    }


def holds(found: Mapping[str, Any]) -> bool:
    """Whether a call kept what is promised."""
    return (
        found["agent_again_s"] is not None
        and found["agent_again_s"] <= AGAIN_S
        and all(kept == ended for kept, ended in (found["caller_turns"], found["agent_turns"]))
        and found["later_lines"][0] == found["later_lines"][1] > 0
        and found["lost_early_ms"] == 0
        and found["lost_later_ms"] == 0
    )


def worst(calls: Sequence[Mapping[str, Any]], times: int) -> str:
    """All calls in a line."""
    again = [found["agent_again_s"] for found in calls if found["agent_again_s"] is not None]
    voice_s = sum(sum(found["voice_s"]) for found in calls)

    def kept(key: str) -> str:
        return f"{sum(found[key][0] for found in calls)} of {sum(found[key][1] for found in calls)}"

    def missing(key: str) -> int:
        return sum(found[key] for found in calls)

    parts = [
        f"{len(calls)} of {times} calls killed came to their end",
        f"the agent was back {len(again)} times, after {max(again, default=0.0)} s at most",
        f"{kept('caller_turns')} caller and {kept('agent_turns')} agent turns that had ended are there",
        f"{kept('later_lines')} caller turns after it",
        f"of {voice_s:.0f} s of voice {missing('lost_early_ms')} ms are missing that were older than a second",
        f"{max((found['lost_last_s'] for found in calls), default=0.0)} s that were younger, at most",
        f"{missing('lost_later_ms')} ms after the return",
    ]
    return "; ".join(parts)


def _aftermath() -> ModuleType:
    from benchmarks import aftermath  # Django is set up by now

    return aftermath


async def measure(times: int, tell: Callable[[dict[str, Any]], None]) -> None:
    """A call for each moment, one after the other; tells the figures of each."""
    async with (
        demo.stack(codec="audio/x-mulaw;rate=8000", server="uvicorn", ports=(0, 0, 0)) as running,
        httpx.AsyncClient(base_url=running.box_url, trust_env=False, timeout=90) as box,
    ):
        for moment in moments(times):
            tell(await kill_once(running, box, moment))


def main() -> int:
    """Prints the figures; 0 when every one holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=len(MOMENTS), help="how often the process is killed")
    parser.add_argument("--processes", type=int, default=1, help="stream processes; another one takes the calls over")
    options = parser.parse_args()
    times = options.times
    calls: list[dict[str, Any]] = []

    def tell(found: dict[str, Any]) -> None:
        calls.append(found | {"holds": holds(found)})
        print(json.dumps(calls[-1]), flush=True)

    with tempfile.TemporaryDirectory(prefix="parley-kill-") as folder:
        demo.isolate(Path(folder))
        os.environ["STREAM_PROCESSES"] = str(options.processes)
        try:
            asyncio.run(measure(times, tell))
        except demo.DemoError as error:
            print(error, flush=True)
    print(worst(calls, times))
    return 0 if len(calls) == times and all(found["holds"] for found in calls) else 1


if __name__ == "__main__":
    sys.exit(main())
