"""A machine's beep is heard at its end; voices, keys, the network's tones and noise are none."""

import numpy as np
import pytest

from agents.providers.base import L16_16K, MULAW_8K
from sandbox import audio
from streaming.audio.codecs import samples_to_l16, samples_to_mulaw
from streaming.audio.tones import BeepDetector
from tests.streaming.audio.speech import PROMPTS, on_a_line, prompt

FRAME_MS = 20


def sines(ms, *hz, rate=8000, dbfs=-12.0):
    """Some sines at once."""
    at = np.arange(ms * rate // 1000) * 2 * np.pi / rate
    wave = sum(np.sin(at * each) for each in hz) / len(hz)
    return (wave * 10 ** (dbfs / 20) * 32767).astype(np.int16)


def line(*parts, noise_dbfs=-55.0):
    return on_a_line(np.concatenate(parts), before_ms=600, after_ms=600, noise_dbfs=noise_dbfs)


def beeps(samples):
    """When they ended, ms, on a mu-law line."""
    detector = BeepDetector(MULAW_8K)
    encoded = samples_to_mulaw(samples)
    size = FRAME_MS * 8
    return [(at + size) // 8 for at in range(0, len(encoded), size) if detector.feed(encoded[at : at + size])]


@pytest.mark.parametrize("hz", [440, 620, 850, 1000, 1400, 2000])
@pytest.mark.parametrize("ms", [200, 500, 1000])
def test_a_beep_is_heard_within_70_ms_of_its_end(hz, ms):
    (end,) = beeps(line(sines(ms, hz)))
    assert 0 <= end - (600 + ms) <= 70


def test_a_soft_beep_on_a_noisy_line_is_heard():
    assert len(beeps(line(sines(400, 1000, dbfs=-24), noise_dbfs=-40))) == 1


def test_of_wide_audio_too():
    detector = BeepDetector(L16_16K)
    encoded = samples_to_l16(np.concatenate([sines(500, 1000, rate=16_000), np.zeros(3200, np.int16)]))
    assert sum(detector.feed(encoded[at : at + 640]) for at in range(0, len(encoded), 640)) == 1


@pytest.mark.parametrize("hz", [(697, 1209), (941, 1477), (440, 480), (350, 440), (480, 620)])
def test_keys_and_the_networks_tones_are_no_beeps(hz):
    assert beeps(line(sines(800, *hz))) == []


def test_a_click_and_a_tone_that_does_not_end_are_none():
    assert beeps(line(sines(90, 1000))) == []
    assert beeps(line(sines(6000, 1100))) == []


@pytest.mark.parametrize("name", PROMPTS)
def test_a_human_voice_is_none(name):
    assert beeps(on_a_line(prompt(name))) == []


def test_noise_and_silence_are_none():
    assert beeps(audio.noise(20_000, 8000, level_dbfs=-20.0).astype(np.int16)) == []
    assert beeps(np.zeros(80_000, np.int16)) == []


@pytest.mark.parametrize("hz", [150, 220, 260])
def test_a_hummed_vowel_is_none(hz):
    """Harmonics as a voice has them: each half as strong as the one before."""
    at = np.arange(8000) * 2 * np.pi / 8000
    vowel = sum(np.sin(at * hz * n) / n for n in range(1, 12))
    assert beeps(line((vowel * 6000).astype(np.int16))) == []
