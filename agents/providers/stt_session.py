"""What both speech-to-text adapters keep of a session: the feed of texts, the audio not yet confirmed, the account.

``openai_stt`` and ``elevenlabs_stt`` own one ``SttRecord`` each and tell it what they send and hear.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from agents.providers.base import AudioFormat, Final, Partial, ProviderConfig, SttEvent, UsageReport
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.feed import Feed, FeedOverflow

# A clause of 6 s, the 2.5 s of silence after which a session counts as stalled, and the time to see to it: 96 KB a call
# in mu-law, 576 KB at 24 kHz.
RING_MS = 12_000


class AudioRing:
    """The last ``keep_ms`` of audio, in the pieces in which it was sent."""

    def __init__(self, fmt: AudioFormat, *, keep_ms: int = RING_MS) -> None:
        self._limit = fmt.bytes_per_ms * keep_ms
        self._pieces: deque[bytes] = deque()
        self._size = 0

    def add(self, audio: bytes) -> None:
        """Appends a piece; the oldest pieces go when there is too much."""
        self._pieces.append(audio)
        self._size += len(audio)
        while self._size > self._limit and len(self._pieces) > 1:
            self._size -= len(self._pieces.popleft())

    def keep_last(self, size: int) -> None:
        """Forgets all but the last ``size`` bytes, rounded up to whole pieces."""
        while self._pieces and self._size - len(self._pieces[0]) >= size:
            self._size -= len(self._pieces.popleft())

    def audio(self) -> bytes:
        """All that is kept, in order."""
        return b"".join(self._pieces)


class SttRecord:
    """Commits, texts and sums of one recognition session."""

    def __init__(self, config: ProviderConfig, fmt: AudioFormat) -> None:
        self.config = config
        self.feed: Feed[SttEvent] = Feed()
        self._fmt = fmt
        self._ring = AudioRing(fmt)
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._sent_from: float | None = None
        self._first_ms: int | None = None
        self._ended_ms: int | None = None
        self._bytes = 0
        self._commits = 0
        self._marks: dict[int, int] = {}
        self._committed_bytes = 0
        self._error = ""

    @property
    def uncommitted_ms(self) -> int:
        """Audio sent since the last commit that went to the provider, in ms."""
        return (self._bytes - self._committed_bytes) // self._fmt.bytes_per_ms

    def sent(self, audio: bytes) -> None:
        """Notes audio that goes to the provider."""
        if self._sent_from is None:
            self._sent_from = self._loop.time()
        self._bytes += len(audio)
        self._ring.add(audio)

    def next_commit(self) -> int:
        """A number for a commit that goes to the provider now."""
        self._commits += 1
        self._marks[self._commits] = self._bytes
        self._committed_bytes = self._bytes
        return self._commits

    def skip_commit(self) -> int:
        """A number for a commit that the provider would refuse: nothing was said; the audio waits for the next."""
        self._commits += 1
        self.feed.put(Final("", self._commits))
        return self._commits

    def heard(self) -> None:
        """Notes that the provider said something of the audio."""
        if self._first_ms is None and self._sent_from is not None:
            self._first_ms = round((self._loop.time() - self._sent_from) * 1000)

    def partial(self, text: str) -> None:
        """Gives a partial to the reader; one still unread is replaced."""
        self.heard()
        self.feed.put(Partial(text), replaces=Partial)

    def final(self, text: str, commit: int) -> None:
        """Gives a final to the reader; the audio that it answers need not be sent again."""
        self.heard()
        mark = self._marks.pop(commit, None)
        if mark is not None:
            self._ring.keep_last(self._bytes - mark)
        self.feed.put(Final(text, commit))

    def answered(self, text: str, commit: int) -> None:
        """Gives a final for a commit that the provider refused: its audio is not recognised yet."""
        self._marks.pop(commit, None)
        self.feed.put(Final(text, commit))

    def failed(self, error: ProviderError, *, fatal: bool = True) -> ProviderError:
        """Notes a failure for the account and, if ``fatal``, raises it at the reader."""
        self._error = error.kind.value
        if fatal:
            self.feed.fail(error)
        return error

    def ended(self) -> None:
        """The session is over: the reader comes to its end, the audio is let go."""
        self._ring.keep_last(0)
        if self._ended_ms is None:
            self._ended_ms = round((self._loop.time() - self._started) * 1000)
        self.feed.end()

    def unconfirmed(self) -> bytes:
        """See ``base.SpeechToText``."""
        return self._ring.audio()

    async def events(self) -> AsyncIterator[SttEvent]:
        """See ``base.SpeechToText``."""
        while not self.feed.drained:
            try:
                event = await self.feed.next()
            except FeedOverflow as error:
                raise make_error(ErrorKind.GARBAGE, self.config, "stt", str(error)) from None
            if event is not None:
                yield event

    def usage(self) -> UsageReport:
        """See ``base.SpeechToText``."""
        now_ms = round((self._loop.time() - self._started) * 1000)
        return UsageReport(
            stage="stt",
            provider=self.config.provider,
            model=self.config.model,
            account_id=self.config.account_id,
            audio_ms=self._bytes // self._fmt.bytes_per_ms,
            first_ms=self._first_ms,
            total_ms=now_ms if self._ended_ms is None else self._ended_ms,
            error=self._error,
        )
