"""One spelling for every number that Plivo may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.telephony.numbers import MAX_LENGTH, normalise

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("raw", "spelled"),
    [
        ("+15551234567", "+15551234567"),
        ("15551234567", "+15551234567"),
        (" 1 555 123 4567", "+15551234567"),
        ("sip:alice@phone.plivo.com", "sip:alice@phone.plivo.com"),
        ("anonymous", "anonymous"),
        ("+1555<19005550100", "+1555<19005550100"),
        ("015551234567", "015551234567"),
        ("12345", "12345"),
        ("1" * 16, "1" * 16),
        ("١٥٥٥١٢٣٤٥٦٧", "١٥٥٥١٢٣٤٥٦٧"),
        ("", ""),
    ],
)
def test_numbers_are_spelled_with_a_plus_and_all_else_is_kept(raw, spelled):
    assert normalise(raw) == spelled


@given(st.text())
def test_the_spelling_is_stable_storable_and_short(raw):
    spelled = normalise(raw)
    assert normalise(spelled) == spelled
    assert len(spelled) <= MAX_LENGTH
    assert "\x00" not in spelled
    spelled.encode()
