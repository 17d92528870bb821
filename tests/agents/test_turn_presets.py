import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.spec import TurnTaking
from agents.turn_presets import NUMBERS, PRESETS, nearest, turn_taking

pytestmark = pytest.mark.pure


def test_balanced_is_the_design_s_own_set_of_numbers():
    assert turn_taking("balanced", {}) == TurnTaking()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_passes_its_own_limits(preset):
    assert turn_taking(preset, {name: getattr(PRESETS[preset], name) for name in NUMBERS}) == PRESETS[preset]


def test_every_number_of_turn_taking_can_be_set():
    assert set(NUMBERS) == set(TurnTaking.__struct_fields__)


def test_quick_waits_less_than_balanced_and_balanced_less_than_relaxed():
    for name in ("min_wait_ms", "max_wait_ms", "patience_ms", "interrupt_min_ms"):
        quick, balanced, relaxed = (getattr(PRESETS[preset], name) for preset in ("quick", "balanced", "relaxed"))
        assert quick < balanced < relaxed


@pytest.mark.parametrize(
    ("preset", "overrides", "words"),
    [
        ("hasty", {}, "Unknown turn-taking preset"),
        ("quick", {"waits": 3}, "Unknown turn-taking number"),
        ("quick", {"max_wait_ms": "soon"}, "must be a number"),
        ("quick", {"max_wait_ms": True}, "must be a number"),
        ("quick", {"max_wait_ms": float("nan")}, "between"),
        ("quick", {"max_wait_ms": 90_000}, "between 400 and 8000"),
        ("quick", {"max_wait_ms": 900.5}, "whole number"),
        ("quick", {"max_wait_ms": 500, "min_wait_ms": 900}, "shorter than the shortest"),
        ("quick", {"speculate_ms": 700}, "longer than the pause"),
    ],
)
def test_a_bad_setting_is_refused_in_a_clear_sentence(preset, overrides, words):
    with pytest.raises(ValueError, match=words):
        turn_taking(preset, overrides)


def test_all_problems_are_told_at_once():
    with pytest.raises(ValueError, match=r"Longest wait.*Unknown turn-taking number"):
        turn_taking("quick", {"max_wait_ms": 0, "x": 1})


@given(st.sampled_from(list(PRESETS)), st.fixed_dictionaries({}, optional={"patience_ms": st.integers(0, 6000)}))
def test_the_preset_and_overrides_are_found_again_from_the_numbers(preset, overrides):
    numbers = turn_taking(preset, overrides)
    found, differing = nearest(numbers)
    assert turn_taking(found, differing) == numbers
    assert found == preset
    assert msgspec.json.decode(msgspec.json.encode(numbers), type=TurnTaking) == numbers
