"""One stretch of speech on ElevenLabs' multi-context WebSocket: its texts, its audio, its clocks, its one recovery.

Made by ``elevenlabs_tts`` for each clause; the socket tells it what comes for its context.
"""

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, Protocol, final

from agents.providers.base import AudioFormat, Clocks, ProviderConfig, SpeechChunk, UsageReport, Utterance
from agents.providers.classify import make_error
from agents.providers.elevenlabs_socket import MultiContextSocket
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.feed import Feed, FeedOverflow
from agents.providers.speech_text import WordTimer, speakable


class Session(Protocol):
    """What an utterance needs of its session: ``elevenlabs_tts.ElevenLabsTextToSpeech``."""

    config: ProviderConfig
    output_format: AudioFormat
    clocks: Clocks

    async def open_context(self, utterance: "ElevenLabsUtterance", context_id: str) -> MultiContextSocket:
        """Opens a context on a socket that has room; raises ProviderError."""
        ...

    def cancelled(self) -> None:
        """A context was closed before its end."""

    def distrust(self, socket: MultiContextSocket | None) -> None:
        """A socket has left an utterance without its audio."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs a coroutine as a task that ends with the session."""

    def utterance_over(self, utterance: "ElevenLabsUtterance") -> None:
        """An utterance needs no socket any more."""


@final
class ElevenLabsUtterance(Utterance):
    """One context (``base.Utterance``)."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._name = name
        self._feed: Feed[SpeechChunk] = Feed()
        self._words = WordTimer()
        self._texts: list[str] = []
        self._socket: MultiContextSocket | None = None
        self._context = ""
        self._sending = asyncio.Lock()
        self._finished = False
        self._over = False
        self._retried = False
        self._recovering = False
        self._bytes = 0
        self._characters = 0
        self._loop = asyncio.get_running_loop()
        self._said_at: float | None = None
        self._first_said_at: float | None = None
        self._heard_at: float | None = None
        self._first_ms: int | None = None
        self._ended_at: float | None = None
        self._error = ""

    async def say(self, text: str) -> None:
        """See ``base.Utterance``."""
        if self._finished:
            raise RuntimeError("text after finish()")
        if self._over or not speakable(text):
            return
        async with self._sending:
            self._texts.append(text)
            self._said_at = self._loop.time()
            self._first_said_at = self._first_said_at or self._said_at
            self._feed.poke()
            await self._deliver(text)

    async def finish(self) -> None:
        """See ``base.Utterance``."""
        if self._finished or self._over:
            return
        self._finished = True
        async with self._sending:
            if not self._texts:
                self._end()
                return
            self._said_at = self._loop.time()
            self._feed.poke()
            await self._deliver(None)

    async def cancel(self) -> None:
        """See ``base.Utterance``; the place of its context is free once the provider has closed it."""
        self._feed.clear()
        self._end()
        socket = self._socket
        if socket is not None:
            try:
                await socket.close_context(self._context, forget=True)
            except ProviderError:
                return  # the socket is gone, and the context with it
            self._session.cancelled()

    async def chunks(self) -> AsyncIterator[SpeechChunk]:
        """See ``base.Utterance``."""
        while not self._feed.drained:
            deadline, kind, words = self._deadline()
            try:
                async with asyncio.timeout_at(deadline):
                    chunk = await self._feed.next()
            except FeedOverflow as error:
                raise self._failed(make_error(ErrorKind.GARBAGE, self._session.config, "tts", str(error))) from None
            except TimeoutError:
                socket = self._socket
                await self.cancel()
                self._session.distrust(socket)
                raise self._failed(make_error(kind, self._session.config, "tts", words)) from None
            if chunk is not None:
                yield chunk

    def usage(self) -> UsageReport:
        """See ``base.Utterance``."""
        begun = self._first_said_at
        ended = self._loop.time() if self._ended_at is None else self._ended_at
        config = self._session.config
        return UsageReport(
            stage="tts",
            provider=config.provider,
            model=config.model,
            account_id=config.account_id,
            characters=self._characters,
            audio_ms=self._bytes // self._session.output_format.bytes_per_ms,
            first_ms=self._first_ms,
            total_ms=0 if begun is None else max(0, round((ended - begun) * 1000)),
            error=self._error,
        )

    # --- called by the socket ---

    def audio_message(self, context_id: str, message: Mapping[str, Any]) -> None:
        """See ``ContextSink``."""
        if context_id != self._context:
            return
        offset_ms = self._bytes // self._session.output_format.bytes_per_ms
        try:
            audio = base64.b64decode(message.get("audio") or b"", validate=True)
        except (binascii.Error, TypeError, ValueError):
            self._fail(make_error(ErrorKind.GARBAGE, self._session.config, "tts", "audio that is not base64"))
            return
        # The plain alignment has the words as written; the normalised one has numbers spelled out.
        words = self._words.take(message.get("alignment") or message.get("normalizedAlignment"), offset_ms)
        if audio:
            self._heard_at = self._loop.time()
            if self._first_ms is None and self._first_said_at is not None:
                self._first_ms = round((self._heard_at - self._first_said_at) * 1000)
            self._bytes += len(audio)
        if audio or words:
            self._feed.put(SpeechChunk(audio, words))

    def context_final(self, context_id: str) -> None:
        """See ``ContextSink``."""
        if context_id != self._context:
            return
        if rest := self._words.finish():
            self._feed.put(SpeechChunk(b"", rest))
        self._end()

    def context_lost(self, context_id: str, error: ProviderError) -> None:
        """See ``ContextSink``."""
        if context_id == self._context:
            self._lose(error)

    def session_closed(self) -> None:
        """The call is over: whoever still waits for audio gets an end."""
        self._end()

    # --- inner ---

    async def _deliver(self, text: str | None) -> None:
        """Sends one text, or with None the end. What fails is left to ``_lose``; a recovery sends all texts itself."""
        if self._recovering or self._over:
            return
        opening = self._socket is None
        try:
            if self._socket is None:
                await self._send_all()
            elif text is None:
                await self._socket.close_context(self._context)
            else:
                self._characters += len(text)
                await self._socket.say(self._context, text + " ")
        except ProviderError as error:
            if opening and error.kind is not ErrorKind.DROPPED:
                self._fail(error)  # a provider without room for a further socket has even less for another request
            elif not self._recovering:  # else the reading task has seen the same end
                self._lose(error)

    def _lose(self, error: ProviderError) -> None:
        """The context is gone: once, and only before any audio, all of it is said again on another socket."""
        if self._over:
            return
        self._socket, self._context = None, ""
        if error.retryable and self._bytes == 0 and not self._retried and self._texts:
            self._retried = self._recovering = True
            self._session.spawn(self._again(), "elevenlabs-tts-again")
        else:
            self._fail(error)

    async def _again(self) -> None:
        async with self._sending:
            try:
                await self._send_all()
            except ProviderError as error:
                self._fail(error)
            finally:
                self._recovering = False

    async def _send_all(self) -> None:
        """Opens a context and sends every text so far, and the end if it is known. Raises ProviderError."""
        if self._over:
            return
        context = self._context = f"{self._name}-again" if self._retried else self._name
        self._socket = socket = await self._session.open_context(self, context)
        for text in self._texts:
            self._characters += len(text)
            await socket.say(context, text + " ")
        if self._finished:
            await socket.close_context(context)
        if self._over:  # cancelled while the socket was being opened
            await socket.close_context(context, forget=True)

    def _deadline(self) -> tuple[float | None, ErrorKind, str]:
        """Until when the next audio must come: None while there is nothing to wait for."""
        clocks = self._session.clocks
        if self._first_said_at is None or self._said_at is None:
            return None, ErrorKind.TIMEOUT, ""
        total = self._first_said_at + clocks.total
        if self._heard_at is None:
            return min(total, self._first_said_at + clocks.first), ErrorKind.TIMEOUT, f"no audio in {clocks.first:g} s"
        if self._finished or self._said_at > self._heard_at:
            quiet_since = max(self._said_at, self._heard_at)
            return min(total, quiet_since + clocks.stall), ErrorKind.STALLED, f"no more audio in {clocks.stall:g} s"
        return None, ErrorKind.STALLED, ""

    def _fail(self, error: ProviderError) -> None:
        self._feed.fail(self._failed(error))
        self._end()

    def _failed(self, error: ProviderError) -> ProviderError:
        self._error = error.kind.value
        return error

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._ended_at = self._loop.time()
            self._session.utterance_over(self)
        self._feed.end()
