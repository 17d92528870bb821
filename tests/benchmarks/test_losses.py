"""The measuring of losses finds what a length or a count would not."""

import numpy as np
import pytest

from benchmarks.losses import RATE, Span, ended_turns, lost_voice, voiced_ms

pytestmark = pytest.mark.pure

MS = RATE // 1000


def track(*voices: tuple[int, int], length_ms: int = 10_000) -> np.ndarray:
    """Noise as loud as a voice from when to when (ms), silence around it."""
    samples = np.zeros(length_ms * MS, np.int16)
    for start, end in voices:
        samples[start * MS : end * MS] = np.random.default_rng(start).normal(0, 3000, (end - start) * MS)
    return samples


def test_a_whole_recording_has_lost_nothing_wherever_it_begins():
    said = track((1000, 3000), (5000, 6000))
    assert lost_voice(said, said[700 * MS :], offset_ms=700) == []
    assert voiced_ms(said, 5500) == 2500


def test_a_recording_a_little_late_has_lost_nothing():
    said = track((1000, 3000))
    assert lost_voice(said, np.concatenate([np.zeros(137, np.int16), said]), offset_ms=0) == []


def test_a_hole_that_is_silence_is_found_though_the_length_is_right():
    said = track((1000, 3000), (5000, 6000))
    recorded = said.copy()
    recorded[2000 * MS : 2100 * MS] = 0
    assert lost_voice(said, recorded, offset_ms=0) == [2000, 2020, 2040, 2060, 2080]


def test_a_stretch_that_is_missing_altogether_and_an_end_that_is_cut_off_are_found():
    said = track((1000, 1100), (5000, 6000))
    recorded = said.copy()
    recorded[: 2000 * MS] = 0
    assert lost_voice(said, recorded[: 5960 * MS], offset_ms=0) == [*range(1000, 1100, 20), 5960, 5980]


def test_a_turn_has_ended_when_its_answer_begins_and_an_answer_when_its_last_stretch_does():
    lines = [Span(2000, 3000), Span(7000, 8000)]
    voice = [Span(0, 1500), Span(4000, 4800), Span(5200, 6500), Span(9000, 12_000)]
    assert ended_turns(lines, voice, before_ms=3900) == ([], [Span(0, 1500)])
    assert ended_turns(lines, voice, before_ms=5100) == ([lines[0]], [Span(0, 1500)])
    assert ended_turns(lines, voice, before_ms=6500) == ([lines[0]], [Span(0, 1500), Span(4000, 6500)])
    assert ended_turns(lines, voice, before_ms=9000) == (lines, [Span(0, 1500), Span(4000, 6500)])
