"""G.711 against the decision and quantised values of the recommendation, and against a second implementation."""

import numpy as np
import pytest

from sandbox import audio as second
from streaming.audio import codecs

pytestmark = pytest.mark.pure


def decision_values() -> list[int]:
    """x(0)..x(128) of G.711 table 2a, in its 14-bit units."""
    values, step = [0, 1], 2
    while len(values) < 129:
        values.append(values[-1] + step)
        if len(values) % 16 == 1 and len(values) > 2:
            step *= 2
    return values


DECISIONS = decision_values()


def reference_decode(code: int) -> int:
    """Quantised value y(n) = (x(n) + x(n+1)) / 2, for the code's interval n, in 16-bit units."""
    interval = ~code & 0x7F
    magnitude = 0 if interval == 0 else 2 * (DECISIONS[interval] + DECISIONS[interval + 1])
    return magnitude if code & 0x80 else -magnitude


def reference_encode(sample: int) -> int:
    """The code of the interval whose decision values enclose the sample's magnitude."""
    interval = max(n for n in range(128) if 4 * DECISIONS[n] <= abs(sample))
    return (~interval & 0x7F) | (0 if sample < 0 else 0x80)


def test_the_decision_values_are_those_of_the_recommendation() -> None:
    assert [DECISIONS[n] for n in (1, 16, 32, 48, 64, 80, 96, 112, 128)] == [1, 31, 95, 223, 479, 991, 2015, 4063, 8159]


def test_all_256_codes_decode_exactly() -> None:
    decoded = codecs.mulaw_to_samples(bytes(range(256)))
    assert decoded.tolist() == [reference_decode(code) for code in range(256)]
    assert decoded[0x00] == -32124
    assert decoded[0x80] == 32124
    assert decoded[0xFF] == decoded[0x7F] == 0


def test_the_whole_16_bit_range_encodes_exactly() -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    positive = [reference_encode(value) for value in range(32769)]
    expected = [positive[-value] & 0x7F for value in range(-32768, 0)] + positive[:32768]
    assert list(codecs.samples_to_mulaw(samples)) == expected


def test_a_second_implementation_agrees() -> None:
    samples = np.arange(-32768, 32768).astype(np.int16)
    assert codecs.samples_to_mulaw(samples) == second.mulaw_encode(samples)
    assert codecs.mulaw_to_samples(bytes(range(256))).tolist() == second.mulaw_decode(bytes(range(256))).tolist()


def test_a_code_survives_the_way_through_linear() -> None:
    for code in range(256):
        back = codecs.l16_to_mulaw(codecs.mulaw_to_l16(bytes([code])))
        assert back == bytes([code if code != 0x7F else 0xFF]), "only minus zero has no linear value of its own"


def test_floats_are_the_samples_over_32768() -> None:
    audio = bytes(range(256))
    floats = codecs.mulaw_to_float(audio)
    assert floats.dtype == np.float32
    assert (floats * 32768).tolist() == codecs.mulaw_to_samples(audio).tolist()
    assert codecs.l16_to_float(codecs.mulaw_to_l16(audio)).tolist() == floats.tolist()
    assert codecs.l16_to_float(b"\x00\x80").tolist() == [-1.0]


def test_l16_is_little_endian() -> None:
    assert codecs.l16_to_samples(b"\x01\x00\xff\xff").tolist() == [1, -1]
    assert codecs.mulaw_to_l16(b"\x00") == (-32124).to_bytes(2, "little", signed=True)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        codecs.l16_to_mulaw(b"\x00\x01\x02")


def test_no_audio_is_no_audio() -> None:
    assert codecs.mulaw_to_l16(b"") == codecs.l16_to_mulaw(b"") == b""
    assert codecs.mulaw_to_float(b"").size == codecs.l16_to_float(b"").size == 0
