"""Text-to-speech over ElevenLabs' multi-context WebSocket: one socket per call, one context per utterance.

Made by ``registry.text_to_speech``: the default voice of live calls. A broken socket is replaced by itself as long as
no audio of the utterance has come; after that the reader of ``chunks`` decides where to go on.
"""

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any, final

from agents.providers.base import (
    MULAW_8K,
    AudioFormat,
    Clocks,
    ProviderConfig,
    TextToSpeech,
)
from agents.providers.classify import make_error
from agents.providers.elevenlabs_catalogue import speech_sentence
from agents.providers.elevenlabs_client import DEFAULT_URL, FORMAT_NAMES, elevenlabs_key, language_code, query_value
from agents.providers.elevenlabs_socket import MultiContextSocket
from agents.providers.elevenlabs_utterance import ElevenLabsUtterance
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.options import unknown_option
from agents.providers.pools import Pools
from agents.providers.sockets import open_socket, socket_address
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

    def utterance(self) -> ElevenLabsUtterance:
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

    async def open_context(self, utterance: ElevenLabsUtterance, context_id: str) -> MultiContextSocket:
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

    def utterance_over(self, utterance: ElevenLabsUtterance) -> None:
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
