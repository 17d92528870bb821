"""What one session leaves behind: turns, timeline, usage and the agent's side of the recording.

Owned by ``session.CallSession``; all is handed on at once, to journal and recorder; nothing waits.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from agents.providers.chain import Moved
from calls.context import CallContext
from streaming import metrics
from streaming.audio.pacer import Pacer
from streaming.conversation.events import Note, WriteTurn
from streaming.resources import Resources
from streaming.usage import UsageBook

RECORD_EVERY_MS = 500
_FAILURES = {"stt_failed": "stt", "llm_failed": "llm", "tts_failed": "tts"}


class CallRecords:
    """The records of one stream.

    Args:
        now_ms: the call's clock.
    """

    def __init__(self, context: CallContext, resources: Resources, *, now_ms: Callable[[], int]) -> None:
        self._call_id = context.call_id
        self._journal = resources.journal
        self._clock = resources.clock
        self._now_ms = now_ms
        self._turn_index = context.next_turn_index
        self._recorded_ms = 0
        self._malformed: dict[str, int] = {}
        self.usage = UsageBook(write=self._write_usage, now_ms=now_ms)

    def turn(self, turn: WriteTurn) -> None:
        """A turn has ended: written at once."""
        row = msgspec.structs.asdict(turn)
        row["index"] = self._turn_index
        self._turn_index += 1
        self._journal.turn(self._call_id, row)
        metrics.observe(turn)

    def note(self, note: Note) -> None:
        """Something for the timeline."""
        if (stage := _FAILURES.get(note.kind)) is not None:
            metrics.FAILED.labels(stage, note.data["kind"]).inc()
        row = {"at": self._clock(), "offset_ms": self._now_ms(), "kind": note.kind, "data": note.data}
        self._journal.event(self._call_id, row)

    def moved(self, move: Moved) -> None:
        """A stage goes on with another choice: who took over, by number as the agent lists them, and why."""
        metrics.MOVED.labels(move.stage).inc()
        data = {
            "stage": move.stage,
            "choice": move.after + 1,
            "instead_of": move.before + 1,
            "provider": move.config.provider,
            "model": move.config.model,
            "account": move.config.account_id,
            "why": "out of service" if move.why is None else move.why.value,
        }
        self.note(Note("provider_changed", data))

    def malformed(self, why: str) -> None:
        """Something that is not the protocol was dropped; counted, and noted with the end."""
        self._malformed[why] = self._malformed.get(why, 0) + 1

    def ended(self, *, normal: bool, stt_dropped_ms: int) -> None:
        """The last entry of the stream."""
        metrics.DROPPED_AUDIO.inc(stt_dropped_ms / 1000)
        data = {"normal": normal, "stt_dropped_ms": stt_dropped_ms, "malformed": self._malformed}
        self.note(Note("session_ended", data))

    def heard(self, pacer: Pacer, now_ms: int, record: Callable[..., None], *, at_once: bool = False) -> None:
        """Gives the recording what the caller has heard of the agent by now; every half second is enough."""
        if at_once or now_ms - self._recorded_ms >= RECORD_EVERY_MS:
            self._recorded_ms = now_ms
            for placed in pacer.heard(now_ms):
                record(placed.audio, plays_at_ms=placed.plays_at_ms)

    def _write_usage(self, row: dict[str, Any]) -> None:
        self._journal.usage(self._call_id, row)
