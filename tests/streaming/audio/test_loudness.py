"""The agent's loudest moment is found in whatever form its audio has."""

import numpy as np
import pytest

from agents.providers.base import L16_24K, MULAW_8K
from streaming.audio.codecs import samples_to_l16, samples_to_mulaw
from streaming.audio.loudness import loudest_window

pytestmark = pytest.mark.pure


def spoken(rate, *parts):
    """Sines of (ms, dBFS of their power)."""
    waves = []
    for ms, dbfs in parts:
        wave = np.sin(np.arange(ms * rate // 1000) * 2 * np.pi * 500 / rate)
        waves.append(wave * np.sqrt(2) * 10 ** (dbfs / 20) * 32768)
    return np.concatenate(waves).astype(np.int16)


def dbfs(power):
    return 10 * np.log10(power)


def test_the_loudest_32_ms_count_and_not_the_mean():
    samples = spoken(8000, (320, -40), (32, -13), (1000, -60))
    assert dbfs(loudest_window(samples_to_mulaw(samples), MULAW_8K)) == pytest.approx(-13, abs=0.1)


def test_linear_audio_of_another_rate_is_measured_alike():
    samples = spoken(24_000, (64, -30), (32, -16), (64, -30))
    assert dbfs(loudest_window(samples_to_l16(samples) + b"\x01", L16_24K)) == pytest.approx(-16, abs=0.1)


def test_a_click_shorter_than_a_window_counts_with_the_silence_after_it():
    samples = spoken(8000, (8, -12))
    assert dbfs(loudest_window(samples_to_mulaw(samples), MULAW_8K)) == pytest.approx(-18, abs=0.2)


def test_no_audio_has_no_loudness():
    assert loudest_window(b"", MULAW_8K) == 0.0
