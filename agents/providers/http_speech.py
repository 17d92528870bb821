"""Speech over plain HTTP: one request for each text, in order; the part that is the same for every provider.

``openai_tts`` and ``elevenlabs_http_tts`` say how a text is fetched. An utterance's requests run in one task of its
own, so that a cancellation reaches the provider at once, whoever reads the audio.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import final

from agents.providers.base import AudioFormat, Clocks, ProviderConfig, SpeechChunk, TextToSpeech, UsageReport, Utterance
from agents.providers.classify import make_error
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.feed import Feed, FeedOverflow
from agents.providers.pools import Pools
from agents.providers.speech_text import speakable

# Requests that a turn makes at once: the clause that is heard and the one behind it.
SPARE = 2


class HttpSpeechSession(TextToSpeech, ABC):
    """A speech session without a connection of its own (``base.TextToSpeech``)."""

    #: Exceptions of the provider's SDK that ``classify`` understands; any other is a bug of ours.
    errors: tuple[type[Exception], ...] = ()

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, output_format: AudioFormat) -> None:
        self.config = config
        self.output_format = output_format
        self.clocks = clocks
        self.pools = pools
        self._open: set[HttpUtterance] = set()
        self._closed = False

    @abstractmethod
    def fetch(self, text: str, before: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The audio of ``text``, which follows ``before``; leaving the context drops the request."""

    @abstractmethod
    def classify(self, error: Exception) -> ProviderError:
        """What one of ``errors`` means."""

    @abstractmethod
    async def warm(self) -> None:
        """Opens a spare connection if none is idle; never raises: the first text meets the fault again, and tells."""

    async def connect(self) -> None:
        """See ``base.TextToSpeech``: the first turn finds its connections open."""
        await asyncio.gather(*(self.warm() for _ in range(SPARE)))

    def utterance(self) -> "HttpUtterance":
        """See ``base.TextToSpeech``."""
        utterance = HttpUtterance(self)
        self._open.add(utterance)
        return utterance

    def utterance_over(self, utterance: "HttpUtterance") -> None:
        """An utterance needs no request any more."""
        self._open.discard(utterance)

    def connection_lost(self) -> None:
        """A request left before its end has cost its connection: another is opened ahead of the next turn."""
        if not self._closed:
            self.pools.spawn(self.warm(), name="warm-tts")

    async def close(self) -> None:
        """See ``base.TextToSpeech``."""
        self._closed = True
        await asyncio.gather(*(utterance.cancel() for utterance in list(self._open)))


@final
class HttpUtterance(Utterance):
    """Texts fetched one after the other (``base.Utterance``)."""

    def __init__(self, session: HttpSpeechSession) -> None:
        self._session = session
        self._texts: asyncio.Queue[str | None] = asyncio.Queue()
        self._feed: Feed[SpeechChunk] = Feed()
        self._task: asyncio.Task[None] | None = None
        self._watch: Watch | None = None
        self._finished = False
        self._characters = 0
        self._bytes = 0
        self._total_ms: int | None = None
        self._error = ""

    async def say(self, text: str) -> None:
        """See ``base.Utterance``."""
        if self._finished:
            raise RuntimeError("text after finish()")
        if self._feed.ended or not speakable(text):
            return
        self._characters += len(text)
        self._texts.put_nowait(text)
        if self._task is None:
            self._watch = self._new_watch()
            self._task = asyncio.create_task(self._run(self._watch), name="http-speech")

    async def finish(self) -> None:
        """See ``base.Utterance``."""
        if self._finished:
            return
        self._finished = True
        self._texts.put_nowait(None)
        if self._task is None:
            self._end()

    async def cancel(self) -> None:
        """See ``base.Utterance``."""
        self._feed.clear()
        self._end()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
            self._session.connection_lost()

    async def chunks(self) -> AsyncIterator[SpeechChunk]:
        """See ``base.Utterance``."""
        while not self._feed.drained:
            try:
                chunk = await self._feed.next()
            except FeedOverflow as error:
                await self.cancel()
                raise make_error(ErrorKind.GARBAGE, self._session.config, "tts", str(error)) from None
            if chunk is not None:
                yield chunk

    def usage(self) -> UsageReport:
        """See ``base.Utterance``."""
        config = self._session.config
        running_ms = self._watch.elapsed_ms if self._watch else 0
        return UsageReport(
            stage="tts",
            provider=config.provider,
            model=config.model,
            account_id=config.account_id,
            characters=self._characters,
            audio_ms=self._bytes // self._session.output_format.bytes_per_ms,
            first_ms=self._watch.first_ms if self._watch else None,
            total_ms=running_ms if self._total_ms is None else self._total_ms,
            error=self._error,
        )

    async def _run(self, whole: Watch) -> None:
        before = ""
        try:
            while (text := await self._texts.get()) is not None:
                await self._speak(text, before, whole)
                before = text
        except ProviderError as error:
            self._fail(error)
        except self._session.errors as error:
            self._fail(self._session.classify(error))
        finally:
            self._end()

    async def _speak(self, text: str, before: str, whole: Watch) -> None:
        """Fetches one text under clocks of its own: it may come long after the utterance's first.

        A sample of two bytes may be cut by the end of a piece: an odd byte waits for the next.
        """
        watch = self._new_watch()
        width = 1 if self._session.output_format.encoding == "mulaw" else 2
        odd = b""
        async with AsyncExitStack() as stack:
            async with watch.within("first"):
                pieces = await stack.enter_async_context(self._session.fetch(text, before))
            while True:
                async with watch.within("first" if watch.first_ms is None else "stall"):
                    piece = await anext(pieces, None)
                if piece is None:
                    break
                audio = odd + piece
                cut = len(audio) - len(audio) % width
                audio, odd = audio[:cut], audio[cut:]
                if audio:
                    watch.mark_first()
                    whole.mark_first()
                    self._bytes += cut
                    self._feed.put(SpeechChunk(audio))
        if watch.first_ms is None:
            raise make_error(ErrorKind.GARBAGE, self._session.config, "tts", "the answer held no audio")

    def _new_watch(self) -> Watch:
        return Watch(self._session.clocks, provider=self._session.config.provider, stage="tts")

    def _fail(self, error: ProviderError) -> None:
        self._error = error.kind.value
        self._feed.fail(error)

    def _end(self) -> None:
        if self._total_ms is None:
            self._total_ms = self._watch.elapsed_ms if self._watch else 0
            self._session.utterance_over(self)
        self._feed.end()
