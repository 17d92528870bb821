"""The live calls of this process: who is on, how busy the loop is, whether one more may come, and draining.

``config.server`` opens, drains and closes it; the consumers ask it for admission and let it carry their sessions.
Without a server that opens it (``runserver``, a test) it opens itself on the running loop at the first stream.
"""

import asyncio
import contextlib
import os
import socket
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import redis
import structlog
from django.conf import settings
from django.utils import timezone

from agents.providers.base import Clocks
from calls import admission, live_calls
from calls.admission import StreamLoad
from calls.context import CallContext
from streaming import doorkeeper, metrics
from streaming.audio.turn_model import open_turn_model
from streaming.doorkeeper import Refusal
from streaming.health import Health
from streaming.line import Line
from streaming.resources import RegistryProviders, Resources
from streaming.session import SERVICE_RESTART, CallSession, Ending
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

LAG_EVERY_S = 0.05
LAG_SAMPLES = 60  # the last three seconds: a single stall fills no process
PUBLISH_EVERY_S = 1.0
LOAD_TTL_S = 5
DISPLACED_S = 5.0
LAST_CALLS_S = 8.0  # what is left of a call at the drain's deadline closes within this


class Process:
    """The live calls of one process.

    Args:
        max_calls: most live calls; 0 when only the loop's lag decides.
    """

    def __init__(self, resources: Resources, *, max_calls: int) -> None:
        self.resources = resources
        self.draining = False
        self._max_calls = max_calls
        self._sessions: dict[int, CallSession] = {}
        self._claimed: set[int] = set()
        self._sockets = 0
        self._changed = asyncio.Event()
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self._tasks: list[asyncio.Task[None]] = []
        self._publisher = Worker("stream-load", limit=2)
        self._id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._health = Health(resources, process_id=self._id)

    async def open(self) -> None:
        """Opens the resources and begins to measure and publish the load."""
        await self.resources.open()
        loop = asyncio.get_running_loop()
        metrics.TASKS.set_function(lambda: len(asyncio.all_tasks(loop)))
        self._tasks = [
            asyncio.create_task(self._measure(), name="loop-lag"),
            asyncio.create_task(self._publish(), name="publish-load"),
            asyncio.create_task(self._health.run(), name="provider-health"),
        ]

    async def close(self) -> None:
        """Ends what still lives, as a restart would, and closes everything."""
        self.draining = True
        await self._end_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(redis.RedisError, TimeoutError, Overloaded):
            await self._publisher.run(1.0, admission.withdraw, self._id)
        await self._publisher.close()
        await self._health.close()
        await self.resources.close()

    # --- admission ---------------------------------------------------------------------------------------------------

    @property
    def load(self) -> StreamLoad:
        """How busy this process is."""
        return StreamLoad(
            live_calls=len(self._sessions) + len(self._claimed - self._sessions.keys()),
            max_calls=self._max_calls,
            lag_ms=self._lag() * 1000,
            draining=self.draining,
        )

    def _lag(self) -> float:
        return sorted(self._lags)[int(len(self._lags) * 0.95)]

    def refusal(self) -> str:
        """Why no further stream may come: "draining" or "full"; empty when one may."""
        if self.draining:
            return "draining"
        return "full" if self.load.room == 0 else ""

    @contextlib.contextmanager
    def socket(self) -> Iterator[str]:
        """Holds the process open for a socket from its first check to its end; gives ``refusal()``."""
        self._sockets += 1
        try:
            yield self.refusal()
        finally:
            self._sockets -= 1
            self._announce()

    def refused(self, refusal: Refusal) -> None:
        """Records a refusal without holding it up."""
        metrics.REFUSED.labels(refusal.reason).inc()
        self.resources.background(self._record(refusal), "record-refusal")

    async def _record(self, refusal: Refusal) -> None:
        try:
            await self.resources.edge.run(30.0, doorkeeper.record, refusal, self.resources.clock())
        except (TimeoutError, Overloaded):
            log.warning("stream_refusal_not_recorded", reason=refusal.reason)

    @contextlib.asynccontextmanager
    async def claim(self, call_id: int) -> AsyncIterator[bool]:
        """Reserves a call for one socket of this process; False when another has a better right.

        An earlier stream of the call gives way only if it has had no frame for a second: Plivo connects again before it
        has noticed itself that a connection broke. What other processes carry is asked of the database
        (``doorkeeper.enter``), by the same rule.
        """
        if call_id in self._claimed:
            session = self._sessions.get(call_id)
            if session is None or not session.displaceable():
                yield False
                return
            session.displaced()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DISPLACED_S):
                    await self._until(lambda: call_id not in self._claimed)
            if call_id in self._claimed:
                yield False
                return
        self._claimed.add(call_id)
        try:
            yield True
        finally:
            self._claimed.discard(call_id)
            self._announce()

    async def carry(self, context: CallContext, line: Line) -> None:
        """Runs a session until the stream ends; to be called inside ``claim``."""
        session = CallSession(context=context, line=line, resources=self.resources)
        self._sessions[context.call_id] = session
        try:
            with self.resources.leases.kept(session):
                await session.run()
        finally:
            del self._sessions[context.call_id]
            self._announce()

    def sessions(self) -> Iterator[CallSession]:
        """The sessions that are on now."""
        return iter(list(self._sessions.values()))

    # --- draining ----------------------------------------------------------------------------------------------------

    async def wait_drained(self, seconds: float) -> bool:
        """Waits until the live calls have ended; after ``seconds`` they are handed over to another process.

        Returns:
            whether all ended by themselves.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._until(lambda: not self._sockets)
                return True
        await self._end_all()
        return False

    async def _end_all(self) -> None:
        """Closes every stream in the way that makes Plivo ask for the next one."""
        for session in self.sessions():
            session.end(Ending(None, normal=False, code=SERVICE_RESTART))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CALLS_S):
                await self._until(lambda: not self._sockets)

    def _announce(self) -> None:
        self._changed.set()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    # --- load --------------------------------------------------------------------------------------------------------

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY_S
            await asyncio.sleep(LAG_EVERY_S)
            self._lags.append(max(0.0, loop.time() - due))
            self.resources.loop_lag_ms = self._lags[-1] * 1000
            metrics.LIVE_CALLS.set(len(self._sessions))
            metrics.LOOP_LAG.set(self._lag())

    async def _publish(self) -> None:
        reachable = True
        while True:
            try:
                await self._publisher.run(
                    2.0, admission.publish_load, process_id=self._id, load=self.load, ttl_s=LOAD_TTL_S
                )
            except (redis.RedisError, TimeoutError, Overloaded) as error:
                if reachable:
                    log.warning("load_not_published", error=type(error).__name__)
                reachable = False
            else:
                reachable = True
            await asyncio.sleep(PUBLISH_EVERY_S)


_process: Process | None = None
_loop: asyncio.AbstractEventLoop | None = None
_opening: asyncio.Lock | None = None


def _new_process() -> Process:
    clocks = Clocks().scaled(settings.PROVIDER_CLOCK_SCALE)
    resources = Resources(
        providers=RegistryProviders(clocks),
        store=live_calls,
        var_dir=settings.VAR_DIR,
        phrases_dir=settings.PHRASES_DIR,
        clocks=clocks,
        clock=timezone.now,
        turn_model=open_turn_model if settings.TURN_MODEL else lambda: None,
    )
    return Process(resources, max_calls=settings.MAX_LIVE_CALLS)


async def current() -> Process:
    """This loop's process, opened when it is not yet."""
    global _process, _loop, _opening  # noqa: PLW0603  (one per process, as the name says)
    loop = asyncio.get_running_loop()
    if _process is not None and _loop is loop:
        return _process
    if _opening is None or _loop is not loop:
        _opening, _loop, _process = asyncio.Lock(), loop, None
    async with _opening:
        if _process is None:
            process = _new_process()
            await process.open()
            _process = process
    return _process


async def install(process: Process) -> None:
    """Opens and uses ``process``, which a test has made with providers of its own."""
    global _process, _loop
    await process.open()
    _process, _loop = process, asyncio.get_running_loop()


async def open_process() -> None:
    """Called by the server before it listens."""
    await current()


async def close_process() -> None:
    """Called by the server after it has stopped listening."""
    global _process
    process, _process = _process, None
    if process is not None:
        await process.close()


def begin_drain() -> None:
    """From now on no stream is taken; live calls go on."""
    if _process is not None:
        _process.draining = True


def opening() -> bool:
    """Whether this process still makes ready what its calls need; streams that come meanwhile are kept waiting."""
    return _opening is not None and _opening.locked()


def draining() -> bool:
    """Whether this process is about to stop."""
    return _process is not None and _process.draining


async def wait_drained(seconds: float) -> bool:
    """See ``Process.wait_drained``."""
    return await _process.wait_drained(seconds) if _process is not None else True
