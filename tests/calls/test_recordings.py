"""Plivo's recordings, fetched from a server that may be anything."""

import datetime
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from unittest.mock import MagicMock

import pytest

from calls import lifecycle, recordings
from calls.models import Call, PlivoAccount, Recording
from calls.states import Facts
from calls.telephony.base import CarrierError, CarrierRecording, Failure
from tests import factories
from tests.calls.test_recording_views import wav

pytestmark = pytest.mark.db

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
SECOND, MINUTE, HOUR = (datetime.timedelta(seconds=s) for s in (1, 60, 3600))
AUTH_ID = "MA" + "A" * 18


class MediaServer(ThreadingHTTPServer):
    """Answers every GET with ``answer`` (status, headers, body) and keeps what was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = (200, {}, wav())
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, headers, body = self.server.answer
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def media():
    server = MediaServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def call(db, media):
    account = PlivoAccount.objects.create(
        name="p", auth_id=AUTH_ID, auth_token="token", api_url=f"http://127.0.0.1:{media.server_port}"
    )
    return Call.objects.create(direction="inbound", status="ended", plivo_account=account)


def noted(call, url):
    recordings.note_plivo_recording(call=call, recording_id="r1", url=url, duration_ms="500.00000", now=NOW)
    return Recording.objects.get(source="plivo")


def url_of(media, path="/r1.wav"):
    return f"http://127.0.0.1:{media.server_port}{path}"


def test_the_callback_of_a_beginning_recording_is_no_file(call):
    recordings.note_plivo_recording(call=call, recording_id="r1", url="https://x", duration_ms="-1", now=NOW)
    assert not Recording.objects.exists()


@pytest.fixture
def recorded(db):
    """A call that Plivo was asked to record, and whose end has been reported."""
    agent = factories.AgentFactory(plivo_record=True)
    call = factories.CallFactory(phone_number__agent=factories.AgentVersionFactory(agent=agent).agent)
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=NOW))
    return call


@pytest.fixture
def listed(monkeypatch):
    """What Plivo lists, or the failure that it answers with; and how often it was asked."""
    plivo = MagicMock()
    plivo.__enter__.return_value = plivo
    plivo.recordings.return_value = []
    monkeypatch.setattr(recordings, "client_for", lambda _account: plivo)
    return plivo.recordings


def looked(now):
    """One round at that time."""
    return [recordings.look_for_plivo_recording(row, now=now) for row in recordings.unannounced_recordings(now)]


def test_the_end_of_a_call_that_plivo_records_expects_its_recording(recorded):
    row = Recording.objects.get()
    assert (row.call, row.source, row.status, row.plivo_url) == (recorded, "plivo", "pending", "")
    assert recordings.due_plivo_recordings(NOW + HOUR) == []  # there is nothing to fetch yet
    noted(recorded, "https://media.plivo.com/r1.mp3")
    assert recordings.due_plivo_recordings(NOW) == [str(row.pk)]
    assert recordings.unannounced_recordings(NOW + HOUR) == []


@pytest.mark.parametrize(("plivo_record", "streams"), [(False, 1), (True, 0)], ids=["not wanted", "not put through"])
def test_no_other_call_expects_a_recording_of_plivos(db, plivo_record, streams):
    agent = factories.AgentFactory(plivo_record=plivo_record)
    agent = factories.AgentVersionFactory(agent=agent).agent
    call = factories.CallFactory(phone_number__agent=agent, streams=streams)
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=NOW))
    assert not Recording.objects.exists()


def test_a_recording_that_was_never_announced_is_looked_for_and_then_fetched_as_any_other(recorded, listed):
    assert looked(NOW + 30 * SECOND) == []  # its callback may still come
    found = CarrierRecording(
        recording_id="r9", call_uuid="u", url="https://media.plivo.com/r9.mp3", duration_ms="61000.00000"
    )
    running = CarrierRecording(recording_id="r8", call_uuid="u", url="https://media.plivo.com/r8.mp3", duration_ms="-1")
    listed.return_value = [running, found]
    assert looked(NOW + 2 * MINUTE) == ["recording_found"]
    listed.assert_called_once_with(recorded.plivo_call_uuid)
    row = Recording.objects.get()
    assert (row.plivo_recording_id, row.plivo_url, row.duration_ms) == ("r9", "https://media.plivo.com/r9.mp3", 61000)
    assert (row.status, row.attempts, row.error) == ("pending", 0, "")
    assert recordings.due_plivo_recordings(NOW + 2 * MINUTE) == [str(row.pk)]
    assert looked(NOW + HOUR) == []


def test_after_a_few_looks_at_growing_gaps_the_row_says_that_plivo_has_none(recorded, listed):
    at, now = [], NOW
    while now < NOW + 48 * HOUR:
        at += [now - NOW for _ in looked(now)]
        now += max(MINUTE / 2, (now - NOW) / 50)  # the gaps grow: later ones need no look in each half minute
    gaps = [later - earlier for earlier, later in pairwise(at)]
    assert len(at) == len(recordings.LOOK_DELAYS_S)
    assert gaps == sorted(gaps)
    row = Recording.objects.get()
    assert (row.status, row.error) == ("failed", "Plivo has no recording of this call.")
    noted(recorded, "https://media.plivo.com/late.mp3")
    row.refresh_from_db()
    assert (row.status, row.error, row.attempts) == ("pending", "", 0)


def test_a_plivo_that_cannot_be_asked_is_named_as_the_reason(recorded, listed):
    listed.side_effect = CarrierError(Failure.UNAUTHORISED)
    for day in range(1, 10):
        looked(NOW + day * 24 * HOUR)
    row = Recording.objects.get()
    assert row.status == "failed"
    assert "copy both again from Plivo's console" in row.error


def test_of_two_sweeps_at_once_one_asks_for_the_recording(recorded, listed):
    (row,) = recordings.unannounced_recordings(NOW + HOUR)
    assert looked(NOW + HOUR) == ["recording_awaited"]
    assert recordings.look_for_plivo_recording(row, now=NOW + HOUR) == ""
    assert listed.call_count == 1


def test_a_callback_that_comes_while_plivo_is_being_asked_is_not_undone(recorded, listed):
    def answer(_):
        noted(recorded, "https://media.plivo.com/r1.mp3")
        return []

    listed.side_effect = answer
    looked(NOW + HOUR)
    row = Recording.objects.get()
    assert (row.status, row.plivo_url, row.error) == ("pending", "https://media.plivo.com/r1.mp3", "")


def test_plivos_recording_is_fetched_with_the_accounts_key_checked_and_stored(call, media):
    row = noted(call, url_of(media))
    assert recordings.due_plivo_recordings(NOW) == [str(row.pk)]
    assert recordings.fetch_plivo_recording(recording_id=str(row.pk), now=NOW)
    row.refresh_from_db()
    assert (row.status, row.duration_ms) == ("ready", 500)
    assert row.file.read() == wav()
    assert media.asked[0][1].startswith("Basic ")
    assert recordings.due_plivo_recordings(NOW + datetime.timedelta(days=1)) == []


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/r1.mp3",
        "http://media.plivo.com/r1.mp3",
        "http://169.254.169.254/latest",
        "https://media.plivo.com.evil.example.com/r1.mp3",
        "file:///etc/passwd",
    ],
)
def test_the_key_is_sent_to_no_other_host(call, media, url):
    row = noted(call, url)
    assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=NOW)
    row.refresh_from_db()
    assert (row.status, row.error) == ("failed", "The recording's address is not one of Plivo's")
    assert media.asked == []


def test_a_redirect_is_not_followed(call, media):
    media.answer = (302, {"Location": "https://evil.example.com/"}, b"")
    row = noted(call, url_of(media))
    recordings.fetch_plivo_recording(recording_id=str(row.pk), now=NOW)
    row.refresh_from_db()
    assert row.error == "Plivo answered 302 for the recording"


def test_a_file_that_is_not_there_yet_is_tried_again_later_and_then_given_up(call, media):
    media.answer = (404, {}, b"")
    row = noted(call, url_of(media))
    now = NOW
    for _ in recordings.FETCH_DELAYS_S:
        assert recordings.due_plivo_recordings(now) == [str(row.pk)]
        assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=now)
        now += datetime.timedelta(days=1)
    row.refresh_from_db()
    assert (row.status, row.attempts) == ("failed", len(recordings.FETCH_DELAYS_S))
    assert len(media.asked) == row.attempts


def test_a_full_disk_is_no_endless_loop_and_is_said(call, media, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recordings, "_check_audio", full)
    row = noted(call, url_of(media))
    now = NOW
    for _ in recordings.FETCH_DELAYS_S:
        assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=now)
        now += datetime.timedelta(days=1)
    row.refresh_from_db()
    assert row.status == "failed"
    assert "could not be stored" in row.error


def test_an_error_page_is_not_taken_for_audio(call, media):
    media.answer = (200, {}, b"<html>sorry</html>")
    row = noted(call, url_of(media))
    assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=NOW)
    row.refresh_from_db()
    assert (row.status, row.error) == ("pending", "What came is neither WAV nor MP3")


def test_two_workers_with_the_same_hint_fetch_once(call, media):
    row = noted(call, url_of(media))
    Recording.objects.update(attempts=1, next_attempt_at=NOW + datetime.timedelta(seconds=5))
    assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=NOW)
    assert media.asked == []
