"""Fixed texts kept as audio: greeting, reprompts, goodbye, apology; so that they need no provider and no time.

Files lie under ``PHRASES_DIR``, keyed by everything that decides how they sound. The speaker looks phrases up and
hands in new ones; ``prepare`` fills the cache ahead of the first call.
"""

import contextlib
import hashlib
import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import structlog

from agents.providers.base import AudioFormat, Clocks, ProviderConfig, TextToSpeech, UsageReport, WordTiming
from streaming.spoken.form import spoken_form
from streaming.threads import Overloaded, Worker
from streaming.voice import speakable, synthesise

log = structlog.get_logger(__name__)

MEMORY_BYTES = 32 * 1024 * 1024
MAX_FILES = 5000  # greetings with variables make a file per caller
PRUNE_EVERY = 200
READ_S = 0.5  # a disk that takes longer loses to the provider
WRITE_S = 10.0
_SUFFIX = ".phrase"


class Phrase(msgspec.Struct, frozen=True):
    """One text as audio in a stream's format, with the timings of its words where the voice gave them."""

    audio: bytes
    words: tuple[WordTiming, ...] = ()


def phrase_key(text: str, *, config: ProviderConfig, fmt: AudioFormat) -> str:
    """SHA-256 (hex) of everything that decides how the text sounds; the account's key is no part of it."""
    parts = (
        spoken_form(text, config.language).text,
        config.provider,
        config.base_url,
        config.model,
        config.language,
        config.voice_id,
        sorted(config.voice_settings.items()),
        sorted(config.options.items()),
        fmt,
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class PhraseCache:
    """Phrases in memory (least recently used go first) over files.

    Args:
        folder: made when missing.
        worker: the thread that reads and writes the files.
    """

    def __init__(self, *, folder: Path, worker: Worker) -> None:
        self._folder = folder
        self._worker = worker
        self._memory: OrderedDict[str, Phrase] = OrderedDict()
        self._size = 0
        self._stored = 0

    def peek(self, key: str) -> Phrase | None:
        """The phrase, if it is in memory."""
        phrase = self._memory.get(key)
        if phrase is not None:
            self._memory.move_to_end(key)
        return phrase

    async def get(self, key: str) -> Phrase | None:
        """The phrase from memory or its file; None when there is none, or none that can be read in time."""
        if (phrase := self.peek(key)) is not None:
            return phrase
        try:
            phrase = await self._worker.run(READ_S, self.read, key)
        except (TimeoutError, OSError, Overloaded) as error:
            log.warning("phrase_not_read", error=type(error).__name__)
            return None
        if phrase is not None:
            self._remember(key, phrase)
        return phrase

    def read(self, key: str) -> Phrase | None:
        """Reads the file (blocking); a damaged one counts as missing. Raises OSError."""
        path = self._folder / (key + _SUFFIX)
        try:
            phrase = msgspec.msgpack.decode(path.read_bytes(), type=Phrase)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            log.warning("phrase_damaged")
            return None
        os.utime(path)  # the files that nobody asks for are pruned first
        return phrase

    async def put(self, key: str, phrase: Phrase) -> None:
        """Keeps a phrase, in memory at once and in its file; a failure of the disk is logged."""
        self._remember(key, phrase)
        try:
            await self._worker.run(WRITE_S, self._write, key, phrase)
        except (TimeoutError, OSError, Overloaded) as error:
            log.warning("phrase_not_written", error=type(error).__name__)

    def _remember(self, key: str, phrase: Phrase) -> None:
        if key in self._memory or len(phrase.audio) > MEMORY_BYTES // 8:
            return
        self._memory[key] = phrase
        self._size += len(phrase.audio)
        while self._size > MEMORY_BYTES:
            _, oldest = self._memory.popitem(last=False)
            self._size -= len(oldest.audio)

    def _write(self, key: str, phrase: Phrase) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._folder / f"{uuid.uuid4().hex}.part"
        unfinished.write_bytes(msgspec.msgpack.encode(phrase))
        unfinished.replace(self._folder / (key + _SUFFIX))
        self._stored += 1
        if (self._stored - 1) % PRUNE_EVERY == 0:
            self._prune()

    def _prune(self) -> None:
        files = list(self._folder.glob("*" + _SUFFIX))
        if len(files) <= MAX_FILES:
            return
        for path in sorted(files, key=_age)[: len(files) - MAX_FILES]:
            path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):  # another process prunes too
        return path.stat().st_mtime
    return 0.0


async def prepare(
    texts: Iterable[str],
    *,
    make: Callable[[], TextToSpeech],
    config: ProviderConfig,
    fmt: AudioFormat,
    clocks: Clocks,
    cache: PhraseCache,
    account: Callable[[UsageReport], None],
) -> int:
    """Speaks and keeps those texts that are not kept yet; returns how many were new.

    Args:
        make: gives the synthesis session of ``config``; called only if something is missing.

    Raises:
        ProviderError: the voice failed; what was spoken before is kept.
    """
    wanted = [text for text in dict.fromkeys(texts) if speakable(text)]
    missing = [text for text in wanted if await cache.get(phrase_key(text, config=config, fmt=fmt)) is None]
    if not missing:
        return 0
    tts = make()
    try:
        await tts.connect()
        for text in missing:
            chunks = [chunk async for chunk in synthesise(tts, text, fmt=fmt, clocks=clocks, account=account)]
            phrase = Phrase(
                b"".join(chunk.audio for chunk in chunks), tuple(word for chunk in chunks for word in chunk.words)
            )
            if phrase.audio:
                await cache.put(phrase_key(text, config=config, fmt=fmt), phrase)
    finally:
        await tts.close()
    return len(missing)
