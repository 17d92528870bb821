"""The call log: what it shows to whom, how many queries it takes, and what its two buttons do."""

import datetime

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls import phone
from calls.models import Call, CallEvent, CallSummary, PlivoAccount, Recording, Turn, Usage
from calls.telephony.base import CarrierError, Failure
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = "/admin/calls/call/"
CALLER, CALLED = "+14155550123", "+14155550100"


def make_call(**changes) -> Call:
    now = timezone.now()
    fields = {
        "direction": "inbound",
        "status": "ended",
        "outcome": "completed",
        "from_number": CALLER,
        "to_number": CALLED,
        "live_at": now,
        "answered_at": now,
        "ended_at": now + datetime.timedelta(seconds=75),
        "plivo_call_uuid": f"uuid-{Call.objects.count()}",
    }
    call = Call.objects.create(**(fields | changes))
    Turn.objects.create(
        call=call,
        index=0,
        role="agent",
        kind="greeting",
        text="Hello, how can I help you today?",
        heard="Hello, how can",
        interrupted=True,
        started_ms=0,
        ended_ms=900,
    )
    Turn.objects.create(
        call=call, index=1, role="caller", text="<script>alert(1)</script>", started_ms=950, ended_ms=2000
    )
    Turn.objects.create(
        call=call,
        index=2,
        role="agent",
        text="Certainly.",
        heard="Certainly.",
        started_ms=2900,
        ended_ms=3500,
        speech_end_ms=2000,
        decided_ms=2300,
        first_heard_ms=2900,
    )
    CallEvent.objects.create(call=call, at=now, offset_ms=900, kind="interrupted", data={"rule": "stop word"})
    Usage.objects.create(call=call, stage="llm", provider="openai", model="gpt-6-luna", input_tokens=100, first_ms=400)
    CallSummary.objects.create(
        call=call,
        status="ready",
        summary="They wanted help.",
        outcome="Helped",
        success=True,
        extracted={"reason": "help"},
    )
    recording = Recording.objects.create(
        call=call, source="parley", status="ready", size=4, duration_ms=3500, peaks=[[0.1], [0.2]]
    )
    recording.file.save("x.wav", ContentFile(b"RIFF"))
    return call


def page_of(call: Call) -> str:
    return reverse("admin:calls_call_change", args=[call.pk])


def client_with(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=["calls.view_call", *permissions]))
    return client


def test_a_calls_page_tells_the_whole_story(admin_page):
    html = admin_page.get(page_of(make_call())).content.decode()
    for expected in (
        CALLER,
        "Hello, how can",
        "interrupted",
        "answered after 900 ms",
        "They wanted help.",
        "gpt-6-luna",
        "(0:04, 4",
    ):
        assert expected in html
    assert '<s class="call-unheard" title="Generated but not heard">I help you today?</s>' in html


def test_the_page_names_the_version_or_the_draft_that_the_caller_met(admin_page):
    version = factories.AgentVersionFactory(agent__name="Night desk")
    on_version = make_call(agent=version.agent, agent_version=version)
    on_draft = make_call(agent=version.agent, direction="browser")
    unanswered = make_call(agent=factories.AgentFactory(name="Never published"))
    assert "<dd>Night desk v1</dd>" in admin_page.get(page_of(on_version)).content.decode()
    assert "<dd>Night desk (draft)</dd>" in admin_page.get(page_of(on_draft)).content.decode()
    assert "<dd>Never published</dd>" in admin_page.get(page_of(unanswered)).content.decode()


def test_the_page_and_the_list_tell_the_same_length_of_a_call_that_plivo_did_not_time(admin_page):
    now = timezone.now()
    call = make_call(
        direction="browser",
        duration_s=None,
        answered_at=None,
        live_at=now,
        ended_at=now + datetime.timedelta(seconds=76),
    )
    assert "<dt>Talked</dt><dd>1:16</dd>" in admin_page.get(page_of(call)).content.decode()
    assert "1:16" in admin_page.get(LIST).content.decode()


def test_a_recogniser_is_not_blamed_for_the_time_until_the_caller_spoke(admin_page):
    call = make_call()
    Usage.objects.create(call=call, stage="stt", provider="elevenlabs", model="scribe_v2_realtime", first_ms=7056)
    html = admin_page.get(page_of(call)).content.decode()
    assert "400 ms" in html
    assert "7056" not in html


def test_a_calls_page_names_its_controls_for_those_who_do_not_see_them(admin_page):
    html = admin_page.get(page_of(make_call())).content.decode()
    assert '<audio id="player" aria-label="Recording of this call" controls preload="none"' in html
    assert html.count('aria-label="Play from ') == 3
    for table in ("timings", "usage"):
        assert f'tabindex="0" role="group" aria-labelledby="{table}"' in html


def test_a_calls_times_say_their_zone_and_a_tool_is_named_once(admin_page):
    call = make_call()
    Turn.objects.create(call=call, index=3, role="tool", kind="tool", text="end_call", started_ms=3600, ended_ms=3600)
    html = admin_page.get(page_of(call)).content.decode()
    assert html.count(" UTC</dd>") == 2
    assert '<span class="call-tag">greeting</span>' in html
    assert '<span class="call-tag">tool</span>' not in html
    assert "/history/" not in html


@pytest.mark.parametrize(
    ("changes", "recording", "summary"),
    [
        ({"status": "live", "outcome": ""}, "It appears here after the call", "It is made when the call has ended."),
        ({"status": "ended", "outcome": "failed"}, "This call was not recorded.", "This call has none."),
    ],
)
def test_the_page_of_a_call_without_words_says_what_to_expect(admin_page, changes, recording, summary):
    html = admin_page.get(page_of(Call.objects.create(direction="inbound", **changes))).content.decode()
    for expected in (recording, summary, "Nothing was said", "No answer was timed.", "No provider was used."):
        assert expected in html
    assert "<table" not in html.partition('id="timings"')[2]


def test_a_failed_provider_is_named_once_with_what_can_be_done(admin_page):
    call = make_call()
    for again in (True, False):
        data = {"kind": "unauthorised", "detail": "invalid key", "again": again}
        CallEvent.objects.create(call=call, at=timezone.now(), kind="llm_failed", data=data)
    CallEvent.objects.create(call=call, at=timezone.now(), kind="turn_decided", data={"kind": "unauthorised"})
    page = admin_page.get(f"{LIST}{call.pk}/change/").content.decode()
    problem = "Language model: The provider does not accept the key: enter a valid key in the account."
    assert page.count(problem) == 1


def test_a_stage_that_went_on_with_another_choice_says_which(admin_page):
    call = make_call()
    data = {"stage": "tts", "choice": 2, "instead_of": 1, "provider": "openai", "model": "gpt-4o-mini-tts"}
    CallEvent.objects.create(call=call, at=timezone.now(), kind="provider_changed", data=data)
    page = admin_page.get(f"{LIST}{call.pk}/change/").content.decode()
    assert "Text-to-speech: the call went on with choice 2 (openai, gpt-4o-mini-tts)." in page


def test_what_a_caller_says_is_text_and_never_markup(admin_page):
    html = admin_page.get(page_of(make_call())).content.decode()
    assert "<script>alert(1)</script>" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_the_list_takes_as_many_queries_for_fifty_calls_as_for_one(admin_page, django_assert_max_num_queries):
    make_call()
    admin_page.get(LIST)
    with django_assert_max_num_queries(12) as one:
        admin_page.get(LIST)
    for _ in range(50):
        make_call()
    with django_assert_max_num_queries(len(one)):
        assert admin_page.get(LIST).content.decode().count("Helped") == 50


def test_the_page_takes_as_many_queries_for_a_long_call_as_for_a_short_one(admin_page, django_assert_max_num_queries):
    call = make_call()
    admin_page.get(page_of(call))
    with django_assert_max_num_queries(20) as short:
        admin_page.get(page_of(call))
    for index in range(3, 60):
        Turn.objects.create(call=call, index=index, role="caller", text="and", started_ms=index, ended_ms=index)
        Usage.objects.create(call=call, stage="tts", provider="elevenlabs", model="flash", characters=5)
    with django_assert_max_num_queries(len(short)):
        admin_page.get(page_of(call))


def test_numbers_are_masked_for_those_who_may_not_see_them():
    call = make_call()
    client = client_with()
    for address in (LIST, page_of(call)):
        html = client.get(address).content.decode()
        assert CALLER not in html
        assert "+1415•••••23" in html
    assert CALLER in client_with("calls.view_numbers").get(page_of(call)).content.decode()


def test_nobody_finds_out_a_masked_number_by_searching():
    make_call()
    assert "Helped" not in client_with().get(LIST, {"q": CALLER}).content.decode()
    assert "Helped" in client_with("calls.view_numbers").get(LIST, {"q": CALLER}).content.decode()


def test_audio_is_offered_only_to_those_who_may_listen():
    call = make_call()
    assert "<audio" not in client_with().get(page_of(call)).content.decode()
    assert "<audio" in client_with("calls.listen_call").get(page_of(call)).content.decode()


@pytest.mark.parametrize(
    ("status", "said"), [("failed", "Summary failed"), ("pending", "Summary waiting"), ("skipped", "Nothing was said")]
)
def test_a_summary_that_is_not_there_is_not_taken_for_a_call_that_failed(admin_page, status, said):
    make_call()
    CallSummary.objects.update(status=status, outcome="")
    assert f">{said}<" in admin_page.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "wanted help"}, True),
        ({"q": "nothing like it"}, False),
        ({"outcome": "completed"}, True),
        ({"outcome": "busy"}, False),
        ({"recorded": "yes"}, True),
        ({"recorded": "no"}, False),
        ({"summary__success__exact": "1"}, True),
        ({"direction__exact": "outbound"}, False),
    ],
)
def test_the_list_can_be_searched_and_filtered(admin_page, query, found):
    make_call()
    assert ("Helped" in admin_page.get(LIST, query).content.decode()) is found


def test_a_corrected_call_is_found_by_what_an_operator_said_of_it_alone(admin_page):
    make_call(corrected_outcome="machine")
    assert "Helped" in admin_page.get(LIST, {"outcome": "machine"}).content.decode()
    assert "Helped" not in admin_page.get(LIST, {"outcome": "completed"}).content.decode()


def test_a_call_cannot_be_added_changed_or_deleted(admin_page):
    call = make_call()
    assert admin_page.get(f"{LIST}add/").status_code == 403
    assert admin_page.post(page_of(call), {"status": "live"}).status_code == 403
    assert admin_page.post(reverse("admin:calls_call_delete", args=[call.pk]), {"post": "yes"}).status_code == 403
    call.refresh_from_db()
    assert call.status == "ended"


def test_a_failed_summary_can_be_tried_again(admin_page, django_capture_on_commit_callbacks):
    call = make_call()
    CallSummary.objects.update(status="failed", error="The account has no credit left", attempts=5)
    assert "The account has no credit left" in admin_page.get(page_of(call)).content.decode()
    admin_page.post(reverse("admin:calls_call_retry_summary", args=[call.pk]))
    assert CallSummary.objects.get().status == "pending"
    assert CallSummary.objects.get().attempts == 0


def live_call() -> Call:
    account = PlivoAccount.objects.create(name="p", auth_id="MA" + "A" * 18, auth_token="t")
    return make_call(status="live", outcome="", ended_at=None, plivo_account=account)


def test_a_live_call_can_be_ended_by_those_who_may(monkeypatch):
    asked = []
    monkeypatch.setattr(phone, "hang_up", asked.append)
    call = live_call()
    address = reverse("admin:calls_call_hang_up", args=[call.pk])
    assert client_with().post(address).status_code == 403
    assert client_with("calls.hang_up_call").get(address).status_code == 405
    assert asked == []
    assert client_with("calls.hang_up_call").post(address).status_code == 302
    assert asked == [call]


def test_a_hang_up_that_plivo_refuses_says_why(admin_page, monkeypatch):
    def refuse(_call):
        raise CarrierError(Failure.UNAUTHORISED)

    monkeypatch.setattr(phone, "hang_up", refuse)
    response = admin_page.post(reverse("admin:calls_call_hang_up", args=[live_call().pk]), follow=True)
    assert "does not accept the auth id and token" in response.content.decode()


def test_a_call_of_the_browser_cannot_be_hung_up_at_plivo_and_says_so(admin_page):
    call = make_call(direction="browser", status="live", plivo_call_uuid=None)
    response = admin_page.post(reverse("admin:calls_call_hang_up", args=[call.pk]), follow=True)
    assert "The call is not at Plivo." in response.content.decode()
