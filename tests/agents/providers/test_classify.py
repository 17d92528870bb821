"""From the vendors' errors to kinds that an operator can act on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import ProviderConfig
from agents.providers.classify import (
    DETAIL_CHARS,
    kind_of_close,
    kind_of_event,
    kind_of_status,
    make_error,
    message_of,
    retry_after,
    scrub,
)
from agents.providers.errors import FACTS, ErrorKind

pytestmark = pytest.mark.pure


def openai_body(code: str | None, kind: str = "invalid_request_error", message: str = "m") -> dict[str, object]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def elevenlabs_body(status: str) -> dict[str, object]:
    return {"detail": {"status": status, "message": "m"}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, openai_body("insufficient_quota", "insufficient_quota"), ErrorKind.OUT_OF_CREDIT),
        (429, openai_body(None, "insufficient_quota"), ErrorKind.OUT_OF_CREDIT),
        (429, openai_body("rate_limit_exceeded", "requests"), ErrorKind.RATE_LIMITED),
        (429, elevenlabs_body("too_many_concurrent_requests"), ErrorKind.RATE_LIMITED),
        (429, elevenlabs_body("system_busy"), ErrorKind.SERVER_ERROR),
        (401, elevenlabs_body("quota_exceeded"), ErrorKind.OUT_OF_CREDIT),
        (401, elevenlabs_body("invalid_api_key"), ErrorKind.UNAUTHORISED),
        (401, openai_body("invalid_api_key"), ErrorKind.UNAUTHORISED),
        (401, elevenlabs_body("missing_permissions"), ErrorKind.FORBIDDEN),
        (403, openai_body(None), ErrorKind.FORBIDDEN),
        (404, openai_body("model_not_found"), ErrorKind.NOT_FOUND),
        (404, elevenlabs_body("voice_not_found"), ErrorKind.NOT_FOUND),
        (404, b"<html>nginx</html>", ErrorKind.GARBAGE),
        (400, openai_body("unknown_parameter"), ErrorKind.BAD_REQUEST),
        (400, elevenlabs_body("max_character_limit_exceeded"), ErrorKind.BAD_REQUEST),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, ErrorKind.BAD_REQUEST),
        (500, b"", ErrorKind.SERVER_ERROR),
        (503, openai_body(None, "server_error"), ErrorKind.SERVER_ERROR),
        (302, b"", ErrorKind.GARBAGE),
        (402, {}, ErrorKind.OUT_OF_CREDIT),
    ],
)
def test_an_http_error_is_classified_by_its_code_before_its_status(status: int, body: object, kind: ErrorKind) -> None:
    assert kind_of_status(status, body) is kind


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (None, "", ErrorKind.DROPPED),
        (1000, "", ErrorKind.DROPPED),
        (1006, "", ErrorKind.DROPPED),
        (1008, "Maximum simultaneous contexts exceeded", ErrorKind.RATE_LIMITED),
        (1008, "input_timeout_exceeded", ErrorKind.DROPPED),
        (1008, "quota_exceeded", ErrorKind.OUT_OF_CREDIT),
        (1008, "Invalid API key", ErrorKind.UNAUTHORISED),
        (1008, "Voice settings cannot be changed", ErrorKind.BAD_REQUEST),
        (1008, "something else", ErrorKind.BAD_REQUEST),
        (1011, "", ErrorKind.SERVER_ERROR),
        (1013, "", ErrorKind.SERVER_ERROR),
        (4999, "", ErrorKind.DROPPED),
    ],
)
def test_a_close_is_classified_by_its_reason_before_its_code(code: int | None, reason: str, kind: ErrorKind) -> None:
    assert kind_of_close(code, reason) is kind


def test_an_error_event_without_a_code_is_read_by_its_words() -> None:
    assert kind_of_event({"message": "You exceeded your current quota", "type": "x"}) is ErrorKind.OUT_OF_CREDIT
    assert kind_of_event({"message": "boom", "type": "server_error", "code": None}) is ErrorKind.SERVER_ERROR
    assert kind_of_event({}) is ErrorKind.SERVER_ERROR


def test_quota_is_not_tried_again_and_busy_is() -> None:
    assert not FACTS[ErrorKind.OUT_OF_CREDIT].retryable
    assert FACTS[ErrorKind.SERVER_ERROR].retryable
    assert FACTS[ErrorKind.RATE_LIMITED].retryable
    assert set(FACTS) == set(ErrorKind)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "no"}}', "no"),
        ({"detail": {"status": "x", "message": "no"}}, "no"),
        ({"detail": "no"}, "no"),
        ({"message": "no"}, "no"),
        ("plain", "plain"),
        (None, ""),
    ],
)
def test_the_providers_own_words_are_found(body: object, message: str) -> None:
    assert message_of(body) == message


def test_a_detail_holds_no_key() -> None:
    config = ProviderConfig(provider="openai", base_url="u", api_key="hunter2-and-more", model="m")
    error = make_error(ErrorKind.UNAUTHORISED, config, "llm", "bad key hunter2-and-more, or sk-proj-abcdef123456")
    assert error.detail == "bad key [key], or [key]"


@given(st.text(max_size=1000), st.text(min_size=6, max_size=40))
def test_scrubbing_leaves_no_key_and_one_short_line(text: str, key: str) -> None:
    cleaned = scrub(text + key + text, key)
    assert len(cleaned) <= DETAIL_CHARS
    assert "\n" not in cleaned
    assert key not in cleaned or key in "[key]"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "1", "Retry-After-Ms": "20"}, 0.02),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_how_long_a_provider_wants_to_be_left_alone_is_read(headers, seconds) -> None:
    assert retry_after(headers) == seconds
