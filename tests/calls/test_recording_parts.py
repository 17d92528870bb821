"""Our recordings' rows: parts of stream hosts, joined whoever comes first, and what is missing said."""

import datetime
import hashlib
import io

import pytest
from django.urls import reverse

from calls.models import Call, Recording
from calls.recording_parts import attach_recording, fail_recording, open_recording
from tests.calls.test_recording_views import wav

pytestmark = pytest.mark.db

BEGAN = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def call(db):
    return Call.objects.create(direction="inbound", status="ended", live_at=BEGAN)


class Audio:
    """Text that stands for a WAV: joining is appending."""

    rate, channels, duration_ms = 16_000, 2, 500

    def __init__(self, data):
        self.data = data

    def open(self):
        return io.BytesIO(self.data)

    def peaks(self):
        return [[0.5], (0.25,)]


def attach(call, host="h", data=b"x", error="", repaired=False, after_ms=0, meanwhile=lambda: None):
    places = []

    def join(so_far, at_ms):
        places.append(at_ms)
        whole = (so_far.read() if so_far else b"") + data
        meanwhile()
        return Audio(whole)

    attach_recording(
        call_id=call.pk,
        host=host,
        started_ms=round(BEGAN.timestamp() * 1000) + after_ms,
        join=join,
        repaired=repaired,
        error=error,
    )
    return places


def files(row):
    return row.file.storage.listdir(row.file.name.rsplit("/", 1)[0])[1]


def test_ours_is_copied_hashed_and_ready(call):
    open_recording(call_id=call.pk, host="h", rate=8000)
    assert Recording.objects.get().status == "running"
    assert attach(call, data=wav(), after_ms=120) == [120]
    row = Recording.objects.get()
    assert (row.status, row.size, row.duration_ms, row.rate) == ("ready", len(wav()), 500, 16_000)
    assert row.sha256 == hashlib.sha256(wav()).hexdigest()
    assert row.peaks == [[0.5], [0.25]]
    assert row.file.read() == wav()


def test_a_second_part_is_joined_to_the_first_and_takes_its_place(call):
    attach(call, data=b"one", repaired=True)
    attach(call, host="other", data=b"two")
    row = Recording.objects.get()
    assert row.file.read() == b"onetwo"
    assert row.repaired
    assert len(files(row)) == 1


def test_of_two_hosts_that_store_at_once_neither_loses_its_part(call):
    attach(call, data=b"one")
    rivals = ["fast"]

    def overtaken():
        if rivals:
            attach(call, host=rivals.pop(), data=b"fast")

    attach(call, host="slow", data=b"slow", meanwhile=overtaken)
    row = Recording.objects.get()
    assert row.file.read() == b"onefastslow"
    assert len(files(row)) == 1, "what came too late is not left in Storage"
    assert {host: part["held"] for host, part in row.parts.items()} == {"h": False, "fast": False, "slow": False}


def test_a_failure_keeps_every_reason_once_but_never_spoils_a_ready_file(call):
    open_recording(call_id=call.pk, host="h", rate=8000)
    for error in ("disk full", "another", "disk full"):
        fail_recording(call_id=call.pk, host="h", error=error, held=False)
    row = Recording.objects.get()
    assert (row.status, row.error) == ("failed", "Stream host h: disk full; another.")
    attach(call)
    fail_recording(call_id=call.pk, host="g", error="no disk", held=False)
    row = Recording.objects.get()
    assert (row.status, row.error) == ("ready", "Stream host g: no disk. Stream host h: disk full; another.")


def test_a_host_that_failed_does_not_end_what_another_still_records(call):
    open_recording(call_id=call.pk, host="h", rate=8000)
    open_recording(call_id=call.pk, host="g", rate=8000)
    fail_recording(call_id=call.pk, host="g", error="no disk", held=False)
    assert Recording.objects.get().status == "running"
    fail_recording(call_id=call.pk, host="h", error="disk full", held=True)
    assert Recording.objects.get().status == "running", "what it has comes when the call is over"
    attach(call)
    assert Recording.objects.get().status == "ready"


def test_a_failure_is_noted_even_if_the_beginning_was_not(call):
    fail_recording(call_id=call.pk, host="h", error="no disk", held=False)
    assert Recording.objects.get().status == "failed"


def test_nothing_is_written_of_a_call_that_is_gone(db):
    gone = Call(pk=4711, live_at=BEGAN)
    open_recording(call_id=gone.pk, host="h", rate=8000)
    fail_recording(call_id=gone.pk, host="h", error="x", held=False)
    assert attach(gone) == []
    assert not Recording.objects.exists()


def test_a_file_that_cannot_be_stored_leaves_the_row_for_another_try(call):
    def no_room():
        raise OSError("no room")

    attach(call, data=b"one")
    with pytest.raises(OSError, match="no room"):
        attach(call, host="g", data=b"two", meanwhile=no_room)
    row = Recording.objects.get()
    assert (row.status, row.file.read()) == ("ready", b"one")


def test_the_calls_page_offers_what_there_is_and_says_what_is_missing(call, admin_client):
    open_recording(call_id=call.pk, host="web-2", rate=8000)
    attach(call, host="web-1", error="the disk refused the recording (No space left on device)")
    page = admin_client.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    assert "this recording is incomplete" in page
    assert "Stream host web-1: the disk refused the recording (No space left on device)." in page
    assert "Stream host web-2 still holds a part" in page
    assert "?download=1" in page


def test_the_calls_page_says_nothing_of_the_kind_of_a_whole_recording(call, admin_client):
    attach(call)
    page = admin_client.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    assert "incomplete" not in page
