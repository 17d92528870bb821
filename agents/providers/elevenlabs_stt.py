"""Speech-to-text over ElevenLabs' Scribe realtime socket, with commits from our own voice activity detection.

Made by ``registry.speech_to_text``: the default ears of live calls. The SDK's client swallows its handlers' errors and
unknown messages, so this speaks the protocol itself. The stream must not pause for long (the driver sends what the line
sends, silence included): a paused one goes cold.
"""

import asyncio
import binascii
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from agents.providers.base import MULAW_8K, AudioFormat, Clocks, ProviderConfig, SpeechToText, SttEvent, UsageReport
from agents.providers.classify import kind_of_code, kind_of_event, make_error
from agents.providers.clocks import Watch
from agents.providers.elevenlabs_client import DEFAULT_URL, FORMAT_NAMES, elevenlabs_key, query_value
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from agents.providers.sockets import close_quietly, open_socket, socket_address, socket_error, write_text
from agents.providers.stt_session import SttRecord

# The provider throttles a commit of less audio; shorter than a syllable there is nothing to recognise at all.
MIN_COMMIT_MS = 300
MIN_SPEECH_MS = 100
_BEGINNING = b'{"message_type":"input_audio_chunk","audio_base_64":"'

_ERRORS = frozenset(
    {
        "error",
        "auth_error",
        "quota_exceeded",
        "commit_throttled",
        "unaccepted_terms",
        "rate_limited",
        "queue_overflow",
        "resource_exhausted",
        "session_time_limit_exceeded",
        "input_error",
        "invalid_request",
        "chunk_size_exceeded",
        "insufficient_audio_activity",
        "transcriber_error",
    }
)


@final
class ElevenLabsSpeechToText(SpeechToText):
    """One Scribe session (``base.SpeechToText``)."""

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> None:
        self.config = config
        self.input_format = codec if codec in FORMAT_NAMES else MULAW_8K
        self._clocks = clocks
        self._pools = pools
        self._key = elevenlabs_key(config, "stt")
        self._record = SttRecord(config, self.input_format)
        rate = self.input_format.rate
        self._end = f'","commit":false,"sample_rate":{rate}}}'.encode()
        self._commit = _BEGINNING + f'","commit":true,"sample_rate":{rate}}}'.encode()
        self._asked: deque[int] = deque()
        self._last_final = ""
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """See ``base.SpeechToText``; returns once the provider has started the session."""
        watch = Watch(self._clocks, provider=self.config.provider, stage="stt")
        try:
            self._socket = await open_socket(
                self._address(),
                headers={"xi-api-key": self._key},
                config=self.config,
                stage="stt",
                clocks=self._clocks,
                tls=self._pools.tls,
            )
            async with watch.within("first"):
                while (message := await self._receive(self._socket))["message_type"] != "session_started":
                    if message["message_type"] in _ERRORS:
                        raise self._error_of(message)
        except (OSError, WebSocketException) as error:
            await self.close()
            raise self._record.failed(socket_error(error, self.config, "stt")) from None
        except ProviderError as error:
            await self.close()
            raise self._record.failed(error) from None
        except BaseException:
            await self.close()
            raise
        self._reader = asyncio.create_task(self._read(self._socket), name="elevenlabs-stt")

    def _address(self) -> str:
        options = dict(self.config.options)
        keyterms = str(options.pop("keyterms", ""))
        language = str(options.pop("language_code", self.config.language.split("-")[0].lower()))
        query = [
            ("model_id", self.config.model),
            ("audio_format", FORMAT_NAMES[self.input_format]),
            ("commit_strategy", "manual"),
        ]
        if language:
            query.append(("language_code", language))
        query += [("keyterms", term.strip()) for term in keyterms.split(",") if term.strip()]
        query += [(name, query_value(value)) for name, value in options.items()]
        return socket_address(self.config.base_url or DEFAULT_URL, "/v1/speech-to-text/realtime", query)

    async def send(self, audio: bytes) -> None:
        """See ``base.SpeechToText``."""
        self._record.sent(audio)
        await self._send(self._piece(audio))

    def send_at_once(self, audio: bytes) -> bool:
        """See ``base.SpeechToText``."""
        if self._socket is None or not write_text(self._socket, self._piece(audio)):
            return False
        self._record.sent(audio)
        return True

    def _piece(self, audio: bytes) -> bytes:
        return b"".join((_BEGINNING, binascii.b2a_base64(audio, newline=False), self._end))

    async def commit(self) -> int:
        """See ``base.SpeechToText``; with less than 100 ms since the last commit the answer is empty, at once.

        Silence makes up what is missing to the provider's least length.
        """
        uncommitted_ms = self._record.uncommitted_ms
        if uncommitted_ms < MIN_SPEECH_MS:
            return self._record.skip_commit()
        if uncommitted_ms < MIN_COMMIT_MS:
            zero = b"\xff" if self.input_format == MULAW_8K else b"\x00"
            silence = zero * (self.input_format.bytes_per_ms * (MIN_COMMIT_MS - uncommitted_ms))
            await self._send(self._piece(silence))
        number = self._record.next_commit()
        self._asked.append(number)
        await self._send(self._commit)
        return number

    async def _send(self, message: bytes) -> None:
        if self._socket is None:
            raise make_error(ErrorKind.DROPPED, self.config, "stt", "the session is not open")
        try:
            async with asyncio.timeout(self._clocks.stall):
                await self._socket.send(message, text=True)
        except (OSError, WebSocketException) as error:
            raise self._record.failed(socket_error(error, self.config, "stt")) from None

    def events(self) -> AsyncIterator[SttEvent]:
        """See ``base.SpeechToText``."""
        return self._record.events()

    def unconfirmed(self) -> bytes:
        """See ``base.SpeechToText``."""
        return self._record.unconfirmed()

    def usage(self) -> UsageReport:
        """See ``base.SpeechToText``."""
        return self._record.usage()

    async def close(self) -> None:
        """See ``base.SpeechToText``."""
        self._record.ended()
        reader, self._reader = self._reader, None
        socket, self._socket = self._socket, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader], timeout=0.5)
        if socket is not None:
            await close_quietly(socket)

    async def check(self) -> str:
        """See ``base.SpeechToText``."""
        await self.connect()
        await self.close()
        return f"Connected; {self.config.model} takes live audio."

    async def _receive(self, socket: ClientConnection) -> dict[str, Any]:
        try:
            message = json.loads(await socket.recv())
        except (ValueError, UnicodeDecodeError):
            message = None
        if not isinstance(message, dict) or not isinstance(message.get("message_type"), str):
            raise make_error(ErrorKind.GARBAGE, self.config, "stt", "a message without a type")
        return message

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                self._take(await self._receive(socket))
        except ProviderError as error:
            self._record.failed(error)
        except (OSError, WebSocketException) as error:
            self._record.failed(socket_error(error, self.config, "stt"))

    def _take(self, message: dict[str, Any]) -> None:
        kind, text = message["message_type"], str(message.get("text") or "").strip()
        if kind == "partial_transcript":
            self._record.partial(text)
        elif kind == "committed_transcript":
            # With timestamps on, the same words come again as committed_transcript_with_timestamps: not read.
            self._committed(text)
        elif kind in _ERRORS:
            self._take_error(message)

    def _committed(self, text: str) -> None:
        if self._asked:
            number = self._asked.popleft()
        elif text and text != self._last_final:
            number = 0  # the provider commits by itself when a segment gets too long
        else:
            return  # the same commit reported again
        self._last_final = text
        self._record.final(text, number)

    def _take_error(self, message: dict[str, Any]) -> None:
        error = self._error_of(message)
        if message["message_type"] in ("commit_throttled", "insufficient_audio_activity"):
            # The session goes on; the newest commit, too soon after another, will have no answer of its own: what
            # was said in it comes with the next.
            self._record.failed(error, fatal=False)
            if self._asked:
                number = self._asked.pop()
                self._record.answered("", number)
        else:
            self._record.failed(error)

    def _error_of(self, message: dict[str, Any]) -> ProviderError:
        name, words = str(message["message_type"]), message.get("error") or message.get("message") or ""
        kind = kind_of_code(name) or kind_of_event({"message": str(words)})
        if kind is ErrorKind.BAD_REQUEST and "model_id" in str(words):
            kind = ErrorKind.NOT_FOUND
        return make_error(kind, self.config, "stt", f"{name}: {words}")
