"""Listening to a recording: permission, byte ranges, and what is left on the timeline."""

import io
import wave

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from calls.models import Call, CallEvent, Recording
from calls.recording_views import ONE_LISTENING, UnsatisfiableRangeError, parse_range
from tests import factories


def wav(seconds: float = 0.5) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((2, 2, 8000, 0, "NONE", ""))
        out.writeframes(bytes(range(256)) * int(seconds * 8000 * 4 / 256))
    return file.getvalue()


@pytest.fixture
def recording(db):
    call = Call.objects.create(direction="inbound", status="ended")
    body = wav()
    made = Recording.objects.create(call=call, source="parley", status="ready", size=len(body))
    made.file.save("a.wav", ContentFile(body))
    return made


@pytest.fixture
def listener(db):
    client = Client()
    client.force_login(factories.UserFactory(permissions=["calls.listen_call"]))
    return client


def address(recording: Recording) -> str:
    return f"/recordings/{recording.pk}/"


def body_of(response) -> bytes:
    return b"".join(response.streaming_content)


@pytest.mark.db
def test_the_whole_file_comes_with_private_headers(listener, recording):
    response = listener.get(address(recording))
    assert response.status_code == 200
    assert body_of(response) == wav()
    assert response["Content-Type"] == "audio/wav"
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Accept-Ranges"] == "bytes"


@pytest.mark.db
def test_a_part_of_the_file_comes_as_206(listener, recording):
    response = listener.get(address(recording), headers={"range": "bytes=10-19"})
    assert response.status_code == 206
    assert body_of(response) == wav()[10:20]
    assert response["Content-Range"] == f"bytes 10-19/{len(wav())}"
    assert response["Content-Length"] == "10"


@pytest.mark.db
def test_a_range_behind_the_end_is_416(listener, recording):
    response = listener.get(address(recording), headers={"range": f"bytes={len(wav())}-"})
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(wav())}"


@pytest.mark.db
def test_a_stranger_is_sent_to_the_login_and_colleagues_without_the_permission_are_refused(recording):
    assert Client().get(address(recording)).status_code == 302
    colleague = Client()
    colleague.force_login(factories.UserFactory(permissions=["calls.view_call"]))
    assert colleague.get(address(recording)).status_code == 403
    assert not CallEvent.objects.exists()


def heard(client, recording, header="", **query) -> None:
    body_of(client.get(address(recording), query, headers={"range": header} if header else {}))


def told() -> list[str]:
    return [event.kind for event in CallEvent.objects.all()]


@pytest.mark.db
def test_a_play_and_a_download_are_on_the_timeline_but_not_every_range_of_them(listener, recording):
    for header in ("bytes=0-99", "bytes=100-199", "bytes=0-"):
        heard(listener, recording, header)
    heard(listener, recording, download="1")
    assert told() == ["recording_played", "recording_downloaded"]


@pytest.mark.db
def test_a_play_that_begins_anywhere_is_on_the_timeline(listener, recording):
    heard(listener, recording, "bytes=100-")
    assert told() == ["recording_played"]


@pytest.mark.db
def test_who_only_asks_how_long_it_is_has_not_played_it(listener, recording):
    assert listener.head(address(recording)).status_code == 200
    listener.get(address(recording), headers={"range": "bytes=9999999-"})
    assert told() == []


@pytest.mark.db
def test_another_listener_and_another_day_are_other_plays(listener, recording):
    heard(listener, recording)
    colleague = Client()
    colleague.force_login(factories.UserFactory(permissions=["calls.listen_call"]))
    heard(colleague, recording)
    heard(listener, recording)
    assert told() == ["recording_played"] * 2
    CallEvent.objects.update(at=timezone.now() - ONE_LISTENING)
    heard(listener, recording, "bytes=100-")
    assert told() == ["recording_played"] * 3


@pytest.mark.db
def test_a_recording_that_is_not_ready_is_not_there(listener, recording):
    Recording.objects.update(status="running")
    assert listener.get(address(recording)).status_code == 404


@pytest.mark.pure
@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=0-", (0, 99)),
        ("bytes=90-200", (90, 99)),
        ("bytes=-10", (90, 99)),
        ("bytes=-1000", (0, 99)),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
    ],
)
def test_ranges_are_read_as_the_rfc_says(header, span):
    assert parse_range(header, 100) == span


@pytest.mark.pure
@pytest.mark.parametrize("header", ["bytes=100-", "bytes=-0"])
def test_unsatisfiable_ranges_are_told_apart(header):
    with pytest.raises(UnsatisfiableRangeError):
        parse_range(header, 100)


@pytest.mark.pure
@given(
    st.one_of(st.text(max_size=40), st.from_regex(r"bytes=\d{0,30}-\d{0,30}", fullmatch=True)), st.integers(1, 10**9)
)
def test_no_header_reaches_outside_the_file(header, size):
    try:
        span = parse_range(header, size)
    except UnsatisfiableRangeError:
        return
    if span is not None:
        assert 0 <= span[0] <= span[1] < size
