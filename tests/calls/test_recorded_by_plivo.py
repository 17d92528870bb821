"""Plivo's own recording on its whole way: asked for in the document, announced, fetched with the account's key, stored.

Over real HTTP in both directions; the sweep and the task run here as a worker would run them.
"""

import datetime
import hashlib
import io
import wave

import numpy as np
import pytest
from django.test import Client
from django.utils import timezone

from calls import answers, recordings, sweeper
from calls.models import EdgeRefusal, Recording
from calls.tasks import maintenance, post_call
from tests import factories
from tests.calls.conftest import ended
from tests.calls.sandbox_thread import DEMO_NUMBER

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]

HEARD = {"steps": [{"beep": {"hz": 440, "ms": 1500}}, "wait_hangup"]}


@pytest.fixture
def recorded(rented, monkeypatch):
    """The number, whose agent now lets Plivo record; tasks run where they are asked for."""
    rented.agent.plivo_record = True
    rented.agent.apology = "We are very sorry, nobody can take your call at the moment."
    rented.agent.save()
    factories.AgentVersionFactory(agent=rented.agent)
    for task in (post_call.after_call, post_call.fetch_recording):
        monkeypatch.setattr(task, "delay", task.run)
    return rented


def samples(audio):
    """The two channels of a WAV file, caller first, and its length in ms."""
    with wave.open(io.BytesIO(audio)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    return both[:, 0], both[:, 1], len(both) // 8


@pytest.mark.parametrize(
    ("login", "faults"),
    [
        (False, {"recording_before_hangup": True}),
        (True, {"recording_before_hangup": True}),
        (True, {"recording_before_hangup": False}),
        (False, {"webhook_duplicates": {"Record": 1}}),
    ],
    ids=["told before the hang-up", "behind a login", "told after the hang-up", "told twice"],
)
def test_plivos_recording_of_a_call_is_asked_for_announced_fetched_and_stored(box, recorded, login, faults):
    box.settings(recording_auth=login)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD, faults=faults)
    report = box.report(call_uuid, wait="ended")
    call = ended(call_uuid)
    first = next(note for note in report["timeline"] if note["what"] == "document")
    assert first["elements"] == ["Record", "Stream", "Redirect"]
    assert report["violations"] == []

    (told,) = report["recordings"]
    row = call.recordings.get()
    assert (row.source, row.status, row.plivo_recording_id) == ("plivo", "pending", told["RecordingID"])
    assert (row.plivo_url, row.duration_ms) == (told["RecordUrl"], told["RecordingDurationMs"])
    sent = [webhook["event"] for webhook in report["webhooks"] if webhook["attempt"] == 1]
    assert sent.count("Record") == 1 + len(faults.get("webhook_duplicates", ()))
    if "recording_before_hangup" in faults:
        assert (sent.index("Record") < sent.index("Hangup")) == faults["recording_before_hangup"]

    maintenance.sweep_calls()
    row.refresh_from_db()
    assert (row.status, row.error, row.attempts, row.next_attempt_at) == ("ready", "", 1, None)
    audio = row.file.read()
    assert (row.size, row.sha256) == (len(audio), hashlib.sha256(audio).hexdigest())
    caller, agent, length_ms = samples(audio)
    assert abs(caller.astype(int)).max() > 1000
    assert abs(agent.astype(int)).max() > 1000  # the apology: no stream was opened
    assert abs(length_ms - row.duration_ms) <= 40
    assert length_ms > 1500

    late = {"recording_id": told["RecordingID"], "url": told["RecordUrl"], "duration_ms": str(row.duration_ms)}
    recordings.note_plivo_recording(call=call, now=timezone.now(), **late)  # told again when the file is there
    maintenance.sweep_calls()
    assert Recording.objects.values("attempts", "status").get() == {"attempts": 1, "status": "ready"}
    assert not EdgeRefusal.objects.exists()


def test_a_recording_whose_callback_was_lost_is_found_in_plivos_list_fetched_and_stored(box, recorded):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD, faults={"webhook_lost": ["Record"]})
    report = box.report(call_uuid, wait="ended")
    call = ended(call_uuid)
    (told,) = report["recordings"]
    maintenance.sweep_calls()
    row = call.recordings.get()
    assert (row.status, row.plivo_url) == ("pending", "")  # it may still be announced
    late = call.ended_at + datetime.timedelta(seconds=recordings.LOOK_DELAYS_S[0])
    due = sweeper.sweep(now=late)
    assert (due.repaired, due.recordings) == ({"recording_found": 1}, [str(row.pk)])
    assert recordings.fetch_plivo_recording(recording_id=str(row.pk), now=late)
    row.refresh_from_db()
    assert (row.status, row.plivo_recording_id) == ("ready", told["RecordingID"])
    caller, _, length_ms = samples(row.file.read())
    assert abs(caller.astype(int)).max() > 1000
    assert abs(length_ms - row.duration_ms) <= 40


def test_a_recording_that_plivo_has_not_is_asked_for_some_hours_and_its_absence_then_shown(box, recorded):
    box.settings(recording_after_s=100_000)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD, faults={"recording_before_hangup": False})
    call = ended(call_uuid)
    kinds = [sweeper.sweep(now=call.ended_at + datetime.timedelta(days=day)).repaired for day in range(1, 6)]
    assert kinds == [*[{"recording_awaited": 1}] * 3, {"recording_missing": 1}, {}]
    operator = factories.UserFactory(is_superuser=True)
    client = Client()
    client.force_login(operator)
    page = client.get(f"/admin/calls/call/{call.pk}/change/").content.decode()
    assert "Plivo: Plivo has no recording of this call." in page


def test_a_recording_is_as_long_as_the_document_asked_for(box, recorded, monkeypatch):
    monkeypatch.setattr(answers, "LONGEST_CALL_S", 1)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD)
    box.report(call_uuid, wait="ended")
    ended(call_uuid)
    maintenance.sweep_calls()
    assert samples(Recording.objects.get(status="ready").file.read())[2] == 1000


def test_a_recording_behind_a_login_that_is_not_the_accounts_is_given_up_with_a_reason(box, recorded):
    box.settings(recording_auth=True)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD)
    box.report(call_uuid, wait="ended")
    ended(call_uuid)
    account = recorded.plivo_account
    account.auth_token = "changed-at-plivo"
    account.save()
    row = Recording.objects.get()
    assert not recordings.fetch_plivo_recording(recording_id=str(row.pk), now=timezone.now())
    row.refresh_from_db()
    assert (row.status, row.file.name) == ("failed", "")
    assert "401" in row.error


def test_a_call_that_is_not_to_be_recorded_by_plivo_is_not(box, rented):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HEARD)
    assert box.report(call_uuid, wait="ended")["recordings"] == []
    ended(call_uuid)
    assert not Recording.objects.exists()
