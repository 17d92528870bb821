"""The call engine: takes a call from its first ring to its last callback, outbound and inbound.

REST and the control API start calls here; the XML interpreter runs inside. It alone moves a call from state to state.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from sandbox.plivo.behaviour import FAILURE_CODES, NOT_DIALLED, Behaviour
from sandbox.plivo.call import Call, cause
from sandbox.plivo.caller import ScriptedCaller
from sandbox.plivo.exchange import Exchange
from sandbox.plivo.interpreter import Interpreter
from sandbox.plivo.media import CallMedia
from sandbox.plivo.recordings import Recording, announce
from sandbox.plivo.scenario import CallerScript

_STREAM_GRACE_S = 5.0
_EARLY_HANGUP_S = 0.05


def start_outbound(exchange: Exchange, call: Call, behaviour: Behaviour) -> float:
    """Begin a call that REST asked for; the seconds for which it stays queued, by calls per second."""
    exchange.calls[call.uuid] = call
    call.behaviour = behaviour.kind
    wait = exchange.wait_for_slot()
    caller = _caller(call, behaviour.caller()) if behaviour.kind in ("human", "machine") else None
    exchange.spawn(_Outbound(exchange, call, behaviour, caller).run(wait))
    return wait


def start_inbound(exchange: Exchange, call: Call, script: CallerScript) -> None:
    """Somebody phones one of our numbers. Raises UnknownClipError when the script names a clip that is not there."""
    caller = _caller(call, script)
    exchange.calls[call.uuid] = call
    exchange.spawn(_Conversation(exchange, call, caller).run_inbound())


def _caller(call: Call, script: CallerScript) -> ScriptedCaller:
    def act(action: str, detail: str) -> None:
        if action == "hangup":
            call.hang_up(cause(4000, "Caller" if call.direction == "inbound" else "Callee"))
        elif action == "drop_tcp":
            for stream in call.streams:
                stream.drop()
        else:
            call.digits.put_nowait(detail)
            for stream in call.streams:
                stream.press(detail)

    return ScriptedCaller(script, act)


class _Conversation:
    """What is common to both directions: the answer, the XML, the end."""

    def __init__(self, exchange: Exchange, call: Call, caller: ScriptedCaller | None) -> None:
        self.exchange, self.call = exchange, call
        self._caller = caller
        self._media_task: asyncio.Task[None] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    async def run_inbound(self) -> None:
        self.call.state = "ringing"
        self.call.rang_at = self.call.created_at
        await self._talk()
        await self._close()

    def answer(self) -> None:
        """The call is answered now: the media clock starts. Does nothing the second time."""
        call = self.call
        if call.answered_at is not None or call.ended.is_set():
            return
        call.media = CallMedia(self._caller, keep_audio=self.exchange.config.keep_audio)
        call.caller = self._caller
        call.answered()
        self._media_task = self.exchange.spawn(call.media.run())
        loop = asyncio.get_running_loop()
        limit = loop.call_later(call.options.time_limit, call.hang_up, cause(6000, "Plivo"))
        self._timers.append(limit)

    async def _talk(self) -> None:
        """Run the XML until it or the call ends."""
        call = self.call
        if call.faults.hangup_before_answer_reply:
            source = "Caller" if call.direction == "inbound" else "Callee"
            later = asyncio.get_running_loop().call_later(_EARLY_HANGUP_S, call.hang_up, cause(4000, source))
            self._timers.append(later)
        document = asyncio.create_task(Interpreter(self.exchange, call, self.answer).run())
        ended = asyncio.create_task(call.ended.wait())
        try:
            await asyncio.wait({document, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not call.ended.is_set():
                call.hang_up(document.result())
            await self._stop_streams()
        finally:
            for task in (document, ended):
                task.cancel()
            results = await asyncio.gather(document, return_exceptions=True)
            if isinstance(results[0], Exception):
                call.hang_up(cause(5010, "Plivo"))
                self.exchange.report_error(results[0])

    async def _stop_streams(self) -> None:
        for stream in self.call.streams:
            stream.stop("call_hangup")
        deadline = asyncio.get_running_loop().time() + _STREAM_GRACE_S
        while any(stream.status != "stopped" for stream in self.call.streams):
            if asyncio.get_running_loop().time() > deadline:
                self.call.note("stream_did_not_stop")
                return
            await asyncio.sleep(0.005)

    async def _close(self) -> None:
        """The callbacks after the end: hangup_url and recordings, in an order that nobody guarantees."""
        call, exchange = self.call, self.exchange
        for timer in self._timers:
            timer.cancel()
        if self._media_task is not None:
            self._media_task.cancel()
        ours = [recording for recording in exchange.recordings.values() if recording.call is call]
        for recording in ours:
            recording.finish(call.media.now_ms() if call.media else 0.0)
        first = call.faults.recording_before_hangup
        if first is None:
            first = exchange.random.random() < 0.5 and bool(ours)
        if first and ours:
            await self._announce(ours)
            await self._send_hangup()
        else:
            await asyncio.gather(self._send_hangup(), self._announce(ours))
        call.state = "closed"
        call.closed.set()

    async def _send_hangup(self) -> None:
        urls = self.call.urls
        if urls.hangup:
            await self.exchange.send(
                self.call, urls.hangup, urls.hangup_method, self.call.hangup_params(), event="Hangup"
            )

    async def _announce(self, recordings: list[Recording]) -> None:
        if not recordings:
            return
        await self.exchange.pause(self.exchange.settings.recording_after_s * self.exchange.random.uniform(0.7, 1.6))
        for recording in recordings:
            await announce(self.exchange, recording)


class _Outbound(_Conversation):
    """A leg that we dial: queue, ring, answer or not."""

    def __init__(self, exchange: Exchange, call: Call, behaviour: Behaviour, caller: ScriptedCaller | None) -> None:
        super().__init__(exchange, call, caller)
        self._behaviour = behaviour

    async def run(self, queued_s: float) -> None:
        call = self.call
        if queued_s > 0 and await self._ended_within(queued_s):
            await self._close()
            return
        call.state = "ringing"
        if not await self._rings_until_answered():
            await self._close()
            return
        self.answer()
        if call.options.send_digits:
            call.digits_from_agent.append({"digits": call.options.send_digits, "by": "call"})
        if call.options.machine_detection:
            self.exchange.spawn(self._detect_machine())
        await self._talk()
        await self._close()

    async def _ended_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.call.ended.wait(), timeout=seconds)
        return self.call.ended.is_set()

    async def _rings_until_answered(self) -> bool:
        call, behaviour, settings = self.call, self._behaviour, self.exchange.settings
        scale = settings.time_scale
        if behaviour.kind in NOT_DIALLED:
            source = "Plivo" if behaviour.kind == "out-of-credit" else "Carrier"
            call.hang_up(cause(FAILURE_CODES[behaviour.kind], source))
            return False
        ring = settings.ring_after_s if behaviour.ring_ms is None else behaviour.ring_ms / 1000
        if await self._ended_within(ring * scale):
            return False
        call.rings()
        self.exchange.ledger.rang(number=call.to_number, call_uuid=call.uuid, behaviour=behaviour.kind)
        if call.urls.ring:
            params = call.base_params() | {"Event": "Ring"}
            self.exchange.spawn(self.exchange.send(call, call.urls.ring, call.urls.ring_method, params, event="Ring"))
        return await self._answered_in_time(scale)

    async def _answered_in_time(self, scale: float) -> bool:
        call, behaviour, settings = self.call, self._behaviour, self.exchange.settings
        answers = behaviour.kind in ("human", "machine")
        patience = float(call.options.ring_timeout)
        give_up = cause(6010, "Plivo")
        if call.options.hangup_on_ring is not None and call.options.hangup_on_ring < patience:
            patience, give_up = float(call.options.hangup_on_ring), cause(6000, "Plivo")
        after = settings.answer_after_s if behaviour.answer_ms is None else behaviour.answer_ms / 1000
        wait = patience if behaviour.kind == "no-answer" else min(after, patience)
        if await self._ended_within(wait * scale):
            return False
        if behaviour.kind == "no-answer" or after > patience:
            call.hang_up(give_up)
            return False
        if not answers:
            source = "Callee" if behaviour.kind in ("busy", "rejected") else "Carrier"
            call.hang_up(cause(FAILURE_CODES[behaviour.kind], source))
            return False
        return True

    async def _detect_machine(self) -> None:
        """The verdict some seconds after the answer, while the XML already runs."""
        call = self.call
        if await self._ended_within(call.options.machine_detection_time / 1000 * self.exchange.settings.time_scale):
            return
        call.machine = self._behaviour.kind == "machine"
        hangs_up = call.options.machine_detection == "hangup"
        if (call.machine or call.faults.machine_false) and call.urls.machine:
            params: dict[str, Any] = call.base_params() | {
                "Event": "MachineDetection",
                "Machine": call.machine,
                "IfMachine": "hangup" if hangs_up else "continue",
            }
            await self.exchange.send(
                call, call.urls.machine, call.urls.machine_method, params, event="MachineDetection"
            )
        if call.machine and hangs_up:
            call.hang_up(cause(9100, "Plivo"))
