"""Audio arithmetic for every part of the sandbox: G.711, WAV files, tones, energy.

Samples are numpy int16 arrays, mono unless said otherwise. Own code, not a library, because the sandbox is its own
process with few dependencies; none of this is Parley's audio code, so the two check each other.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

MULAW_SILENCE = 0xFF
_BIAS = 132
_CLIP = 32635


def _decode_table() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((code & 0x0F) << 3) + _BIAS) << ((code >> 4) & 0x07)
    linear = magnitude - _BIAS
    return np.where(code & 0x80, -linear, linear).astype(np.int16)


def _encode_table() -> NDArray[np.uint8]:
    linear = np.arange(-32768, 32768, dtype=np.int32)
    sign = np.where(linear < 0, 0x80, 0)
    biased = np.minimum(np.abs(linear), _CLIP) + _BIAS
    exponent = np.floor(np.log2(biased)).astype(np.int32) - 7
    mantissa = (biased >> (exponent + 3)) & 0x0F
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8)


_DECODE = _decode_table()
_ENCODE = _encode_table()


def mulaw_decode(data: bytes) -> Samples:
    """G.711 mu-law bytes to linear int16 samples, one sample per byte."""
    return _DECODE[np.frombuffer(data, dtype=np.uint8)]


def mulaw_encode(samples: Samples) -> bytes:
    """Linear int16 samples to G.711 mu-law bytes, one byte per sample."""
    return _ENCODE[samples.astype(np.int32) + 32768].tobytes()


def l16_decode(data: bytes) -> Samples:
    """Little-endian 16-bit PCM to samples. Raises ValueError on an odd number of bytes."""
    return np.frombuffer(data, dtype="<i2").astype(np.int16)


def l16_encode(samples: Samples) -> bytes:
    """Samples to little-endian 16-bit PCM."""
    return samples.astype("<i2").tobytes()


def read_wav(source: Path | bytes) -> tuple[Samples, int]:
    """Return (samples, rate in Hz) of a mono 16-bit WAV; stereo comes back as an (n, 2) array.

    Raises ValueError when it is not 16-bit PCM.
    """
    raw = source if isinstance(source, bytes) else source.read_bytes()
    with wave.open(io.BytesIO(raw)) as reader:
        if reader.getsampwidth() != 2:
            message = f"16-bit PCM expected, got {8 * reader.getsampwidth()} bits"
            raise ValueError(message)
        samples = l16_decode(reader.readframes(reader.getnframes()))
        channels = reader.getnchannels()
        return (samples.reshape(-1, channels) if channels > 1 else samples), reader.getframerate()


def wav_bytes(samples: Samples, rate: int) -> bytes:
    """A WAV file of mono (n,) or stereo (n, 2) int16 samples at `rate` Hz."""
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(l16_encode(samples))
    return out.getvalue()


def rms(samples: Samples) -> float:
    """Root mean square of the samples, 0 to 32768; 0.0 for none."""
    if samples.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))


def tone(hz: float, milliseconds: float, rate: int, *, peak: int = 12000) -> Samples:
    """A sine tone, with 5 ms ramps at both ends so that it does not click."""
    count = round(rate * milliseconds / 1000)
    wave_ = peak * np.sin(2 * np.pi * hz * np.arange(count) / rate)
    ramp = min(count // 2, max(1, rate // 200))
    wave_[:ramp] *= np.linspace(0, 1, ramp)
    wave_[count - ramp :] *= np.linspace(1, 0, ramp)
    return wave_.astype(np.int16)


def noise(milliseconds: float, rate: int, *, level_dbfs: float = -50.0, seed: int = 1) -> Samples:
    """White noise of a given level (dB relative to full scale, RMS), the same for the same seed."""
    count = round(rate * milliseconds / 1000)
    scale = 32768 * 10 ** (level_dbfs / 20)
    values = np.random.default_rng(seed).normal(0.0, scale, count)
    return np.clip(values, -32768, 32767).astype(np.int16)


def trim(samples: Samples, rate: int, *, threshold: int = 250, keep_ms: int = 10) -> Samples:
    """Cut leading and trailing quiet (below `threshold` RMS per 10 ms), leaving `keep_ms` at each end."""
    step = rate // 100
    loud = [index for index in range(0, samples.size, step) if rms(samples[index : index + step]) >= threshold]
    if not loud:
        return samples[:0]
    keep = rate * keep_ms // 1000
    return samples[max(0, loud[0] - keep) : loud[-1] + step + keep]
