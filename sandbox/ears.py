"""The two ways in which the sandbox's recognition sockets hear: a real recogniser, or the texts that a test laid out.

A key ``demo-<scenario>`` gets the first, any other good key the second. Used by elevenlabs/scribe.py,
openai/realtime.py and openai/audio.py.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

from sandbox import provider_wire, recogniser
from sandbox.providers_state import ProvidersState
from sandbox.recogniser import Heard, HeardWord, Listener, SpeechGate

_WORD_MS = 300
_FRAME_MS = 20
_ASKING = frozenset({"can", "could", "do", "does", "how", "is", "what", "when", "where", "who", "why"})
# Two decoders at once on a small machine; a 100 ms piece of audio takes one about 5 ms.
_WORKERS = ThreadPoolExecutor(max_workers=2, thread_name_prefix="recogniser")


class Ear(Protocol):
    """One recognition stream."""

    @property
    def gate(self) -> SpeechGate:
        """Speech and silence since the last commit."""
        ...

    async def feed(self, data: bytes) -> str:
        """Hear audio; the text since the last commit, as far as it is known."""
        ...

    async def commit(self) -> Heard:
        """The final text since the last commit."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


def written(heard: Heard) -> Heard:
    """The words as the services write them: capitals, and a closing mark where the sentence is whole."""
    if not heard.words:
        return heard
    texts = ["I" if word.text == "i" else word.text for word in heard.words]
    texts[0] = texts[0][:1].upper() + texts[0][1:]
    if heard.whole:
        texts[-1] += "?" if heard.words[0].text in _ASKING else "."
    words = tuple(replace(word, text=text) for word, text in zip(heard.words, texts, strict=True))
    return replace(heard, text=" ".join(texts), words=words)


class DecodingEar:
    """Hears with pocketsphinx, in a worker thread."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    @property
    def gate(self) -> SpeechGate:
        """See Ear."""
        return self._listener.gate

    async def feed(self, data: bytes) -> str:
        """See Ear."""
        return await asyncio.get_running_loop().run_in_executor(_WORKERS, self._feed, data)

    def _feed(self, data: bytes) -> str:
        self._listener.feed(data)
        return self._listener.partial()

    async def commit(self) -> Heard:
        """See Ear."""
        return written(await asyncio.get_running_loop().run_in_executor(_WORKERS, self._listener.commit))

    async def close(self) -> None:
        """See Ear."""
        await asyncio.get_running_loop().run_in_executor(_WORKERS, self._listener.close)


class ScriptedEar:
    """Answers commits with the texts of the control API; words appear as speech goes on."""

    def __init__(self, state: ProvidersState, encoding: str, rate: int) -> None:
        self._scripts = state.scripts
        self._read, self._resampler = recogniser.decoder_of(encoding, rate)
        self._sample_bytes = 2 if encoding == "l16" else 1
        self.gate = SpeechGate()

    def _next(self) -> str:
        return self._scripts.transcripts[0] if self._scripts.transcripts else self._scripts.default_transcript

    async def feed(self, data: bytes) -> str:
        """See Ear."""
        data = data[: len(data) - len(data) % self._sample_bytes]
        for _ in self.gate.feed(self._resampler.feed(self._read(data))):
            pass
        return " ".join(self._next().split()[: self.gate.speech_frames * _FRAME_MS // _WORD_MS])

    async def commit(self) -> Heard:
        """See Ear."""
        text = self._next()
        if self._scripts.transcripts:
            self._scripts.transcripts.popleft()
        self.gate.reset()
        words = text.split()
        step = _WORD_MS / 1000
        timed = tuple(HeardWord(word, index * step, (index + 1) * step, 0.9) for index, word in enumerate(words))
        return Heard(text, timed, 0.9)

    async def close(self) -> None:
        """See Ear."""


async def open_ear(state: ProvidersState, key: str, *, encoding: str, rate: int) -> Ear:
    """An ear for audio in "mulaw", "alaw" or "l16" at `rate` Hz, as the key asks for."""
    scenario = provider_wire.scenario_of(key)
    if scenario is None:
        return ScriptedEar(state, encoding, rate)
    loop = asyncio.get_running_loop()
    return DecodingEar(await loop.run_in_executor(_WORKERS, lambda: Listener(scenario, encoding=encoding, rate=rate)))
