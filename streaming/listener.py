"""The agent's ear: the caller's audio goes to the voice detector and to speech-to-text, texts come back as events.

Owned by one ``session.CallSession``, which hands in every frame and every commit; nothing here waits for a provider
except the tasks of the recognition session, and a session that breaks or owes an answer for too long is replaced
without losing words.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
import structlog

from agents.providers.base import AudioFormat, Clocks, Final, Partial, ProviderConfig, SpeechToText
from agents.providers.chain import Attempts, Chain
from agents.providers.errors import ErrorKind, ProviderError
from streaming.audio.resample import Converter, convert
from streaming.conversation.events import Event, Note, TranscriberFailed, TranscriptFinal, TranscriptPartial
from streaming.usage import UsageBook, UsageEntry

log = structlog.get_logger(__name__)

PIECE_MS = 80
QUEUE_MS = 12_000  # more than a replacement takes: a send that stalls (2.5 s), then a connection (8 s)
ROUNDS = 2  # that each recogniser is asked in (twice in a row where that helps) before there is none to be had
RETRY_AFTER_S = 0.25
WATCHES = 8  # looks at a session in the time that it has to answer
USAGE_EVERY_S = 15.0
KEPT_MS = 1000
SILENCE = {"mulaw": b"\xff", "l16": b"\0"}
CLOSE_S = 2.0
T = TypeVar("T")


class _Asked(msgspec.Struct, frozen=True):
    """A commit that the recogniser has yet to answer: the conversation's number of it, and when (s) it was sent."""

    number: int
    at: float


class Listener:
    """Feeds one recogniser, and the next one when it breaks.

    Args:
        make: a new recognition session, not yet connected; raises ProviderError.
        chain: the agent's recognisers.
        fmt: of the audio handed in.
        clocks: scaled; every wait for the recogniser ends by them.
        feed: the conversation's ear.
        note: the call's timeline.
        behind: runs what nobody waits for: the closing of a session, which a provider in trouble makes last.
    """

    def __init__(
        self,
        *,
        make: Callable[[ProviderConfig], SpeechToText],
        chain: Chain,
        fmt: AudioFormat,
        clocks: Clocks,
        feed: Callable[[Event], None],
        note: Callable[[Note], None],
        usage: UsageBook,
        behind: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._make = make
        self._chain = chain
        self._fmt = fmt
        self._clocks = clocks
        self._feed = feed
        self._note = note
        self._usage = usage
        self._behind = behind
        self._loop = asyncio.get_running_loop()
        self._piece = bytearray()
        self._piece_size = fmt.bytes_per_ms * PIECE_MS
        self._queue: deque[bytes | int] = deque()  # audio, and the numbers of commits in between
        self._queued = 0  # bytes of audio in the queue
        self._filled = asyncio.Event()
        self._idle: SpeechToText | None = None  # the session that has been sent everything, and takes what we have
        self._asked: dict[int, _Asked] = {}  # by the session's number of the commit, oldest first
        self._sending_since: float | None = None  # s, of a piece that the recogniser has yet to take
        self._owed = 0  # the newest commit taken from the queue, until its final comes; 0: none
        self._carry = b""  # audio that broken sessions left without a final
        self._carry_fmt = fmt
        self._heard_something = False
        self._silence = SILENCE[fmt.encoding]
        self._shut: bytearray | None = None  # what was last kept from the recogniser, while anything is
        self.dropped_ms = 0

    # --- called by the session, never waiting ------------------------------------------------------------------------

    def audio(self, audio: bytes) -> None:
        """The caller's next audio."""
        if self._shut is not None:
            self._shut += audio
            del self._shut[: max(0, len(self._shut) - self._fmt.bytes_per_ms * KEPT_MS)]
            audio = self._silence * len(audio)
        self._piece += audio
        if len(self._piece) >= self._piece_size:
            self._push()

    def shut(self) -> None:
        """The recogniser hears silence from now on."""
        if self._shut is None:
            self._shut = bytearray()

    def open(self, back_ms: int) -> None:
        """The recogniser hears the caller again, and what was kept from it in the last ``back_ms`` (1 s at most)."""
        kept, self._shut = self._shut, None
        if kept:
            self.audio(bytes(kept[-self._fmt.bytes_per_ms * back_ms :]))

    def commit(self, number: int) -> None:
        """Everything handed in so far is to be put into words now; the final carries ``number``."""
        self._push()
        self._queue.append(number)
        self._filled.set()

    def _push(self) -> None:
        if not self._piece:
            return
        piece = bytes(self._piece)
        self._piece.clear()
        if self._idle is not None and not self._queue and self._idle.send_at_once(piece):
            return
        self._queue.append(piece)
        self._queued += len(piece)
        limit = self._fmt.bytes_per_ms * QUEUE_MS
        while self._queued > limit:
            oldest = next(item for item in self._queue if isinstance(item, bytes))
            self._queue.remove(oldest)
            self._queued -= len(oldest)
            self.dropped_ms += len(oldest) // self._fmt.bytes_per_ms
        self._filled.set()

    # --- the recognition session -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Recognises for as long as the call lasts, or until no recogniser can be had any more."""
        try:
            await self._run()
        finally:
            self._carry = b""  # nobody recognises it any more

    async def _run(self) -> None:
        attempts = self._chain.attempts(ROUNDS)
        failures = 0
        while True:
            self._heard_something = False
            choice = attempts.choice
            error = await self._attempt(attempts)
            failures = 1 if self._heard_something else failures + 1
            if self._heard_something:
                attempts = self._chain.attempts(ROUNDS)
            step = attempts.failed(error)
            fatal = step is None
            log.warning("recogniser_failed", kind=error.kind.value, provider=error.provider, fatal=fatal)
            self._note(Note("stt_failed", {"kind": error.kind.value, "detail": error.detail, "fatal": fatal}))
            self._feed(TranscriberFailed(error.kind, fatal))
            if step is None:
                return
            if not self._heard_something and (step.choice == choice or failures >= len(self._chain.configs)):
                await asyncio.sleep(RETRY_AFTER_S * failures)

    async def _attempt(self, attempts: Attempts) -> ProviderError:
        """One recognition session from its making to its end; returns why it broke."""
        try:
            stt = self._make(attempts.config)
        except ProviderError as error:
            return error
        if self._carry_fmt != stt.input_format:
            self._carry = convert(self._carry, self._carry_fmt, stt.input_format)
            self._carry_fmt = stt.input_format
        entry = self._usage.entry("turn")
        try:
            return await self._recognise(stt, attempts, entry)
        finally:
            self._carry = stt.unconfirmed() + self._carry  # the rest of what it was to be sent again
            self._asked.clear()
            self._sending_since = None
            self._usage.write(entry, stt.usage())
            self._behind(close_within(stt.close()), "stt-close")

    async def _recognise(self, stt: SpeechToText, attempts: Attempts, entry: UsageEntry) -> ProviderError:
        """Runs one recognition session; returns why it broke."""
        converter = Converter(self._fmt, stt.input_format)
        switch_s = self._chain.switch_s if attempts.others else None
        try:
            await self._within(switch_s or self._clocks.connect + self._clocks.first, stt, stt.connect())
            if self._carry:
                await self._send_again(stt)
            if self._owed:
                await self._commit(stt, self._owed)
        except ProviderError as error:
            return error
        failures: list[ProviderError] = []
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(stt, switch_s or self._clocks.stall), name="stt-watch")
                group.create_task(self._send(stt, converter), name="stt-send")
                group.create_task(self._receive(stt, attempts), name="stt-receive")
                group.create_task(self._account(stt, entry), name="stt-usage")
        except* ProviderError as failed:
            failures += [each for each in failed.exceptions if isinstance(each, ProviderError)]
        return failures[0]

    async def _send(self, stt: SpeechToText, converter: Converter) -> None:
        while True:
            while self._queue:
                item = self._queue.popleft()
                if isinstance(item, bytes):
                    self._queued -= len(item)
                    self._sending_since = self._loop.time()  # a timeout for each of 12 pieces a second costs too much
                    await stt.send(converter.convert(item))
                    self._sending_since = None
                else:
                    await self._commit(stt, item)
            self._filled.clear()
            self._idle = stt if stt.input_format == self._fmt else None
            try:
                await self._filled.wait()
            finally:
                self._idle = None

    async def _send_again(self, stt: SpeechToText) -> None:
        """Sends what broken sessions left, in pieces as small as when it was new: a session forgets by the piece."""
        size = stt.input_format.bytes_per_ms * PIECE_MS
        while self._carry:
            piece, self._carry = self._carry[:size], self._carry[size:]  # from here on the session keeps it
            await self._within(self._clocks.stall, stt, stt.send(piece))

    async def _commit(self, stt: SpeechToText, number: int) -> None:
        self._owed = number  # before the provider has it: a session that breaks over it leaves it to the next
        asked = await self._within(self._clocks.stall, stt, stt.commit())
        self._asked[asked] = _Asked(number, self._loop.time())

    async def _watch(self, stt: SpeechToText, patience_s: float) -> None:
        """Gives up a session that stays connected and takes or answers nothing; unasked it may be silent for ever."""
        while True:
            await asyncio.sleep(patience_s / WATCHES)
            now = self._loop.time()
            oldest = next(iter(self._asked.values()), None)
            if oldest is not None and now - oldest.at >= patience_s:
                raise self._stalled(stt, f"a commit was not answered within {patience_s:g} s")
            if self._sending_since is not None and now - self._sending_since >= patience_s:
                raise self._stalled(stt, f"no audio was taken for {patience_s:g} s")

    def _stalled(self, stt: SpeechToText, detail: str) -> ProviderError:
        return ProviderError(ErrorKind.STALLED, provider=stt.config.provider, stage="stt", detail=detail)

    async def _receive(self, stt: SpeechToText, attempts: Attempts) -> None:
        async for event in stt.events():
            if not self._heard_something:
                self._heard_something = True
                attempts.worked()
            match event:
                case Partial(text):
                    self._feed(TranscriptPartial(text))
                case Final(text, commit):
                    asked = self._asked.pop(commit, None)
                    for older in [known for known in self._asked if known < commit]:
                        del self._asked[older]  # its final will not come any more
                    number = 0 if asked is None else asked.number
                    if number == self._owed:
                        self._owed = 0
                    self._feed(TranscriptFinal(text, number))
        raise ProviderError(ErrorKind.DROPPED, provider=stt.config.provider, stage="stt", detail="the session ended")

    async def _account(self, stt: SpeechToText, entry: UsageEntry) -> None:
        """Writes what was used so far now and then: after a crash little of it is missing."""
        while True:
            await asyncio.sleep(USAGE_EVERY_S)
            self._usage.write(entry, stt.usage())

    async def _within(self, seconds: float, stt: SpeechToText, work: Awaitable[T]) -> T:
        scope = asyncio.timeout(seconds)
        try:
            async with scope:
                return await work
        except TimeoutError:
            if not scope.expired():
                raise
            raise ProviderError(ErrorKind.TIMEOUT, provider=stt.config.provider, stage="stt") from None


async def close_within(closing: Awaitable[None]) -> None:
    """Closes a provider session; one that does not close in 2 s is left behind."""
    try:
        async with asyncio.timeout(CLOSE_S):
            await closing
    except TimeoutError:
        log.warning("provider_close_timed_out")
