"""Resampling with kept filters: whole sentences for voice and clips, endless streams for the recogniser and calls.

The polyphase filters of a pair of rates are made once per process: computing them anew is too slow for a live call.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
_BLOCK = 16384


@functools.cache
def _filter_bank(up: int, down: int) -> tuple[NDArray[np.float32], int]:
    """Windowed-sinc low-pass: one row of taps for each of the `up` phases, and its half length in samples."""
    cutoff = min(1.0, up / down) * 0.95
    half = math.ceil(16 / cutoff)
    offsets = np.arange(-half + 1, half + 1)
    distance = np.arange(up)[:, None] / up - offsets[None, :]
    window = np.cos(np.pi * distance / (2 * (half + 1))) ** 2
    kernel = cutoff * np.sinc(cutoff * distance) * window
    return (kernel / kernel.sum(axis=1, keepdims=True)).astype(np.float32), half


class Resampler:
    """One stream of int16 samples from `source_hz` to `target_hz`; the output lags by half the filter."""

    def __init__(self, source_hz: int, target_hz: int) -> None:
        common = math.gcd(source_hz, target_hz)
        self._up, self._down = target_hz // common, source_hz // common
        self._same = source_hz == target_hz
        self._bank, self._half = _filter_bank(self._up, self._down)
        self._pending = np.zeros(self._half - 1, np.float32)
        self._first = 0  # index of the input sample that pending[half - 1] holds
        self._produced = 0

    def feed(self, samples: Samples) -> Samples:
        """Return all output that the input so far determines."""
        if self._same:
            return samples
        self._pending = np.concatenate([self._pending, samples.astype(np.float32)])
        last_base = self._first + self._pending.size - 2 * self._half
        count = max(0, ((last_base + 1) * self._up - 1) // self._down + 1 - self._produced)
        if count == 0:
            return np.zeros(0, np.int16)
        steps = np.arange(self._produced, self._produced + count, dtype=np.int64) * self._down
        base, phase = steps // self._up - self._first, steps % self._up
        windows = np.lib.stride_tricks.sliding_window_view(self._pending, 2 * self._half)
        out = np.empty(count, np.float32)
        for start in range(0, count, _BLOCK):
            block = slice(start, start + _BLOCK)
            out[block] = np.einsum("ij,ij->i", windows[base[block]], self._bank[phase[block]])
        self._produced += count
        drop = min(self._produced * self._down // self._up - self._first, self._pending.size)
        self._pending = self._pending[drop:]
        self._first += drop
        return np.clip(np.rint(out), -32768, 32767).astype(np.int16)


def convert_rate(samples: Samples, source_hz: int, target_hz: int) -> Samples:
    """Resample a whole clip; it keeps its length in time."""
    if source_hz == target_hz or samples.size == 0:
        return samples
    resampler = Resampler(source_hz, target_hz)
    count = samples.size * target_hz // source_hz
    padding = np.zeros(2 * resampler._half + source_hz // target_hz + 1, np.int16)
    return resampler.feed(np.concatenate([samples, padding]))[:count]
