"""Conversions: lengths, tones, split samples, pieces against the whole."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.providers.base import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat
from streaming.audio import codecs
from streaming.audio.resample import Converter, convert

pytestmark = pytest.mark.pure

FORMATS = [MULAW_8K, L16_8K, L16_16K, L16_24K]


def tone(fmt: AudioFormat, ms: int, hz: float = 440.0, peak: int = 12000) -> bytes:
    samples = (peak * np.sin(2 * np.pi * hz * np.arange(fmt.rate * ms // 1000) / fmt.rate)).astype(np.int16)
    return codecs.samples_to_mulaw(samples) if fmt.encoding == "mulaw" else codecs.samples_to_l16(samples)


def samples_of(audio: bytes, fmt: AudioFormat) -> np.ndarray:
    return codecs.mulaw_to_samples(audio) if fmt.encoding == "mulaw" else codecs.l16_to_samples(audio)


def in_pieces(audio: bytes, sizes: list[int], source: AudioFormat, target: AudioFormat) -> bytes:
    converter, out, at = Converter(source, target), b"", 0
    for size in sizes:
        out += converter.convert(audio[at : at + size])
        at += size
    return out + converter.convert(audio[at:]) + converter.flush()


def test_the_same_format_passes_through_untouched() -> None:
    audio = tone(MULAW_8K, 20)
    converter = Converter(MULAW_8K, MULAW_8K)
    assert converter.convert(audio) is audio
    assert converter.flush() == b""


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_every_conversion_keeps_the_length_and_the_tone(source: AudioFormat, target: AudioFormat) -> None:
    out = samples_of(convert(tone(source, 500), source, target), target).astype(float)
    assert abs(out.size - target.rate // 2) <= 1
    expected = samples_of(tone(target, 500), target).astype(float)[: out.size]
    inner = slice(target.rate // 20, -target.rate // 20)
    error = np.sqrt(np.mean((out[: expected.size][inner] - expected[inner]) ** 2))
    assert error < 400, "mu-law's own noise at this level is about 200"


def test_what_the_line_cannot_carry_is_filtered_out_not_folded_back() -> None:
    out = samples_of(convert(tone(L16_24K, 500, hz=6000.0), L16_24K, L16_8K), L16_8K)
    assert np.abs(out[400:-400]).max() < 30


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(0, 999), max_size=30),
    source=st.sampled_from(FORMATS),
    target=st.sampled_from(FORMATS),
)
def test_pieces_of_any_size_give_the_same_as_the_whole(
    sizes: list[int], source: AudioFormat, target: AudioFormat
) -> None:
    audio = tone(source, 300)
    pieces = samples_of(in_pieces(audio, sizes, source, target), target).astype(int)
    whole = samples_of(convert(audio, source, target), target).astype(int)
    assert pieces.size == whole.size
    one_code = 512 if target.encoding == "mulaw" else 1  # two neighbours of mu-law at this level
    assert np.abs(pieces - whole).max(initial=0) <= one_code


def test_a_converter_can_be_used_again_after_a_flush() -> None:
    converter = Converter(L16_24K, MULAW_8K)
    first = converter.convert(tone(L16_24K, 200)) + converter.flush()
    again = converter.convert(tone(L16_24K, 200)) + converter.flush()
    assert first == again


def test_half_a_sample_at_the_end_does_not_shift_what_comes_after() -> None:
    converter = Converter(L16_8K, MULAW_8K)
    assert len(converter.convert(b"\x01\x02\x03")) == 1
    converter.flush()
    assert converter.convert(b"\x00\x00") == b"\xff"
