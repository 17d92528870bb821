"""The outcome of a call, corrected on its page."""

import pytest
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from tests.calls.admin.test_campaigns import staff, text_of
from tests.calls.campaigns.conftest import NOON, make, rung  # noqa: F401  (make is a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

MACHINE = {"outcome": "machine", "why": "it was a mailbox"}


@pytest.fixture
def call(make):  # noqa: F811
    call = rung(make.campaign().people.get(), hangup_cause="NORMAL_CLEARING", hangup_code=4000)
    call.events.create(at=NOON, kind="human_detected", data={})
    return call


def page(call, name="change") -> str:
    return reverse(f"admin:calls_call_{name}", args=[call.pk])


def test_an_outcome_is_corrected_and_who_did_so_stands_beside_the_machines_verdict(call):
    client = staff("view_call", "correct_outcome")
    shown = text_of(client.get(page(call)).content.decode())
    assert "Somebody who is done is not called again by a correction." in shown
    shown = text_of(client.post(page(call, "correct"), MACHINE, follow=True).content.decode())
    entry = LogEntry.objects.get()
    assert f"Counts as Machine, corrected by {entry.user}" in shown
    assert "By the machine Completed" in shown
    assert "NORMAL_CLEARING (4000); Plivo believed that a person answered" in shown
    assert f"{entry.user} Corrected the outcome to machine: it was a mailbox" in shown
    assert "The outcome is machine now." in shown
    assert "Machine (corrected)" in client.get("/admin/calls/call/").content.decode()


def test_what_cannot_be_corrected_is_said_and_nothing_noted(call):
    client = staff("view_call", "correct_outcome")
    html = client.post(page(call, "correct"), MACHINE | {"why": ""}, follow=True).content.decode()
    assert "Say why, in at most 200 characters." in html
    assert not LogEntry.objects.exists()


def test_correcting_is_for_those_who_may(call):
    viewer = staff("view_call")
    html = viewer.get(page(call)).content.decode()
    assert "Correct the outcome" not in html
    assert "By the machine" in html
    assert viewer.post(page(call, "correct"), MACHINE).status_code == 403
    assert staff("correct_outcome").post(page(call, "correct"), MACHINE).status_code == 403
    assert staff("view_call", "correct_outcome").get(page(call, "correct")).status_code == 405
    call.refresh_from_db()
    assert call.corrected_outcome == ""


def test_a_call_that_goes_on_has_no_outcome_to_correct(call):
    type(call).objects.update(status="live", outcome="")
    html = staff("view_call", "correct_outcome").get(page(call)).content.decode()
    assert "Correct the outcome" not in html
    assert "By the machine" not in html
