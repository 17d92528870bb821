"""What a session hears, judges, thinks and speaks with, and keeps of it: made together for one stream of one call.

Owned by ``session.CallSession``, which hands over the caller's audio and the actions of the core that are for them. A
listening agent only hears: what would have it think or speak comes to nothing.
"""

import asyncio
from collections.abc import Callable
from typing import assert_never

from agents.providers.base import ProviderConfig
from agents.providers.chain import Chain
from agents.providers.errors import Stage
from calls.context import CallContext
from calls.models import DoNotCall
from streaming import opting_out, tools
from streaming.audio.tones import BeepDetector
from streaming.conversation.events import (
    Beep,
    CancelGeneration,
    Commit,
    Event,
    FinishVoice,
    HoldVoice,
    JudgeTurn,
    OpenEars,
    OptedOut,
    OptOut,
    PauseVoice,
    ReleaseVoice,
    ResumeVoice,
    RunTool,
    ShutEars,
    Speak,
    SpeechWindow,
    StartReply,
    ToolResult,
    VoicePaused,
)
from streaming.line import Line
from streaming.listener import Listener, close_within
from streaming.planning import constant_phrases
from streaming.records import CallRecords
from streaming.resources import Resources
from streaming.speaker import Spawn, Speaker
from streaming.thinker import Thinker
from streaming.turn_judge import TurnJudge

BEEPS_MS = 150_000  # of the call: a greeting of a minute, and a message that is begun anew
LEAVE_S = 0.1  # how long the end of a call waits for its recogniser

Act = (
    Commit
    | ShutEars
    | OpenEars
    | JudgeTurn
    | StartReply
    | CancelGeneration
    | Speak
    | FinishVoice
    | ReleaseVoice
    | HoldVoice
    | PauseVoice
    | ResumeVoice
    | RunTool
    | OptOut
)
Beginning = JudgeTurn | StartReply | Speak  # what begins a task of the call


class Faculties:
    """The faculties of one stream.

    Args:
        feed: the conversation's ear.
        spawn: begins a task that ends with the call.
    """

    def __init__(
        self,
        context: CallContext,
        line: Line,
        resources: Resources,
        records: CallRecords,
        *,
        feed: Callable[[Event], None],
        spawn: Spawn,
    ) -> None:
        fmt = line.fmt
        self._context = context
        self._line = line
        self._fmt = fmt
        self._resources = resources
        self._records = records
        self._feed = feed
        self._spawn = spawn
        self._silent = False  # the last sound was heard
        self._listener = Listener(
            make=lambda config: resources.providers.speech_to_text(config, codec=fmt),
            chain=self._chain("stt", context.stt, *context.stt_further),
            fmt=fmt,
            clocks=resources.clocks,
            feed=feed,
            note=records.note,
            usage=records.usage,
            behind=resources.background,
        )
        self._lane = resources.vad.attach(fmt, lambda probability: feed(SpeechWindow(probability, self._lane.power)))
        self._beeps = BeepDetector(fmt) if context.answering is not None else None
        self._recording = (
            resources.recordings.begin(call_id=context.call_id, fmt=fmt, waited_s=line.waited_s)
            if context.spec.record
            else None
        )
        talks = context.spec.mode == "conversation"
        self._judge = self._make_judge() if talks else None
        self._thinker = self._make_thinker() if talks else None
        self._speaker = self._make_speaker() if talks else None

    def _chain(self, stage: Stage, *choices: ProviderConfig) -> Chain:
        return Chain(
            stage,
            choices,
            board=self._resources.board,
            switch_s=self._resources.clocks.switch,
            moved=self._records.moved,
        )

    def _make_judge(self) -> TurnJudge | None:
        resources = self._resources
        if resources.turn_model is None:
            return None
        return TurnJudge(
            resources.turn_model,
            fmt=self._fmt,
            lag_ms=lambda: resources.loop_lag_ms,
            feed=self._feed,
            spawn=self._spawn,
        )

    def _make_thinker(self) -> Thinker:
        context, resources = self._context, self._resources
        return Thinker(
            make=resources.providers.language_model,
            chain=self._chain("llm", context.llm, *context.llm_further),
            tools=tools.offered(context.spec),
            cache_key=context.version_id,
            guard_s=resources.clocks.total + resources.clocks.first,
            feed=self._feed,
            note=self._records.note,
            usage=self._records.usage,
            spawn=self._spawn,
        )

    def _make_speaker(self) -> Speaker:
        context, line, resources = self._context, self._line, self._resources
        return Speaker(
            make=lambda config: resources.providers.text_to_speech(config, codec=line.fmt),
            chain=self._chain("tts", context.tts, *context.tts_further),
            line=line,
            clocks=resources.clocks,
            phrases=resources.phrases,
            feed=self._feed,
            note=self._records.note,
            usage=self._records.usage,
            spawn=self._spawn,
            placements=self._recording is not None,
        )

    # --- from the beginning to the end -------------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to listen, and makes mind and voice ready."""
        self._spawn(self._listen(), "listener")
        if self._thinker is not None and self._speaker is not None:
            self._speaker.open()
            self._spawn(self._thinker.warm(), "model-warm")

    async def _listen(self) -> None:
        """Listens for as long as the call lasts; a recogniser that is slow to leave is left behind the call's end."""
        ears = self._resources.background(self._listener.run(), f"ears call={self._context.call_id}")
        try:
            await asyncio.shield(ears)
        finally:
            ears.cancel()
            # So that its account is written before the end; one that is still connecting may take longer.
            await asyncio.wait([ears], timeout=LEAVE_S)

    @property
    def stt_dropped_ms(self) -> int:
        """Audio that the recogniser did not get."""
        return self._listener.dropped_ms

    def fall_silent(self, now_ms: int, *, displaced: bool) -> None:
        """The last sound was heard.

        Args:
            displaced: another session carries the call by now, and records it.
        """
        self._silent = True
        self._lane.close()
        if not displaced:
            self._record(now_ms, at_once=True)

    def leave(self, *, displaced: bool) -> None:
        """The line is closed: what is left is done behind it. ``displaced``: see ``fall_silent``."""
        if self._speaker is not None:
            self._resources.background(close_within(self._speaker.close()), "voice-close")
        if self._recording is not None:
            self._recording.leave(goes_on=displaced)
        if self._speaker is not None:  # so that the next call needs no provider for its fixed texts
            for config in (self._context.tts, *self._context.tts_further):
                self._resources.prepare_later(
                    constant_phrases(self._context.spec), config=config, fmt=self._fmt, usage=self._records.usage
                )

    # --- what the line says ------------------------------------------------------------------------------------------

    def audio(self, audio: bytes, *, timestamp: int | None, chunk: int | None, now_ms: int) -> None:
        """The caller's next audio, whole samples."""
        if self._recording is not None:
            self._recording.caller(audio, timestamp=timestamp, chunk=chunk, now_ms=now_ms)
            self._record(now_ms)
        self._listener.audio(audio)
        if self._judge is not None:
            self._judge.audio(audio)
        self._lane.feed(audio)
        if self._beeps is not None and self._beeps.feed(audio):
            self._feed(Beep())
        if now_ms > BEEPS_MS:
            self._beeps = None
        self._resources.pulse.soon()

    def _record(self, now_ms: int, *, at_once: bool = False) -> None:
        if self._recording is not None and self._speaker is not None:
            self._records.heard(self._speaker.pacer, now_ms, self._recording.agent, at_once=at_once)

    def played(self, name: str, now_ms: int) -> None:
        """A checkpoint was reached by the playback."""
        if self._speaker is not None:
            self._speaker.acknowledge(name, now_ms)

    # --- what the core asks ------------------------------------------------------------------------------------------

    @property
    def next_poll_ms(self) -> int | None:
        """When ``poll`` is to be called on the call's clock; None: nothing waits to be sent."""
        return None if self._speaker is None else self._speaker.pacer.next_poll_ms

    def poll(self, now_ms: int) -> None:
        """Sends what is due of the voice."""
        if self._speaker is not None:
            self._speaker.poll(now_ms)

    def act(self, action: Act, now_ms: int) -> None:
        """Carries out an action of the core."""
        match action:
            case Commit() | ShutEars() | OpenEars():
                self._hear(action)
            case RunTool() | OptOut():
                self._run(action)
            case JudgeTurn():
                if self._judge is not None:
                    self._judge.ask()
            case StartReply():
                if self._thinker is not None:
                    self._thinker.start(action)
            case CancelGeneration(generation):
                if self._thinker is not None:
                    self._thinker.cancel(generation)
                if self._speaker is not None:
                    self._speaker.cancel(generation, now_ms)
            case Speak() | FinishVoice() | ReleaseVoice() | HoldVoice() | PauseVoice() | ResumeVoice():
                self._voice(action, now_ms)
            case _:
                assert_never(action)

    def _run(self, action: RunTool | OptOut) -> None:
        """A tool of the model's, or what asks without it that the caller is never called again."""
        if isinstance(action, OptOut):
            source = DoNotCall.Source.SPOKEN if action.spoken else DoNotCall.Source.KEY
            self._opt_out(source, action.evidence, lambda done: self._feed(OptedOut(done)))
            return
        words = tools.opts_out(action, self._context.spec)
        if words is None:
            self._feed(tools.run(action, self._context.spec, self._line))
            return
        generation, asked = action.generation, action.call.id
        self._opt_out(
            DoNotCall.Source.SPOKEN,
            words,
            lambda done: self._feed(ToolResult(generation, asked, opting_out.DONE if done else opting_out.NOT_DONE)),
        )

    def _opt_out(self, source: DoNotCall.Source, evidence: str, told: Callable[[bool], None]) -> None:
        opting_out.begin(
            self._resources,
            call_id=self._context.call_id,
            source=source,
            evidence=evidence,
            told=lambda done: None if self._silent else told(done),
        )

    def _hear(self, action: Commit | ShutEars | OpenEars) -> None:
        match action:
            case Commit(commit):
                self._listener.commit(commit)
            case ShutEars():
                self._listener.shut()
            case OpenEars(back_ms):
                self._listener.open(back_ms)
            case _:
                assert_never(action)

    def _voice(
        self, action: Speak | FinishVoice | ReleaseVoice | HoldVoice | PauseVoice | ResumeVoice, now_ms: int
    ) -> None:
        speaker = self._speaker
        if speaker is None:
            if isinstance(action, PauseVoice):
                self._feed(VoicePaused(0, 0, 0))
            return
        match action:
            case Speak():
                speaker.speak(action)
            case FinishVoice(generation):
                speaker.finish(generation)
            case ReleaseVoice(generation):
                speaker.release(generation)
            case HoldVoice(generation):
                speaker.hold(generation)
            case PauseVoice():
                self._feed(speaker.pause(now_ms))
            case ResumeVoice():
                speaker.resume(now_ms)
            case _:
                assert_never(action)
