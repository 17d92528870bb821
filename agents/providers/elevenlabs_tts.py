"""Text-to-speech over ElevenLabs' multi-context WebSocket: one socket per call, one context per utterance.

Made by ``registry.text_to_speech``: the default voice of live calls. A broken socket is replaced by itself as long as
no audio of the utterance has come; after that the reader of ``chunks`` decides where to go on.
"""

import asyncio
import base64
import binascii
import contextlib
import itertools
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, final

from agents.providers.base import (
    MULAW_8K,
    AudioFormat,
    Clocks,
    ProviderConfig,
    SpeechChunk,
    TextToSpeech,
    UsageReport,
    Utterance,
)
from agents.providers.classify import make_error
from agents.providers.elevenlabs_catalogue import speech_sentence
from agents.providers.elevenlabs_client import DEFAULT_URL, FORMAT_NAMES, elevenlabs_key, language_code, query_value
from agents.providers.elevenlabs_socket import MultiContextSocket
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.feed import Feed, FeedOverflow
from agents.providers.options import unknown_option
from agents.providers.pools import Pools
from agents.providers.sockets import open_socket, socket_address
from agents.providers.speech_text import WordTimer, speakable
from agents.providers.trial import speak_once

# The provider's default is 20 s, its maximum 180 s.
INACTIVITY_S = 180
KEEPALIVE_S = 10.0
# Contexts that a turn speaks in at once: the clause that is heard and the one behind it.
TURN_CONTEXTS = 2
# A further socket takes about as long.
ROOM_WAIT_S = 0.2
_ADAPTER_OPTIONS = frozenset({"transport", "language_code"})


@final
class ElevenLabsTextToSpeech(TextToSpeech):
    """The speech session of one call (``base.TextToSpeech``)."""

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> None:
        self.config = config
        self.output_format = codec if codec in FORMAT_NAMES else MULAW_8K
        self.clocks = clocks
        self._pools = pools
        self._key = elevenlabs_key(config, "tts")
        self._socket: MultiContextSocket | None = None
        self._retired: set[MultiContextSocket] = set()
        self._leaving: set[MultiContextSocket] = set()
        self._opening = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[ElevenLabsUtterance] = set()
        self._closed = False

    async def connect(self) -> None:
        """See ``base.TextToSpeech``."""
        if not self.config.voice_id:
            raise make_error(ErrorKind.BAD_REQUEST, self.config, "tts", "no voice is chosen")
        async with self._opening:
            if self._socket is None or self._socket.dead:
                self._socket = await self._new_socket()

    def utterance(self) -> "ElevenLabsUtterance":
        """See ``base.TextToSpeech``; its context is opened by its first text."""
        utterance = ElevenLabsUtterance(self, f"u{next(self._numbers)}")
        self._open.add(utterance)
        return utterance

    async def close(self) -> None:
        """See ``base.TextToSpeech``."""
        self._closed = True
        for utterance in list(self._open):
            utterance.session_closed()
        for task in list(self._tasks):
            task.cancel()
        sockets = [socket for socket in (self._socket, *self._retired, *self._leaving) if socket is not None]
        self._socket = None
        self._retired.clear()
        self._leaving.clear()
        await asyncio.gather(*(socket.close() for socket in sockets), *self._tasks, return_exceptions=True)

    async def check(self) -> str:
        """See ``base.TextToSpeech``; without a model and a voice in its configuration nothing is spoken."""
        if wrong := unknown_option("elevenlabs", "tts", self.config.options):
            raise make_error(ErrorKind.BAD_REQUEST, self.config, "tts", wrong)
        if self.config.model and self.config.voice_id:
            await speak_once(self)
        return await speech_sentence(self.config, pools=self._pools, clocks=self.clocks)

    async def open_context(self, utterance: "ElevenLabsUtterance", context_id: str) -> MultiContextSocket:
        """Opens a context for an utterance, on a fresh socket where the current one is dead or full.

        Contexts that were cancelled are closed already and may free their place in a moment; if they do not, a further
        socket is opened and the full one ends with its last utterance. Raises ProviderError.
        """
        async with self._opening:
            if self._closed:
                raise make_error(ErrorKind.DROPPED, self.config, "tts", "the session was closed")
            socket = self._socket
            if socket is None or socket.dead or not await socket.wait_for_room(ROOM_WAIT_S):
                if socket is not None and not socket.dead:
                    self._retired.add(socket)
                self._socket = socket = await self._new_socket()
            await socket.open_context(context_id, utterance, self.config.voice_settings)
            return socket

    def cancelled(self) -> None:
        """A context was closed before its end: the provider counts it until it has made all of its audio.

        If too little room is left for a turn, the next one gets another socket, opened while the caller speaks.
        """
        if self._crowded(self._socket):
            self.spawn(self._move(), "elevenlabs-tts-move")

    async def _move(self) -> None:
        with contextlib.suppress(ProviderError):  # the next utterance meets it again, and tells
            async with self._opening:
                crowded = self._socket
                if crowded is not None and self._crowded(crowded):
                    self._socket = await self._new_socket()
                    self._retired.add(crowded)

    def distrust(self, socket: MultiContextSocket | None) -> None:
        """A socket has left an utterance without its audio: what is said from now on goes over another.

        If it has brought nothing else either, what is still waited for on it is lost as well, and does not wait longer.
        """
        if socket is None or socket is not self._socket:
            return
        self._retired.add(socket)
        self._socket = None
        if asyncio.get_running_loop().time() - socket.heard_at >= self.clocks.stall:
            socket.abandon(make_error(ErrorKind.STALLED, self.config, "tts", "the connection fell silent"))

    def _crowded(self, socket: MultiContextSocket | None) -> bool:
        return socket is not None and not socket.dead and socket.room < TURN_CONTEXTS

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Runs a coroutine as a task that ends with the session."""
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def utterance_over(self, utterance: "ElevenLabsUtterance") -> None:
        """An utterance needs no socket any more: retired ones to which nobody listens are closed."""
        self._open.discard(utterance)
        for socket in [socket for socket in self._retired if socket.unheard or socket.dead]:
            self._retired.discard(socket)
            self._leaving.add(socket)
            self.spawn(self._leave(socket), "elevenlabs-tts-leave")

    async def _leave(self, socket: MultiContextSocket) -> None:
        await socket.close()
        self._leaving.discard(socket)  # until here it is the session's to close, should that end first

    async def _new_socket(self) -> MultiContextSocket:
        options = self.config.options
        inactivity = float(options.get("inactivity_timeout", INACTIVITY_S))
        query = {
            "model_id": self.config.model,
            "output_format": FORMAT_NAMES[self.output_format],
            "inactivity_timeout": f"{inactivity:g}",
            "auto_mode": "true",  # whole clauses come in, each flushed: no waiting for more text
            "sync_alignment": "true",
        }
        if language := language_code(self.config):
            query["language_code"] = language
        query |= {name: query_value(value) for name, value in options.items() if name not in _ADAPTER_OPTIONS}
        url = socket_address(
            self.config.base_url or DEFAULT_URL,
            f"/v1/text-to-speech/{self.config.voice_id}/multi-stream-input",
            list(query.items()),
        )
        socket = await open_socket(
            url,
            headers={"xi-api-key": self._key},
            config=self.config,
            stage="tts",
            clocks=self.clocks,
            tls=self._pools.tls,
        )
        keepalive = min(KEEPALIVE_S, inactivity / 2)
        return MultiContextSocket(socket, self.config, keepalive_s=keepalive, send_s=self.clocks.stall)


@final
class ElevenLabsUtterance(Utterance):
    """One context (``base.Utterance``)."""

    def __init__(self, session: ElevenLabsTextToSpeech, name: str) -> None:
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
