"""Conversion of a stream of audio from one codec and rate to another: provider formats to the line's, and back.

One ``Converter`` for each direction and stretch of speech; a pass-through costs nothing.
"""

from typing import Any

import numpy as np
import soxr

from agents.providers.base import AudioFormat
from streaming.audio import codecs


class Converter:
    """Converts audio as it comes, in pieces of any length, even if they split a sample.

    The filter holds back up to 45 ms until more audio or ``flush`` comes; nothing is lost and nothing added: the
    output is as long as the input, to a sample.
    """

    def __init__(self, source: AudioFormat, target: AudioFormat) -> None:
        self.source, self.target = source, target
        self._carry = b""
        self._filter: Any = None
        if source.rate != target.rate:
            self._filter = soxr.ResampleStream(source.rate, target.rate, 1, dtype="float32", quality="HQ")

    def convert(self, audio: bytes) -> bytes:
        """Audio in ``source`` to as much in ``target`` as is ready."""
        if self.source == self.target:
            return audio
        if self.source.encoding == "l16":
            audio = self._carry + audio
            whole = len(audio) & ~1
            audio, self._carry = audio[:whole], audio[whole:]
        return self._encode(self._resample(self._decode(audio), last=False))

    def flush(self) -> bytes:
        """The rest of what was held back; the converter is then as new. Half a sample left over is dropped."""
        self._carry = b""
        if self._filter is None:
            return b""
        rest = self._encode(self._resample(np.zeros(0, np.int16), last=True))
        self._filter.clear()
        return rest

    def _decode(self, audio: bytes) -> codecs.Samples:
        return codecs.mulaw_to_samples(audio) if self.source.encoding == "mulaw" else codecs.l16_to_samples(audio)

    def _encode(self, samples: codecs.Samples) -> bytes:
        if self.target.encoding == "mulaw":
            return codecs.samples_to_mulaw(samples)
        return codecs.samples_to_l16(samples)

    def _resample(self, samples: codecs.Samples, *, last: bool) -> codecs.Samples:
        if self._filter is None:
            return samples
        # soxr's own int16 output is dithered with noise that differs from run to run
        resampled: codecs.Floats = self._filter.resample_chunk(samples.astype(np.float32), last=last)
        return np.clip(np.rint(resampled), -32768, 32767).astype(np.int16)


def convert(audio: bytes, source: AudioFormat, target: AudioFormat) -> bytes:
    """A whole clip at once."""
    converter = Converter(source, target)
    return converter.convert(audio) + converter.flush()
