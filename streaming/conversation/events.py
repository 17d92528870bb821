"""What goes into the conversation core and what comes out of it.

``machine.Conversation.handle(event, now_ms)`` takes one event and returns actions; ``streaming.session`` carries them
out on a live call, ``tests/streaming/simulator.py`` in virtual time. No audio passes through here, only durations.
Times are int ms on the call's clock, whose zero is the first stream's start (``Call.live_at``).

A *generation* numbers one utterance of the agent (a reply, a greeting, a reprompt ...), from 1, growing. A *segment*
numbers a clause or sentence within it, from 0; each is synthesised, sent and checkpointed as one piece.
"""

from typing import Any, Literal

import msgspec

from agents.providers.base import Message, ToolCall, WordTiming
from agents.providers.errors import ErrorKind

TurnRole = Literal["caller", "agent", "tool"]
TurnKind = Literal[
    "speech", "greeting", "reprompt", "filler", "goodbye", "apology", "wrap_up", "dtmf", "typed", "tool", "voicemail",
    "screening",
]  # fmt: skip
EndReason = Literal[
    "caller_hung_up", "agent_ended", "transferred", "silence", "max_length", "provider_failure", "stream_lost",
    "operator", "opted_out", "machine", "message_left",
]  # fmt: skip

# --- events ----------------------------------------------------------------------------------------------------------


class Started(msgspec.Struct, frozen=True, gc=False):
    """The stream has begun; ``resumed`` when it continues a call whose earlier stream was lost."""

    resumed: bool = False


class SpeechWindow(msgspec.Struct, frozen=True, gc=False):
    """The VAD's probability (0-1) of speech in the caller's last 32 ms window, and its power (1: full scale)."""

    probability: float
    power: float = 1.0


class TranscriptPartial(msgspec.Struct, frozen=True, gc=False):
    """The caller's words since the last commit, as recognised so far."""

    text: str


class TranscriptFinal(msgspec.Struct, frozen=True, gc=False):
    """Words that stay; ``commit`` is the number of the Commit that they answer, 0 if the provider ended by itself."""

    text: str
    commit: int


class TurnProbability(msgspec.Struct, frozen=True, gc=False):
    """A turn model's probability (0-1) that the caller, who is silent now, has finished; the answer to JudgeTurn."""

    probability: float


class TranscriberFailed(msgspec.Struct, frozen=True, gc=False):
    """Speech-to-text broke; ``fatal`` when the driver has nothing left to try."""

    kind: ErrorKind
    fatal: bool


class ReplyText(msgspec.Struct, frozen=True, gc=False):
    """More text of a reply."""

    generation: int
    text: str


class ReplyTool(msgspec.Struct, frozen=True, gc=False):
    """The model asks for a tool."""

    generation: int
    call: ToolCall


class ReplyDone(msgspec.Struct, frozen=True, gc=False):
    """The reply's text is complete."""

    generation: int
    reason: str


class ReplyFailed(msgspec.Struct, frozen=True, gc=False):
    """The language model failed, after whatever the driver tried; ``another``: the next request is for another one."""

    generation: int
    kind: ErrorKind
    another: bool = False


class SegmentAudio(msgspec.Struct, frozen=True):
    """Synthesised audio of a segment has arrived.

    Attributes:
        duration_ms: of all its audio so far.
        words: all timings so far, ms from the segment's beginning; empty where the voice gives none.
        complete: no more will come.
        loudest: power (1: full scale) of the loudest 32 ms of it so far.
    """

    generation: int
    segment: int
    duration_ms: int
    words: tuple[WordTiming, ...] = ()
    complete: bool = False
    loudest: float = 0.0


class VoiceFailed(msgspec.Struct, frozen=True, gc=False):
    """Text-to-speech failed for this segment, after whatever the driver tried.

    Attributes:
        fatal: there is no sense in the segments behind it; else its audio ended too early or never came, and they may
            still be spoken. What came of it is played.
    """

    generation: int
    segment: int
    kind: ErrorKind
    fatal: bool = True


class SegmentSent(msgspec.Struct, frozen=True, gc=False):
    """The first audio of a segment went to the caller; it is heard from ``heard_from_ms`` on."""

    generation: int
    segment: int
    heard_from_ms: int


class SegmentHeard(msgspec.Struct, frozen=True, gc=False):
    """A segment was played to its end, by its checkpoint or, failing that, by the playback clock."""

    generation: int
    segment: int


class VoicePaused(msgspec.Struct, frozen=True, gc=False):
    """The driver's answer to PauseVoice: where the voice stopped; ``generation`` 0 when nothing was playing."""

    generation: int
    segment: int
    offset_ms: int


class Dtmf(msgspec.Struct, frozen=True, gc=False):
    """The caller pressed a key."""

    digit: str


class Typed(msgspec.Struct, frozen=True, gc=False):
    """The caller typed a line (browser test page)."""

    text: str


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """A tool has answered; ``content`` goes to the model."""

    generation: int
    call_id: str
    content: str


class OptedOut(msgspec.Struct, frozen=True, gc=False):
    """The answer to OptOut: whether it is written that the caller is not to be called again."""

    done: bool


class Beep(msgspec.Struct, frozen=True, gc=False):
    """A pure tone has ended, as an answering machine's before it records."""


class MachineReported(msgspec.Struct, frozen=True, gc=False):
    """The carrier believes that a machine has answered."""


class EndRequested(msgspec.Struct, frozen=True, gc=False):
    """Somebody outside ends the call; ``say_goodbye`` lets the goodbye be heard first."""

    reason: EndReason
    say_goodbye: bool = True


class HungUp(msgspec.Struct, frozen=True, gc=False):
    """The stream has ended: the caller hung up or the connection broke. No action but records follows."""

    reason: EndReason


class Tick(msgspec.Struct, frozen=True, gc=False):
    """``wake_at_ms`` has come."""


Event = (
    Started
    | SpeechWindow
    | TranscriptPartial
    | TranscriptFinal
    | TurnProbability
    | TranscriberFailed
    | ReplyText
    | ReplyTool
    | ReplyDone
    | ReplyFailed
    | SegmentAudio
    | VoiceFailed
    | SegmentSent
    | SegmentHeard
    | VoicePaused
    | Dtmf
    | Typed
    | ToolResult
    | OptedOut
    | Beep
    | MachineReported
    | EndRequested
    | HungUp
    | Tick
)

# --- actions ---------------------------------------------------------------------------------------------------------


class Commit(msgspec.Struct, frozen=True, gc=False):
    """Ask the STT for its final text; the answer carries the same number."""

    commit: int


class ShutEars(msgspec.Struct, frozen=True, gc=False):
    """The STT is to hear silence instead of the caller's line, on which there is nothing but the agent's own voice."""


class OpenEars(msgspec.Struct, frozen=True, gc=False):
    """The STT hears the caller again, and what was kept from it in the last ``back_ms``."""

    back_ms: int


class OptOut(msgspec.Struct, frozen=True, gc=False):
    """Put the caller on the do-not-call list; answered by OptedOut.

    Attributes:
        evidence: what asked for it.
        spoken: words did, not a key.
    """

    evidence: str
    spoken: bool = False


class JudgeTurn(msgspec.Struct, frozen=True, gc=False):
    """Ask a turn model, where there is one, if the caller sounds finished; answered by TurnProbability or never."""


class StartReply(msgspec.Struct, frozen=True):
    """Ask the language model for a reply to ``messages``.

    Attributes:
        speculative: begun on trust, before the turn is decided; tools with effects must not run.
    """

    generation: int
    messages: tuple[Message, ...]
    speculative: bool = False


class CancelGeneration(msgspec.Struct, frozen=True, gc=False):
    """Stop model and voice of a generation and forget its audio; what is at the carrier is cleared if it plays."""

    generation: int


class Speak(msgspec.Struct, frozen=True, gc=False):
    """Synthesise a segment; its audio is held until ReleaseVoice of its generation.

    Attributes:
        phrase: a fixed text (greeting, reprompt ...) that the phrase cache may hold as audio.
        last: no further segment will follow in this generation.
    """

    generation: int
    segment: int
    text: str
    phrase: bool = False
    last: bool = False


class FinishVoice(msgspec.Struct, frozen=True, gc=False):
    """No further segment will follow in this generation (when it was not known at the last Speak)."""

    generation: int


class ReleaseVoice(msgspec.Struct, frozen=True, gc=False):
    """The audio of this generation may go to the caller."""

    generation: int


class HoldVoice(msgspec.Struct, frozen=True, gc=False):
    """The audio of this generation, of which nothing was sent, is held again until its next ReleaseVoice."""

    generation: int


class PauseVoice(msgspec.Struct, frozen=True, gc=False):
    """Silence the agent at once (clearAudio and the local queue, which is kept); answered by VoicePaused."""


class ResumeVoice(msgspec.Struct, frozen=True, gc=False):
    """Play on from the start of the interrupted word."""

    generation: int


class RunTool(msgspec.Struct, frozen=True):
    """Run a tool; answered by ToolResult."""

    generation: int
    call: ToolCall


class EndCall(msgspec.Struct, frozen=True, gc=False):
    """Leave the call now: everything that should be heard was heard.

    Attributes:
        transfer_to: name of the destination that the caller is put through to; empty: hang up.
    """

    reason: EndReason
    transfer_to: str = ""


class WriteTurn(msgspec.Struct, frozen=True):
    """A turn has ended and is to be written; the fields are those of ``calls.models.Turn``."""

    role: TurnRole
    kind: TurnKind
    text: str
    started_ms: int
    ended_ms: int
    heard: str = ""
    interrupted: bool = False
    end_reason: str = ""
    data: dict[str, Any] = {}
    speech_end_ms: int | None = None
    decided_ms: int | None = None
    stt_final_ms: int | None = None
    llm_first_ms: int | None = None
    tts_first_ms: int | None = None
    first_sent_ms: int | None = None
    first_heard_ms: int | None = None
    interrupted_ms: int | None = None


class Note(msgspec.Struct, frozen=True):
    """Something for the call's timeline; becomes a ``calls.models.CallEvent``. ``data`` holds no personal text."""

    kind: str
    data: dict[str, Any] = {}


class ShowPartial(msgspec.Struct, frozen=True, gc=False):
    """Words for a live view (browser test page, listen-only agents); ``final`` when they stay."""

    role: TurnRole
    text: str
    final: bool


Action = (
    Commit
    | OptOut
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
    | EndCall
    | WriteTurn
    | Note
    | ShowPartial
)
