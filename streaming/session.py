"""One live call: the driver that lets the conversation core listen, think and speak on a line.

Made by ``live`` once a stream has proved itself. Every event enters the core through ``feed``, in order; every action
leaves it through ``_carry_out``, most of them for the call's ``faculties``. All tasks of the call belong to one
TaskGroup, and none outlives ``run`` but those that close provider sessions: a caller does not wait for a provider to
hang up.
"""

import asyncio
import datetime
from collections import deque
from collections.abc import Coroutine
from typing import Any

import msgspec
import structlog

from calls.context import CallContext
from streaming.conversation.events import (
    Action,
    Dtmf,
    EndCall,
    EndReason,
    Event,
    HungUp,
    MachineReported,
    Note,
    ShowPartial,
    Started,
    Tick,
    Typed,
    WriteTurn,
)
from streaming.conversation.machine import Conversation
from streaming.faculties import Beginning, Faculties
from streaming.line import Line, LineLost
from streaming.planning import conversation_plan
from streaming.records import CallRecords
from streaming.resources import Resources

log = structlog.get_logger(__name__)

STALL_S = 5.0  # a line sends 50 frames a second; none for so long means that it is gone
FRESH_S = 1.0  # a second socket displaces the first only if that has been silent for so long
END_WRITTEN_S = 3.0
NORMAL_CLOSURE = 1000
SERVICE_RESTART = 1012


class Ending(msgspec.Struct, frozen=True):
    """How a session ends.

    Attributes:
        reason: None when only the carrier can know.
        normal: the conversation is over; otherwise the call may go on with another stream.
        code: of the WebSocket's close.
        told: what the core is told of an end that is not its own.
        displaced: another session carries the call on.
        transfer_to: name of the destination that the caller is put through to; empty: nobody.
    """

    reason: EndReason | None
    normal: bool
    code: int = NORMAL_CLOSURE
    told: EndReason = "stream_lost"
    displaced: bool = False
    transfer_to: str = ""


class CallSession:
    """Drives one stream of one call.

    Args:
        line: where the caller is.
        resources: what all calls of this process share.
    """

    def __init__(self, *, context: CallContext, line: Line, resources: Resources) -> None:
        self.context = context
        self._line = line
        self._resources = resources
        self._loop = asyncio.get_running_loop()
        elapsed = (resources.clock() - context.live_at) / datetime.timedelta(seconds=1)
        self._zero = self._loop.time() - max(0.0, elapsed)
        self._plan = conversation_plan(context)
        self._conversation = Conversation(self._plan)
        self._inbox: deque[Event] = deque()
        self._pumping = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0  # on the call's clock
        self._ending: asyncio.Future[Ending] = self._loop.create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._last_frame = self._loop.time()
        self._sample = 1 if line.fmt.encoding == "mulaw" else 2
        self._records = CallRecords(context, resources, now_ms=self.now_ms)
        self._faculties = Faculties(context, line, resources, self._records, feed=self.feed, spawn=self._spawn)

    # --- the call's life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carries the call until it ends; returns when its records are written and its line is closed.

        Raises nothing but cancellation.
        """
        ending = Ending(None, normal=False, code=SERVICE_RESTART)
        try:
            ending = await self._live()
        except* LineLost as lost:
            self._records.note(Note("line_lost", {"why": str(lost.exceptions[0])[:100]}))
        except* Exception:
            log.exception("session_failed", call=self.context.public_id)
            self._records.note(Note("session_failed"))
        finally:
            await asyncio.shield(self._resources.background(self._wind_up(ending), "wind-up"))

    async def _live(self) -> Ending:
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._spawn(self._line.read(self), "line-read")
            self._spawn(self._line.write(), "line-write")
            self._spawn(self._watch(), "line-watch")
            self._faculties.open()
            self.feed(Started(self.context.resumed))
            ending = await self._ending
            self._group = None  # nothing new begins
            for task in list(self._tasks):
                task.cancel()
        return ending

    async def _wind_up(self, ending: Ending) -> None:
        """Everything after the last sound: the records first, then the socket, then the providers."""
        if self._timer is not None:
            self._timer.cancel()
        self._group = None
        if not self._conversation.over:
            self.feed(HungUp(ending.told))
        self._records.ended(normal=ending.normal, stt_dropped_ms=self._faculties.stt_dropped_ms)
        self._faculties.fall_silent(self.now_ms(), displaced=ending.displaced)
        # Before the socket closes: Plivo asks what comes next within milliseconds of the close.
        written = await self._resources.journal.ended(
            self.context.call_id,
            session=self.context.session,
            reason=ending.reason,
            normal=ending.normal,
            transfer_to=ending.transfer_to,
            answered_by=self._conversation.answering.answered_by,
            within=END_WRITTEN_S,
        )
        if not written:
            log.error("stream_end_not_written_in_time", call=self.context.public_id)
        await self._line.close(ending.code)
        self._faculties.leave(displaced=ending.displaced)

    def end(self, ending: Ending) -> None:
        """Ends the session; the first ending counts."""
        if not self._ending.done():
            self._ending.set_result(ending)

    def request(self, event: Event) -> None:
        """An event from outside the line: an operator's request to end the call."""
        self.feed(event)

    def wonders(self) -> bool:
        """Whether it does not know yet who has answered a call of ours."""
        return self._conversation.answering.wonders

    def machine_reported(self) -> None:
        """The carrier believes that a machine has answered."""
        self.feed(MachineReported())

    def displaceable(self) -> bool:
        """Whether a second socket of the same call may take over."""
        return self._loop.time() - self._last_frame >= FRESH_S

    def displaced(self) -> None:
        """A second socket of the same call takes over, in this process or in another: ends without ending the call."""
        if not self._ending.done():
            log.warning("stream_displaced", call=self.context.public_id)
            self.end(Ending(None, normal=False, displaced=True))

    async def _watch(self) -> None:
        """Ends a stream that has stopped sending without saying so."""
        while True:
            silent = self._loop.time() - self._last_frame
            if silent >= STALL_S:
                self._records.note(Note("line_stalled", {"silent_ms": round(silent * 1000)}))
                self.end(Ending("stream_lost", normal=False, code=SERVICE_RESTART))
            await asyncio.sleep(max(0.1, STALL_S - silent))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if self._group is None:
            work.close()
            raise RuntimeError("the session has ended")
        task = self._group.create_task(work, name=f"{name} call={self.context.call_id}")
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._group = None  # it shuts down: nothing new begins, whatever the caller does meanwhile

    # --- what the line says (streaming.line.Hears) -------------------------------------------------------------------

    def audio(self, audio: bytes, *, timestamp: int | None, chunk: int | None) -> None:
        """The caller's next audio, in the line's format."""
        self._last_frame = self._loop.time()
        if self._sample == 2 and len(audio) % 2:
            self.malformed("odd")
            audio = audio[:-1]
        if not audio:
            return
        self._faculties.audio(audio, timestamp=timestamp, chunk=chunk, now_ms=self.now_ms())

    def malformed(self, why: str) -> None:
        """Something that is not the protocol was dropped."""
        self._records.malformed(why)

    def played(self, name: str) -> None:
        """A checkpoint was reached by the playback."""
        self._faculties.played(name, self.now_ms())
        self._pump()

    def digit(self, digit: str) -> None:
        """A key was pressed."""
        self.feed(Dtmf(digit))

    def typed(self, text: str) -> None:
        """A line was typed."""
        self.feed(Typed(text))

    def left(self, reason: EndReason) -> None:
        """The other end has gone."""
        # The end of a phone's socket does not say whether the call goes on; the carrier's next request does.
        final = self._line.leaving_is_final
        self.end(Ending(reason if final else None, normal=final, told=reason))

    # --- the core ----------------------------------------------------------------------------------------------------

    def now_ms(self) -> int:
        """ms since the call's first stream began."""
        return int((self._loop.time() - self._zero) * 1000)

    def feed(self, event: Event) -> None:
        """Gives the core an event and carries out what it asks; an event that arises meanwhile waits its turn."""
        self._inbox.append(event)
        self._pump()

    def _pump(self) -> None:
        if self._pumping:
            return
        self._pumping = True
        try:
            self._drain()
            now, poll = self.now_ms(), self._faculties.next_poll_ms
            if poll is not None and poll <= now:
                self._faculties.poll(now)
                self._drain()
                poll = self._faculties.next_poll_ms
            self._arm(poll)
        except Exception:
            # One call's fault stays its own: the event may have come from a callback that serves them all.
            log.exception("session_failed", call=self.context.public_id)
            self.end(Ending(None, normal=False, code=SERVICE_RESTART))
        finally:
            self._pumping = False

    def _drain(self) -> None:
        while self._inbox:
            event = self._inbox.popleft()
            for action in self._conversation.handle(event, self.now_ms()):
                self._carry_out(action)

    def _arm(self, poll: int | None) -> None:
        """Sets the one timer to whichever comes first: the core's next moment or the pacer's next piece (``poll``)."""
        due = None
        if self._group is not None and not self._ending.done():
            due = self._conversation.wake_at_ms
            if poll is not None:
                due = poll if due is None else min(due, poll)
        if self._timer is not None:
            if due == self._timer_ms:
                return  # as after most of the 80 frames and windows of a second
            self._timer.cancel()
            self._timer = None
        if due is not None:
            self._timer_ms = due
            self._timer = self._loop.call_at(max(self._zero + due / 1000, self._loop.time() + 0.001), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        wake = self._conversation.wake_at_ms
        if wake is not None and wake <= self.now_ms():
            self.feed(Tick())
        else:
            self._pump()

    def _carry_out(self, action: Action) -> None:
        match action:
            case WriteTurn():
                self._records.turn(action)
                self._line.show(action)
            case Note():
                self._records.note(action)
            case ShowPartial():
                self._line.show(action)
            case EndCall(reason, transfer_to):
                self.end(Ending(reason, normal=True, transfer_to=transfer_to))
            case _:
                if self._group is not None or not isinstance(action, Beginning):  # nothing begins after the end
                    self._faculties.act(action, self.now_ms())
