import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.extraction import TYPES, checked, format_lines, from_json, json_schema, parse_lines
from agents.spec import ExtractionField

pytestmark = pytest.mark.pure

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
PLAIN = st.from_regex(r"[A-Za-z]([A-Za-z ]{0,20}[A-Za-z])?", fullmatch=True)
FIELDS = st.lists(
    st.one_of(
        st.builds(
            ExtractionField,
            name=NAMES,
            type=st.sampled_from(["text", "number", "boolean", "date"]),
            description=st.one_of(st.just(""), PLAIN),
        ),
        st.builds(
            ExtractionField,
            name=NAMES,
            type=st.just("choice"),
            description=PLAIN,
            choices=st.lists(PLAIN, min_size=2, max_size=4, unique=True).map(tuple),
        ),
    ),
    max_size=6,
    unique_by=lambda field: field.name,
).map(tuple)
ALL = parse_lines("a | text\nb | number\nc | boolean\nd | date\ne | choice: yes, no | really")


@given(FIELDS)
def test_fields_survive_being_written_as_lines(fields):
    assert parse_lines(format_lines(fields)) == fields


@given(st.text())
def test_any_lines_give_fields_or_a_clear_refusal(text):
    try:
        fields = parse_lines(text)
    except ValueError:
        return
    assert all(field.type in TYPES for field in fields)


def test_the_schema_is_strict_and_every_field_nullable():
    schema = json_schema(ALL)
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["a", "b", "c", "d", "e"]
    assert [schema["properties"][name]["type"] for name in "abcde"] == [
        ["string", "null"],
        ["number", "null"],
        ["boolean", "null"],
        ["string", "null"],
        ["string", "null"],
    ]
    assert schema["properties"]["e"]["enum"] == ["yes", "no", None]
    assert "YYYY-MM-DD" in schema["properties"]["d"]["description"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Reason | text", "no field name"),
        ("reason | txt", "Line 1: “txt” is no type"),
        ("reason\nreason", "there twice"),
        ("mood | choice: good | x", "at least two choices"),
        ("mood | text: a, b | x", "type must be choice"),
        ("\n".join(f"f{n}" for n in range(31)), "At most 30"),
    ],
)
def test_a_wrong_line_is_refused_with_its_reason(text, words):
    with pytest.raises(ValueError, match=words):
        parse_lines(text)


@pytest.mark.parametrize("raw", ["x", [1], [{"name": "a"}], [{"name": "a", "type": "blob"}], [{"type": "text"}], {}])
def test_malformed_stored_fields_are_refused(raw):
    if raw == {}:
        assert from_json([]) == ()
        return
    with pytest.raises(ValueError, match="not well-formed"):
        from_json(raw)


def test_what_the_model_returned_is_kept_only_where_it_fits():
    good = {"a": " hi ", "b": 2.5, "c": False, "d": "2026-03-01", "e": "yes", "extra": "dropped"}
    assert checked(good, ALL) == {"a": "hi", "b": 2.5, "c": False, "d": "2026-03-01", "e": "yes"}
    bad = {"a": ["x"], "b": True, "c": "yes", "d": "1st of March", "e": "maybe"}
    assert checked(bad, ALL) == dict.fromkeys("abcde")
    assert checked({"b": math.nan, "a": "x\x00y"}, ALL)["b"] is None
    assert checked({}, ALL) == dict.fromkeys("abcde")
