"""Speech-to-text over OpenAI's Realtime transcription sessions, with commits from our own voice activity detection.

Made by ``registry.speech_to_text``. The live models have no detection of their own, so every commit is ours. Items may
complete in another order than they were spoken; their texts are given in the spoken order.
"""

import asyncio
import base64
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, cast, final

from openai.resources.realtime.realtime import AsyncRealtimeConnection

from agents.providers.base import (
    L16_24K,
    MULAW_8K,
    AudioFormat,
    Clocks,
    ProviderConfig,
    SpeechToText,
    SttEvent,
    UsageReport,
)
from agents.providers.classify import kind_of_event, make_error
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.notices import notice
from agents.providers.openai_client import OPENAI_ERRORS, openai_client, openai_error
from agents.providers.options import unknown_option
from agents.providers.pools import Pools
from agents.providers.sockets import CLOSE_TIMEOUT_S, MAX_MESSAGE_BYTES, quiet_logger
from agents.providers.stt_session import SttRecord

# The provider answers a commit of less with input_audio_buffer_commit_empty.
MIN_COMMIT_MS = 100
CLOSE_S = 2.0


@final
class OpenAiSpeechToText(SpeechToText):
    """One transcription session (``base.SpeechToText``)."""

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> None:
        self.config = config
        self.input_format = codec if codec == MULAW_8K else L16_24K
        self._clocks = clocks
        self._pools = pools
        self._client = openai_client(config, pools, "stt")
        self._record = SttRecord(config, self.input_format)
        self._items = ItemOrder()
        self._connection: AsyncRealtimeConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None

    async def connect(self) -> None:
        """See ``base.SpeechToText``; returns once the provider has taken the session's settings."""
        watch = Watch(self._clocks, provider=self.config.provider, stage="stt")
        options: dict[str, Any] = {
            "open_timeout": self._clocks.connect,
            "close_timeout": CLOSE_TIMEOUT_S,
            "max_size": MAX_MESSAGE_BYTES,
            "compression": None,
            "logger": quiet_logger,
        }
        if str(self._client.base_url).startswith("https:"):
            options["ssl"] = self._pools.tls
        try:
            self._connection = await self._client.realtime.connect(
                extra_query={"intent": "transcription"}, websocket_connection_options=cast("Any", options)
            ).enter()
            async with watch.within("first"):
                await self._connection.send(cast("Any", {"type": "session.update", "session": self._session()}))
                while (event := await self._receive())["type"] != "session.updated":
                    if event["type"] == "error":
                        raise self._event_error(event)
        except ProviderError as error:
            await self.close()
            raise self._record.failed(error) from None
        except OPENAI_ERRORS as error:
            await self.close()
            raise self._record.failed(openai_error(error, self.config, "stt")) from None
        except BaseException:
            await self.close()
            raise
        self._reader = asyncio.create_task(self._read(), name="openai-stt")

    def _session(self) -> dict[str, Any]:
        options = self.config.options
        transcription: dict[str, Any] = {"model": self.config.model}
        language = self.config.language.split("-")[0].lower()
        # The models of 2026 take several languages and keywords, the older ones a single language and a prompt.
        if self.config.model.startswith(("gpt-live-", "gpt-transcribe")):
            transcription["languages"] = [language]
            if keywords := str(options.get("keywords", "")):
                transcription["keywords"] = [word.strip() for word in keywords.split(",") if word.strip()]
        else:
            transcription["language"] = language
        for name in ("prompt", "delay"):
            if options.get(name):
                transcription[name] = options[name]
        audio: dict[str, Any] = {
            "format": {"type": "audio/pcmu"} if self.input_format == MULAW_8K else {"type": "audio/pcm", "rate": 24000},
            "transcription": transcription,
            "turn_detection": None,
        }
        if options.get("noise_reduction"):
            audio["noise_reduction"] = {"type": options["noise_reduction"]}
        return {"type": "transcription", "audio": {"input": audio}}

    async def send(self, audio: bytes) -> None:
        """See ``base.SpeechToText``."""
        self._record.sent(audio)
        await self._send({"type": "input_audio_buffer.append", "audio": base64.b64encode(audio).decode("ascii")})

    def send_at_once(self, audio: bytes) -> bool:  # noqa: ARG002
        """See ``base.SpeechToText``; the SDK's connection has no such way."""
        return False

    async def commit(self) -> int:
        """See ``base.SpeechToText``; with less than 100 ms since the last commit the answer is empty, at once."""
        if self._record.uncommitted_ms < MIN_COMMIT_MS:
            return self._record.skip_commit()
        number = self._record.next_commit()
        self._items.asked(number)
        await self._send({"type": "input_audio_buffer.commit", "event_id": f"commit_{number}"})
        return number

    async def _send(self, event: dict[str, Any]) -> None:
        if self._connection is None:
            raise make_error(ErrorKind.DROPPED, self.config, "stt", "the session is not open")
        try:
            async with asyncio.timeout(self._clocks.stall):
                await self._connection.send(cast("Any", event))
        except OPENAI_ERRORS as error:
            raise self._record.failed(openai_error(error, self.config, "stt")) from None

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
        self._stop_patience()
        reader, self._reader = self._reader, None
        connection, self._connection = self._connection, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader], timeout=CLOSE_S)
        if connection is not None:
            with contextlib.suppress(TimeoutError, *OPENAI_ERRORS):
                async with asyncio.timeout(CLOSE_S):
                    await connection.close()

    async def check(self) -> str:
        """See ``base.SpeechToText``."""
        if wrong := unknown_option(self.config.provider, "stt", self.config.options):
            raise make_error(ErrorKind.BAD_REQUEST, self.config, "stt", wrong)
        await self.connect()
        await self.close()
        warning = notice(self.config.provider, "stt", self.config.model)
        return f"Connected; {self.config.model} takes live audio." + (f" {warning}" if warning else "")

    async def _receive(self) -> dict[str, Any]:
        if self._connection is None:
            raise make_error(ErrorKind.DROPPED, self.config, "stt", "the session is not open")
        event = json.loads(await self._connection.recv_bytes())
        if not isinstance(event, dict) or not isinstance(event.get("type"), str):
            raise make_error(ErrorKind.GARBAGE, self.config, "stt", "a message without a type")
        return event

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._receive())
        except ProviderError as error:
            self._record.failed(error)
        except OPENAI_ERRORS as error:
            self._record.failed(openai_error(error, self.config, "stt"))

    def _take(self, event: dict[str, Any]) -> None:
        kind, item = event["type"], str(event.get("item_id", ""))
        if kind == "input_audio_buffer.committed":
            self._items.committed(item, str(event.get("previous_item_id") or ""))
        elif kind == "conversation.item.input_audio_transcription.delta":
            self._items.delta(item, str(event.get("delta") or ""))
            self._record.partial(self._items.partial())
        elif kind == "conversation.item.input_audio_transcription.completed":
            self._items.completed(item, str(event.get("transcript") or ""))
        elif kind == "conversation.item.input_audio_transcription.failed":
            # The words recognised so far are better than none; the failure shows in the usage. Where every later item
            # would fail as well, a recogniser that goes on would leave the call deaf.
            self._items.completed(item, None)
            self._give_finals()
            error = self._event_error(event)
            self._record.failed(error, fatal=error.kind in {ErrorKind.OUT_OF_CREDIT, ErrorKind.UNAUTHORISED})
        elif kind == "error":
            self._take_error(event)
        self._give_finals()

    def _give_finals(self) -> None:
        for text, commit in self._items.ready():
            self._record.final(text, commit)
        if not self._items.held_up:
            self._stop_patience()
        elif self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(self._clocks.stall, self._lose_patience)

    def _lose_patience(self) -> None:
        """One item that the provider never completes must not hold back all that was said after it."""
        self._patience = None
        self._items.give_up_first()
        self._give_finals()

    def _stop_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _take_error(self, event: dict[str, Any]) -> None:
        """An error event leaves the session open: only what ends it for us is raised."""
        said = event.get("error")
        fields: dict[str, Any] = said if isinstance(said, dict) else {}
        answers = str(fields.get("event_id") or "")
        error = self._event_error(event)
        empty_commit = fields.get("code") == "input_audio_buffer_commit_empty"
        if empty_commit or answers.startswith("commit_"):
            number = int(answers[7:]) if answers[7:].isdigit() else 0
            self._record.answered("", self._items.refused(number))
            self._record.failed(error, fatal=False)
        else:
            self._record.failed(error, fatal=error.kind is not ErrorKind.BAD_REQUEST)

    def _event_error(self, event: dict[str, Any]) -> ProviderError:
        fields = event.get("error")
        if not isinstance(fields, dict):
            fields = {"message": str(fields)}
        kind = kind_of_event(fields)
        if kind is ErrorKind.BAD_REQUEST and fields.get("param") == "session.audio.input.transcription.model":
            kind = ErrorKind.NOT_FOUND
        return make_error(kind, self.config, "stt", str(fields.get("message", "")))


class ItemOrder:
    """The provider's items in the order in which they were spoken, each with the commit that made it.

    Items are keyed by id and placed by ``previous_item_id``; commits are answered in the order in which they were sent.
    """

    def __init__(self) -> None:
        self._order: list[str] = []
        self._texts: dict[str, str] = {}
        self._commit: dict[str, int] = {}
        self._complete: set[str] = set()
        self._asked: deque[int] = deque()
        self._gone: deque[str] = deque(maxlen=200)

    def asked(self, commit: int) -> None:
        """A commit was sent."""
        self._asked.append(commit)

    def refused(self, commit: int) -> int:
        """A commit made no item (0: the oldest that is open); returns its number, 0 when none is open."""
        if commit not in self._asked:
            return self._asked.popleft() if self._asked and commit == 0 else commit
        self._asked.remove(commit)
        return commit

    def committed(self, item: str, previous: str) -> None:
        """The provider has made ``item`` of a commit, after ``previous`` (empty: the first)."""
        if item in self._commit or item in self._gone:
            return
        self._commit[item] = self._asked.popleft() if self._asked else 0
        if item in self._order:
            self._order.remove(item)
        if previous in self._order:
            self._order.insert(self._order.index(previous) + 1, item)
        elif previous in self._gone:
            self._order.insert(0, item)
        else:
            self._order.append(item)
        self._texts.setdefault(item, "")

    def delta(self, item: str, text: str) -> None:
        """More text of an item, which may not be committed yet."""
        if item in self._gone:
            return
        if item not in self._texts:
            self._order.append(item)
        self._texts[item] = self._texts.get(item, "") + text

    def completed(self, item: str, text: str | None) -> None:
        """An item's text is final; None keeps what its deltas gave."""
        if item in self._gone:
            return
        self.delta(item, "")
        if text is not None:
            self._texts[item] = text
        self._complete.add(item)

    @property
    def held_up(self) -> bool:
        """A complete text waits for an earlier one."""
        return bool(self._complete)

    def give_up_first(self) -> None:
        """Takes the text of the item that holds up the others as it is."""
        if self._order:
            self._commit.setdefault(self._order[0], 0)
            self._complete.add(self._order[0])

    def partial(self) -> str:
        """All text that is not final yet, in spoken order."""
        return " ".join(text for text in (self._texts[item].strip() for item in self._order) if text)

    def ready(self) -> list[tuple[str, int]]:
        """Texts that became final, with their commits, up to the first item that is still being worked on."""
        found = []
        while self._order and self._order[0] in self._complete and self._order[0] in self._commit:
            item = self._order.pop(0)
            self._complete.discard(item)
            self._gone.append(item)
            found.append((self._texts.pop(item).strip(), self._commit.pop(item, 0)))
        return found
