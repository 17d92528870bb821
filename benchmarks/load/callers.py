"""The load: ``python -m benchmarks.load.callers`` reads its orders as JSON and lets so many callers talk at once.

Prints a line when measuring begins, one when it ends, and a last one with what the callers experienced; the process
that started it takes the server's CPU and memory in between. Every caller's frame has a moment of its own in the 20 ms.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import aiohttp
import uvloop
from picows import ws_connect

from benchmarks.load import clips
from benchmarks.load.caller import PATIENCE_S, Caller, Part
from benchmarks.load.heard import Experience, experience

FRAME_S = 0.020
EARLY_S = 0.0005  # timers have 1 ms: frames of one moment leave together
PROBE_EVERY_S = 0.2


@dataclass(frozen=True)
class Orders:
    """What the callers are to do.

    Attributes:
        calls: [address of the stream, callId] of each.
        interrupts: whether they talk over every second answer.
        ramp_s: in which they ring, evenly spread.
        settle_s: from the last ring to the beginning of the measurement.
        measure_s: its length.
        probe: an address of the providers' process, asked now and then to see how late that runs.
    """

    calls: list[list[str]]
    interrupts: bool
    ramp_s: float
    settle_s: float
    measure_s: float
    probe: str
    seed: int = 1


class Load:
    """All callers of one run."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        noise, _ = clips.line_noise()
        self._part = Part(clips.questions(), clips.interruptions(), noise, orders.interrupts)
        self._callers: list[Caller] = []
        self._live = 0
        self._lags: list[float] = []
        self._probes: list[float] = []
        self._measuring = False
        self.failed = 0
        self.lost = 0

    async def run(self) -> dict[str, object]:
        """The whole run; its figures."""
        orders = self._orders
        clock = asyncio.create_task(self._tick())
        probing = asyncio.create_task(self._probe())
        await self._ring_all()
        await asyncio.sleep(orders.settle_s)
        begin, self._measuring = time.monotonic(), True
        _tell({"event": "begin", "live": self._live})
        await asyncio.sleep(orders.measure_s)
        end, self._measuring = time.monotonic(), False
        lost = len(orders.calls) - self.failed - self._live
        _tell({"event": "end", "live": self._live})
        clock.cancel()
        probing.cancel()
        await asyncio.gather(clock, probing, return_exceptions=True)
        for caller in self._callers:
            caller.hang_up()
        await asyncio.sleep(0.3)
        total = Experience()
        for caller in self._callers:
            window = [(moment - caller.zero) * 1000 for moment in (begin, end)]
            total.add(experience(caller.log, begin_ms=window[0], end_ms=window[1], patience_ms=PATIENCE_S * 1000))
        greetings = [caller.greeted_ms for caller in self._callers if caller.greeted_ms is not None]
        return {
            **asdict(total),
            "greetings": greetings,
            "failed": self.failed,
            "lost": lost,
            "lags": self._lags,
            "probes": self._probes,
        }

    async def _ring_all(self) -> None:
        orders = self._orders
        begun = time.monotonic()
        rings = []
        for number, (url, call_id) in enumerate(orders.calls):
            wait = begun + number * orders.ramp_s / len(orders.calls) - time.monotonic()
            await asyncio.sleep(max(0.0, wait))
            rings.append(asyncio.create_task(self._ring(number, url, call_id)))
        await asyncio.gather(*rings)

    async def _ring(self, number: int, url: str, call_id: str) -> None:
        caller = Caller(asyncio.get_running_loop(), call_id, self._part, self._orders.seed * 1000 + number, self._left)
        try:
            async with asyncio.timeout(10):
                await ws_connect(lambda: caller, url)
        except Exception as error:  # noqa: BLE001  (a call that fails is a figure)
            self.failed += 1
            print(f"a call was refused: {type(error).__name__}: {error}", file=sys.stderr)
            return
        self._live += 1
        self._callers.append(caller)

    def _left(self) -> None:
        self._live -= 1

    async def _tick(self) -> None:
        """Every caller's frame at its own moment, on one absolute clock."""
        zero, beat, places = time.monotonic(), 0, len(self._orders.calls)
        while True:
            beat += 1
            for place, caller in enumerate(list(self._callers)):
                due = zero + beat * FRAME_S + place * FRAME_S / places
                wait = due - time.monotonic()
                if wait > EARLY_S:
                    await asyncio.sleep(wait)
                now = time.monotonic()
                if self._measuring:
                    self._lags.append(max(0.0, now - due) * 1000)
                caller.tick(now)
            await asyncio.sleep(max(0.0, zero + beat * FRAME_S - time.monotonic()))

    async def _probe(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(PROBE_EVERY_S)
                asked = time.perf_counter()
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(self._orders.probe) as reply:
                        await reply.read()
                if self._measuring:
                    self._probes.append((time.perf_counter() - asked) * 1000)


def _tell(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


async def _main(orders: Orders) -> None:
    _tell({"event": "report", **await Load(orders).run()})


def main(arguments: Sequence[str] = ()) -> None:
    """Runs what standard input orders."""
    uvloop.run(_main(Orders(**json.loads(arguments[0] if arguments else sys.stdin.readline()))))


if __name__ == "__main__":
    main(sys.argv[1:])
