"""One utterance of the agent: its text, its segments, what was heard of it, and when each step happened.

A reply of the model, a greeting, a reprompt and a goodbye are all ``Reply``s. Made and moved on by ``voice.Voice`` and
``replies.Replies``; nothing in here decides anything.
"""

import bisect
from collections import deque
from typing import Any

import msgspec

from agents.providers.base import Message, ToolCall, WordTiming
from streaming.conversation.events import EndReason, TurnKind, WriteTurn
from streaming.conversation.segmenter import Segmenter

# Pace of speech, for audio whose length is not known yet: about 15 characters a second.
MS_PER_CHAR = 66
# A resumed voice steps back to the start of the interrupted word: about this much (``streaming.audio.pacer``).
REWIND_MS = 200


class Segment:
    """One synthesised piece.

    Attributes:
        heard_from_ms: when its first sound reaches the caller, None before it was sent.
        heard: it was played to its end.
        complete: no more audio will come.
        broken: its audio ended before its text.
    """

    __slots__ = ("broken", "complete", "duration_ms", "heard", "heard_from_ms", "text", "words")

    def __init__(self, text: str) -> None:
        self.text = text
        self.duration_ms = 0
        self.words: tuple[WordTiming, ...] = ()
        self.complete = False
        self.broken = False
        self.heard_from_ms: int | None = None
        self.heard = False

    @property
    def length_ms(self) -> int:
        """How long it plays; an estimate while its audio is still coming."""
        return self.duration_ms if self.complete else self._text_ms

    @property
    def voiced_text(self) -> str:
        """Its words that have audio."""
        return self.heard_text(self.duration_ms) if self.broken else self.text

    @property
    def _text_ms(self) -> int:
        """How long all of its text would play."""
        whole = self.complete and not self.broken
        return self.duration_ms if whole else max(self.duration_ms, len(self.text) * MS_PER_CHAR)

    def heard_text(self, offset_ms: int) -> str:
        """The words that had been heard when playback stood at ``offset_ms``.

        By the voice's word timings (a word counts from its middle on), else in proportion to the duration.
        """
        if offset_ms <= 0:
            return ""
        whole = self.complete and not self.broken
        if whole and offset_ms >= self.duration_ms:
            return self.text
        written = self.text.split()
        if self.words:
            spoken = sum((word.start_ms + word.end_ms) / 2 <= offset_ms for word in self.words)
            # Voices that normalise ("$5" as "five dollars") give other words than were written: scale then.
            total = len(self.words) if whole else max(len(self.words), len(written))
            count = spoken if total == len(written) else round(spoken * len(written) / total)
            return " ".join(written[:count])
        ends, at = [], 0
        for word in written:
            at += len(word) + 1
            ends.append(at - len(word) / 2 - 1)
        reached = offset_ms / max(1, self._text_ms) * at
        return " ".join(written[: bisect.bisect_right(ends, reached)])


class Times(msgspec.Struct):
    """Moments of one exchange, ms on the call's clock; the fields of ``WriteTurn`` that bear these names."""

    speech_end_ms: int | None = None
    decided_ms: int | None = None
    stt_final_ms: int | None = None
    llm_first_ms: int | None = None
    tts_first_ms: int | None = None
    first_sent_ms: int | None = None
    first_heard_ms: int | None = None
    interrupted_ms: int | None = None


class Reply:
    """One utterance of the agent.

    Attributes:
        by_model: the text streams in from the language model (else: fixed phrases).
        decided: the turn that it answers has ended; before, the reply is speculative.
        question: the normalised words that a speculative reply answers.
        waiting: pieces of text that are not given to the voice before the reply is decided.
        text_done: no further segment will come.
        model_done: the model has ended its answer (or there is none).
        ends_call: hang up once this was heard.
        goodbye: last words that the tool which ends the call was given.
        transfer_to: whom the caller is put through to after them; empty: nobody.
        tool_calls: tools asked for, in order; ``results`` their answers by call id.
        asked_tools: calls held until the reply is decided.
        paused_ms: since when the voice is paused, None when it is not; ``position`` where (segment, offset in ms).
        progress_ms: when model or voice last moved on.
        false_alarms: pauses so far that proved no interruption.
        finish_told: the driver knows that no further segment will follow.
        bridged: the caller was told to wait for it; what it is waited for goes on counting.
        over_ms: when it was over (heard, interrupted or given up), None before.
    """

    def __init__(self, *, generation: int, kind: TurnKind, by_model: bool, now_ms: int, language: str = "en") -> None:
        self.generation = generation
        self.kind: TurnKind = kind
        self.by_model = by_model
        self.interruptible = True
        self.decided = not by_model
        self.question = ""
        self.written = ""
        self.segmenter = Segmenter(language_tag=language)
        self.segments: list[Segment] = []
        self.waiting: deque[str] = deque()
        self.text_done = not by_model
        self.model_done = not by_model
        self.ends_call: EndReason | None = None
        self.tool_calls: list[ToolCall] = []
        self.asked_tools: list[ToolCall] = []
        self.results: dict[str, str] = {}
        self.tool_started_ms: dict[str, int] = {}
        self.times = Times()
        self.paused_ms: int | None = None
        self.position: tuple[int, int] | None = None
        self.begun_ms = now_ms
        self.progress_ms = now_ms
        self.false_alarms = 0
        self.over_ms: int | None = None
        self.interrupted = False
        self.finish_told = False
        self.bridged = False
        self.goodbye = ""
        self.transfer_to = ""

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def audible(self) -> bool:
        """Some of it has gone to the caller."""
        return self.times.first_sent_ms is not None

    @property
    def mute(self) -> bool:
        """Nothing of it has gone to the caller, and what comes first has no audio yet."""
        first = next((segment for segment in self.segments if segment.duration_ms or not segment.complete), None)
        return not self.audible and (first is None or not first.duration_ms)

    @property
    def said_nothing(self) -> bool:
        """A reply of the model of which the caller has heard nothing, and which did nothing either."""
        return self.by_model and not self.audible and not self.tool_calls and self.ends_call is None

    @property
    def all_heard(self) -> bool:
        """Nothing of it is left to say or to hear."""
        return self.text_done and not self.waiting and all(segment.heard for segment in self.segments)

    @property
    def tools_running(self) -> bool:
        """A tool was started and has not answered."""
        return len(self.results) < len(self.tool_calls)

    def left_ms(self, now_ms: int) -> int | None:
        """Audio not heard yet, in ms; None while the text or the audio is still coming."""
        if not self.text_done or self.waiting or not all(segment.complete for segment in self.segments):
            return None
        at = self.playing_at(now_ms)
        if at is None:
            return sum(segment.duration_ms for segment in self.segments if not segment.heard)
        segment, offset = at
        return sum(part.duration_ms for part in self.segments[segment:]) - offset

    def unheard_ms(self) -> int:
        """Audio known so far and not acknowledged as heard, in ms."""
        return sum(segment.duration_ms for segment in self.segments if not segment.heard)

    # --- playback ----------------------------------------------------------------------------------------------------

    def sent(self, index: int, heard_from_ms: int, now_ms: int) -> None:
        """The first audio of a segment has gone out."""
        self.segments[index].heard_from_ms = heard_from_ms
        if self.times.first_sent_ms is None:
            self.times.first_sent_ms = now_ms
            self.times.first_heard_ms = heard_from_ms
        self.progress_ms = now_ms

    def playing_at(self, now_ms: int) -> tuple[int, int] | None:
        """(segment, offset in ms) that the caller hears: where it was paused, else by the playback clock."""
        if self.position is not None:
            return self.position
        if self.paused_ms is not None:
            now_ms = self.paused_ms
        for index in range(len(self.segments) - 1, -1, -1):
            started = self.segments[index].heard_from_ms
            if started is not None and started <= now_ms:
                return index, min(now_ms - started, self.segments[index].length_ms)
        return None

    def resumed(self, now_ms: int) -> None:
        """The voice plays on from where it was paused: the playback clock of what is left starts anew."""
        at = self.playing_at(now_ms)
        self.paused_ms = None
        self.position = None
        self.progress_ms = now_ms
        if at is None:
            return
        index, offset = at
        starts = now_ms - max(0, offset - REWIND_MS)
        for segment in self.segments[index:]:
            if segment.heard_from_ms is None:
                break
            segment.heard_from_ms = starts
            starts += segment.duration_ms

    # --- texts -------------------------------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """Everything that was to be said."""
        return self.written.strip() if self.by_model and self.written.strip() else self._spoken_text()

    def _spoken_text(self) -> str:
        return " ".join([segment.text for segment in self.segments] + list(self.waiting))

    def heard_text(self, now_ms: int) -> str:
        """What the caller has heard of it."""
        at = self.playing_at(now_ms)
        parts = []
        for index, segment in enumerate(self.segments):
            if segment.heard or (at is not None and index < at[0]):
                parts.append(segment.voiced_text)
            elif at is not None and index == at[0]:
                parts.append(segment.heard_text(at[1]))
        return " ".join(filter(None, parts))

    def messages(self) -> list[Message]:
        """Its part of the context: what was heard (once over) or is being said, and the tools that have answered.

        An interrupted text ends with a dash, as broken-off speech is written.
        """
        if self.over_ms is None:
            content = self._spoken_text()
        else:
            content = self.heard_text(self.over_ms)
            if self.interrupted and content:
                content += " \N{EM DASH}"
        if not self.tool_calls or self.tools_running:
            return [Message(role="assistant", content=content)] if content else []
        return [
            Message(role="assistant", content=content, tool_calls=tuple(self.tool_calls)),
            *(Message(role="tool", content=self.results[call.id], tool_call_id=call.id) for call in self.tool_calls),
        ]

    def turn(self, *, now_ms: int, end_reason: str) -> WriteTurn:
        """The record of this utterance, over at ``now_ms``."""
        started = self.begun_ms if self.times.first_heard_ms is None else self.times.first_heard_ms
        moments: dict[str, Any] = msgspec.structs.asdict(self.times)
        return WriteTurn(
            role="agent",
            kind=self.kind,
            text=self.text,
            heard=self.heard_text(now_ms),
            started_ms=min(started, now_ms),
            ended_ms=now_ms,
            interrupted=self.interrupted,
            end_reason=end_reason,
            **moments,
        )
