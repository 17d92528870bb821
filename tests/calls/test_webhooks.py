"""The edge towards Plivo: what is believed, what it changes, and what is answered."""

import functools
import uuid

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from calls import answers, edge, intake
from calls.models import Call, CallEvent, CallSummary, EdgeRefusal, Recording, StreamToken, WebhookEvent
from tests import factories
from tests.calls.carrier import Carrier, tags, token_of, xml
from tests.conftest import LOST_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

CALL_ADDRESSES = [
    "answer",
    "after-stream",
    "ring",
    "hangup",
    "machine",
    "recording",
    "stream-status",
    "dial",
    "digits",
    "fallback",
]
ADDRESSES = ["/plivo/answer/", "/plivo/hangup/", "/plivo/fallback/", *CALL_ADDRESSES]
GIVE_A_STREAM = {"/plivo/answer/", "answer", "after-stream"}


@pytest.fixture(autouse=True)
def _no_outside(settings, monkeypatch):
    """No Redis and no broker: neither may be a condition of answering."""
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.PUBLIC_URL = "https://parley.example.com"
    settings.ALLOWED_HOSTS = ["*"]
    settings.SECURE_SSL_REDIRECT = False
    monkeypatch.setattr(edge, "_counter", edge._Counter())


@pytest.fixture
def number():
    return factories.PhoneNumberFactory()


@pytest.fixture
def plivo(number):
    return Carrier(number.plivo_account)


@pytest.fixture
def call(number):
    return factories.CallFactory(phone_number=number)


def address(call, name):
    return name if name.startswith("/") else f"/plivo/calls/{call.public_id}/{name}/"


def publish(number, **changes):
    """The number's agent, changed and published again."""
    agent = number.agent
    for name, value in changes.items():
        setattr(agent, name, value)
    agent.save()
    factories.AgentVersionFactory(agent=agent)
    agent.refresh_from_db()
    return agent


def everything():
    """What the database knows of calls, to see that nothing was changed."""
    calls = list(Call.objects.order_by("pk").values())
    return calls, CallEvent.objects.count(), StreamToken.objects.count(), Recording.objects.count()


# --- answering -------------------------------------------------------------------------------------------------------


def test_a_ring_is_answered_by_the_numbers_published_agent(plivo, number):
    response = plivo.ring(number.number)
    call = Call.objects.get()
    assert tags(response) == ["Stream", "Redirect"]
    stream = xml(response).find("Stream")
    assert stream.get("contentType") == number.agent.codec
    assert stream.get("bidirectional") == stream.get("keepCallAlive") == "true"
    assert stream.get("statusCallbackUrl").startswith(f"https://parley.example.com{address(call, 'stream-status')}")
    redirect = f"https://parley.example.com{address(call, 'after-stream')}"
    assert xml(response).find("Redirect").text.startswith(redirect)
    assert (call.status, call.direction, call.streams) == ("answered", "inbound", 1)
    assert call.agent_version == number.agent.published_version
    assert (call.from_number, call.to_number) == ("+15557654321", number.number)
    assert call.plivo_account == number.plivo_account
    assert call.plivo_call_uuid == plivo.call_uuid
    assert call.deadline_at > call.answered_at
    event = WebhookEvent.objects.get()
    assert (event.kind, event.call, event.params["CallerName"]) == ("answer", call, "15557654321")
    assert event.applied_at


def test_a_ring_by_get_is_answered_too(plivo, number):
    assert tags(plivo.ring(number.number, method="GET", CallerName="")) == ["Stream", "Redirect"]


def test_the_stream_token_is_kept_only_as_a_hash(plivo, number):
    token = token_of(plivo.ring(number.number))
    assert len(token) == 32
    row = StreamToken.objects.values().get()
    assert token not in str(row)


def test_answering_takes_a_fixed_small_number_of_queries(plivo, number):
    plivo.ring(number.number)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        plivo.ring(number.number)
    statements = [each["sql"] for each in queries if "SAVEPOINT" not in each["sql"]]
    # number, webhook stored, marked; call looked up, call, timeline, token made; webhook's call
    assert len(statements) == 8, statements


@pytest.mark.parametrize("reason", ["unknown_number", "no_agent", "not_published"])
def test_a_ring_that_nobody_can_answer_is_told_so_politely_and_seen_in_the_log(plivo, number, reason):
    called = number.number
    if reason == "unknown_number":
        called = "+15550009999"
    elif reason == "no_agent":
        number.agent = None
        number.save()
    else:
        number.agent = factories.AgentFactory()
        number.save()
    assert tags(plivo.ring(called)) == ["Speak", "Hangup"]
    call = Call.objects.get()
    assert (call.end_reason, call.to_number) == ("refused", called)
    event = CallEvent.objects.get(call=call)
    assert (event.kind, event.data["reason"]) == ("refused", reason)
    plivo.hang_up()
    call.refresh_from_db()
    assert (call.status, call.outcome, call.end_reason) == ("ended", "failed", "refused")


def test_with_the_agents_plivo_recording_on_the_record_stands_before_the_stream(plivo, number):
    agent = publish(number, plivo_record=True)
    response = plivo.ring(number.number)
    assert tags(response) == ["Record", "Stream", "Redirect"]
    record = xml(response).find("Record")
    assert (record.get("recordSession"), record.get("redirect")) == ("true", "false")
    assert int(record.get("maxLength")) > agent.max_call_s
    assert address(Call.objects.get(), "recording") in record.get("callbackUrl")


def test_a_listening_agent_gets_a_one_way_stream_and_the_line_is_kept(plivo, number):
    publish(number, mode="listen_only", recording_notice="This call is written down.")
    response = plivo.ring(number.number)
    assert tags(response) == ["Speak", "Speak", "Stream", "Wait", "Redirect"]
    stream = xml(response).find("Stream")
    assert (stream.get("bidirectional"), stream.get("audioTrack")) == ("false", "inbound")


# --- what is not believed --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(
    "forgery", ["unsigned", "no nonce", "wrong token", "altered field", "added field", "other path"]
)
def test_a_forged_webhook_is_refused_changes_nothing_and_is_counted(
    plivo, number, call, path, forgery, record_property
):
    other = address(call, "machine" if path != "machine" else "ring")
    path = address(call, path)
    before = everything()
    form = {"CallUUID": call.plivo_call_uuid, "To": number.number, "Event": "Ring"}
    _, _, body, headers = plivo.sign(path, **form)
    nonce = headers["X-Plivo-Signature-V3-Nonce"]
    if forgery == "unsigned":
        sent = plivo.again(headers={})
    elif forgery == "no nonce":
        sent = plivo.again(headers={"X-Plivo-Signature-V3": headers["X-Plivo-Signature-V3"]})
    elif forgery == "wrong token":
        sent = plivo.send(path, token="somebody-elses", **form)
    elif forgery == "altered field":
        sent = plivo.again(body=body.replace(b"Ring", b"Ping"))
    elif forgery == "added field":
        sent = plivo.again(body=body + b"&Machine=true")
    else:
        sent = plivo.again(path=other)
    assert sent.status_code == 403
    assert everything() == before
    assert not WebhookEvent.objects.filter(nonce=nonce).exists()
    assert EdgeRefusal.objects.get(edge="webhook").count == 1
    assert EdgeRefusal.objects.get().remedy
    record_property("forged, altered or unsigned webhooks refused", 1)


@pytest.mark.parametrize("header", ["X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"])
def test_either_signature_header_is_enough(number, header):
    plivo = Carrier(number.plivo_account)
    assert plivo.send("/plivo/hangup/", header=header, CallUUID="x", Direction="outbound").status_code == 200


def test_the_token_of_another_account_does_not_open_a_numbers_address(number):
    other = factories.PlivoAccountFactory()
    assert Carrier(other).ring(number.number).status_code == 403
    assert not Call.objects.exists()


def test_a_subaccounts_request_may_be_signed_by_its_main_account(number):
    account = number.plivo_account
    account.auth_id = "SA" + account.auth_id[2:]
    account.save()
    main = factories.PlivoAccountFactory()
    plivo = Carrier(main)
    assert plivo.ring(number.number, header="X-Plivo-Signature-Ma-V3").status_code == 200


def test_the_environments_account_counts_and_becomes_a_row_without_its_token(settings, number):
    settings.PLIVO_AUTH_ID = "MAENVENVENVENVENVENV"
    settings.PLIVO_AUTH_TOKEN = "token-of-the-environment"
    account = factories.PlivoAccountFactory.build(auth_id=settings.PLIVO_AUTH_ID, auth_token=settings.PLIVO_AUTH_TOKEN)
    assert tags(Carrier(account).ring("+15550001111")) == ["Speak", "Hangup"]
    call = Call.objects.get()
    assert (call.plivo_account.auth_id, call.plivo_account.auth_token) == (settings.PLIVO_AUTH_ID, "")


def test_another_id_in_the_environment_is_another_account_beside_the_first(settings, number):
    settings.PLIVO_AUTH_TOKEN = "token-of-the-environment"
    for count, auth_id in enumerate(("MA" + "E" * 18, "MA" + "F" * 18), start=1):
        settings.PLIVO_AUTH_ID = auth_id
        account = factories.PlivoAccountFactory.build(auth_id=auth_id, auth_token=settings.PLIVO_AUTH_TOKEN)
        assert tags(Carrier(account).ring("+15550001111")) == ["Speak", "Hangup"]
        assert Call.objects.count() == count
        assert Call.objects.order_by("-pk").first().plivo_account.auth_id == auth_id


def test_a_token_that_cannot_be_decrypted_refuses_and_says_how_to_mend_it(settings, plivo, number):
    settings.ENCRYPTION_KEYS = LOST_KEYS
    assert plivo.ring(number.number).status_code == 403
    assert "ENCRYPTION_KEYS" in EdgeRefusal.objects.get().remedy


def test_an_address_of_one_call_does_not_take_the_reports_of_another(plivo, number, call):
    other = factories.CallFactory(phone_number=number)
    response = plivo.hang_up(path=address(call, "hangup"), call_uuid=other.plivo_call_uuid)
    assert response.status_code == 403
    fresh = factories.CallFactory(phone_number=number, plivo_call_uuid=None)
    assert plivo.hang_up(path=address(fresh, "hangup"), call_uuid=other.plivo_call_uuid).status_code == 403
    assert set(Call.objects.values_list("status", flat=True)) == {"answered"}


def test_an_address_of_no_call_is_refused(plivo):
    assert plivo.send(f"/plivo/calls/{uuid.uuid4()}/ring/", Event="Ring").status_code == 403


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=%ff%fe", "application/x-www-form-urlencoded"),
        (b"\xff\xfe\x00", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % n for n in range(5000)), "application/x-www-form-urlencoded"),
        (b"x=" + b"y" * 3_000_000, "application/x-www-form-urlencoded"),
        (b"a=%00&To=%00&CallUUID=%00%00", "application/x-www-form-urlencoded"),
        (b"CallUUID=%F0%9F%98%80&ParentAuthID=" + b"A" * 9000, "application/x-www-form-urlencoded"),
        (b"x", "multipart/form-data; boundary=nothing"),
        (b"x", "multipart/form-data"),
        (b"a=b", "application/x-www-form-urlencoded; charset=nonsense"),
        (b"{" * 50_000, "application/json"),
        (b'{"a": "\\ud800", "To": "\\ud800", "CallUUID": "\\u0000"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"", ""),
    ],
)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(
    "path", ["/plivo/answer/", "/plivo/hangup/", "/plivo/fallback/", "/plivo/calls/{}/stream-status/"]
)
def test_a_malformed_body_is_refused_without_a_fault_of_ours(plivo, call, body, content_type, path, signed):
    http = Client()  # raises what a view raises
    headers = {"X-Plivo-Signature-V3": "eA==", "X-Plivo-Signature-V3-Nonce": "1"} if signed else {}
    response = http.generic("POST", path.format(call.public_id), body, content_type=content_type, headers=headers)
    assert response.status_code in ({400, 403} if signed else {403})
    assert not WebhookEvent.objects.exists()


class Body:
    """A body without end, as chunks of unknown number come in; counts what is read of it."""

    def __init__(self):
        self.asked = 0

    def read(self, size=-1):
        assert size >= 0, "all of it"
        self.asked += size
        return b"x" * size

    def close(self):
        pass


def test_of_a_request_without_a_signature_nothing_is_read_and_nothing_looked_up(settings, django_assert_num_queries):
    from django.core.handlers.asgi import ASGIRequest  # noqa: PLC0415

    scope = {"type": "http", "method": "POST", "path": "/plivo/answer/", "raw_path": b"/plivo/answer/", "headers": []}
    body = Body()
    with django_assert_num_queries(0), pytest.raises(intake.Refused, match="missing_headers") as refused:
        intake.receive(ASGIRequest(scope, body), kind="answer", public_id=None, now=None)
    assert (refused.value.status, body.asked) == (403, 0)


def test_a_body_without_end_is_read_no_further_than_its_bound(django_assert_num_queries):
    from django.core.handlers.asgi import ASGIRequest  # noqa: PLC0415

    headers = [(b"x-plivo-signature-v3", b"eA=="), (b"x-plivo-signature-v3-nonce", b"1")]
    scope = {"type": "http", "method": "POST", "path": "/plivo/answer/", "headers": headers}
    body = Body()
    with django_assert_num_queries(0), pytest.raises(intake.Refused, match="malformed") as refused:
        intake.receive(ASGIRequest(scope, body), kind="answer", public_id=None, now=None)
    assert (refused.value.status, body.asked) == (400, intake.MAX_BODY + 1)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"a=%ff%fe", "application/x-www-form-urlencoded"),
        (b"&".join(b"f%d=1" % n for n in range(5000)), "application/x-www-form-urlencoded"),
        (b"x=" + b"y" * 200_000, "application/x-www-form-urlencoded"),
        (b'{"Event":' + b"[" * 900 + b"]" * 900 + b"}", "application/json"),
        (b'{"Event":' + b"9" * 5000 + b"}", "application/json"),
        (b'{"Event":"\xff"}', "application/json"),
    ],
)
def test_a_signed_request_that_is_no_form_is_told_so(plivo, call, body, content_type):
    *_, headers = plivo.sign(address(call, "stream-status"))
    send = functools.partial(Client().generic, "POST", address(call, "stream-status"), headers=headers)
    status = send(body, content_type=content_type).status_code
    assert status == (200 if body.startswith(b'{"Event":[') else 400)


@pytest.mark.parametrize("name", CALL_ADDRESSES)
def test_a_signature_of_the_address_alone_carries_no_content_but_a_stream_event(plivo, call, name):
    *_, headers = plivo.sign(address(call, name))  # as for a POST without a form
    before = everything()
    forged = b'{"Event": "Hangup", "CallStatus": "completed", "DialStatus": "busy"}'
    send = functools.partial(Client().generic, "POST", address(call, name), content_type="application/json")
    status = send(forged, headers=headers).status_code
    assert status == (200 if name == "stream-status" else 403)
    assert everything()[0] == before[0]


@pytest.mark.parametrize("body", [b"Machine=false&Machine=true", b"Machine=true&Machine=false"])
def test_every_value_of_a_repeated_field_is_signed_and_the_last_one_counts(plivo, call, body):
    from calls.telephony.signatures import base_string, sign  # noqa: PLC0415

    path = address(call, "machine")
    base = base_string(
        method="POST", url=f"https://parley.example.com{path}", params=[("Machine", "true"), ("Machine", "false")]
    )
    headers = {
        "X-Plivo-Signature-V3": sign(base=base, nonce="5", token=plivo.token),
        "X-Plivo-Signature-V3-Nonce": "5",
    }
    send = functools.partial(Client().generic, "POST", path, content_type="application/x-www-form-urlencoded")
    assert send(b"Machine=true", headers=headers).status_code == 403
    assert send(body, headers=headers).status_code == 200
    assert CallEvent.objects.get().kind == ("machine_detected" if body.endswith(b"true") else "human_detected")


def test_unsigned_requests_are_admitted_only_by_the_setting_for_development(settings, number):
    form = {"CallUUID": "abc", "To": number.number, "From": "1"}
    assert Client().post("/plivo/answer/", form).status_code == 403
    settings.ALLOW_UNSIGNED = True
    body = "&".join(f"{name}={value.replace('+', '%2B')}" for name, value in form.items())
    response = Client().generic("POST", "/plivo/answer/", body, content_type="application/x-www-form-urlencoded")
    assert tags(response) == ["Stream", "Redirect"]
    plivo = Carrier(number.plivo_account)
    assert plivo.ring(number.number, token="wrong").status_code == 403


def test_other_methods_are_refused(plivo):
    assert plivo.http.put("/plivo/answer/").status_code == 405


def test_only_what_no_session_opens_is_exempt_from_the_csrf_check():
    from django.urls import get_resolver  # noqa: PLC0415

    found = set()

    def walk(patterns, prefix=""):
        for each in patterns:
            if hasattr(each, "url_patterns"):
                walk(each.url_patterns, prefix + str(each.pattern))
            elif getattr(each.callback, "csrf_exempt", False):
                found.add(prefix + str(each.pattern))

    walk(get_resolver().url_patterns)
    assert found
    assert all(path.startswith(("plivo/", "api/v1/")) for path in found), found


# --- replays ---------------------------------------------------------------------------------------------------------


def test_a_replayed_answer_changes_nothing_but_is_given_a_token_of_its_own(plivo, number):
    first = plivo.ring(number.number)
    calls, events, tokens, _ = everything()
    again = plivo.again()
    assert tags(again) == ["Stream", "Redirect"]
    assert token_of(again) != token_of(first)
    assert everything() == (calls, events, tokens + 1, 0)
    assert WebhookEvent.objects.count() == 1


def test_plivos_second_try_with_a_new_nonce_is_the_same_call(plivo, number):
    plivo.ring(number.number)
    plivo.ring(number.number, call_uuid=plivo.call_uuid)
    assert Call.objects.get().streams == 1


@pytest.mark.parametrize("name", ADDRESSES)
def test_a_replay_changes_nothing(plivo, number, call, name, record_property):
    fields = {
        "CallUUID": call.plivo_call_uuid,
        "To": number.number,
        "Event": "Ring",
        "Machine": "true",
        "RecordUrl": "https://media.plivo.com/a.mp3",
        "RecordingID": "r",
        "RecordingDurationMs": "100",
    }
    assert plivo.send(address(call, name), **fields).status_code == 200
    calls, events, tokens, recordings = everything()
    webhooks = WebhookEvent.objects.count()
    assert plivo.again().status_code == 200
    assert everything() == (calls, events, tokens + (name in GIVE_A_STREAM), recordings)
    assert WebhookEvent.objects.count() == webhooks
    record_property("replays without effect", 1)


@pytest.mark.parametrize("name", ["ring", "hangup", "machine", "recording", "stream-status", "dial", "after-stream"])
def test_a_try_that_comes_while_the_first_is_handled_changes_nothing_more(plivo, call, name, monkeypatch):
    fields = {"CallUUID": call.plivo_call_uuid, "Event": "Ring", "Machine": "true", "RecordingID": "r"}
    replays, receive, handle = [], intake.receive, intake._handle
    changed = []

    def overtaken(request, **more):
        received = receive(request, **more)
        if not changed:
            changed.append(None)
            assert plivo.again().status_code == 200
            changed[0] = everything()
        return received

    def watched(handler, received):
        return handle(lambda settled: replays.append(settled.replay) or handler(settled), received)

    monkeypatch.setattr(intake, "receive", overtaken)
    monkeypatch.setattr(intake, "_handle", watched)
    assert plivo.send(address(call, name), **fields, RecordUrl="https://media.plivo.com/a.mp3").status_code == 200
    assert replays == [False, True]
    calls, events, tokens, recordings = changed[0]
    assert everything() == (calls, events, tokens + (name == "after-stream"), recordings)


def test_a_used_nonce_with_another_body_is_refused(plivo, call):
    plivo.send(address(call, "machine"), nonce="77", Machine="false")
    before = everything()
    assert plivo.send(address(call, "machine"), nonce="77", Machine="true").status_code == 403
    assert plivo.send(address(call, "hangup"), nonce="77", Machine="false").status_code == 403
    assert everything() == before
    assert EdgeRefusal.objects.get().reason == "replayed"


def test_a_request_that_failed_half_way_is_applied_by_plivos_next_try(plivo, call, monkeypatch):
    from calls import lifecycle  # noqa: PLC0415

    real = lifecycle.apply
    monkeypatch.setattr(lifecycle, "apply", lambda **_: 1 / 0)
    assert plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid).status_code == 500
    event = WebhookEvent.objects.get()
    assert (event.applied_at, event.error) == (None, "ZeroDivisionError")
    monkeypatch.setattr(lifecycle, "apply", real)
    assert plivo.again().status_code == 200
    call.refresh_from_db()
    assert call.status == "ended"


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_end_of_a_call_is_written_down_with_its_cause_length_and_cost(
    plivo, call, django_capture_on_commit_callbacks
):
    Call.objects.update(live_at=timezone.now())
    with django_capture_on_commit_callbacks(execute=True):  # without a broker: the hint is lost, the call is not
        assert plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid).status_code == 200
    call.refresh_from_db()
    assert (call.status, call.outcome, call.end_reason) == ("ended", "completed", "caller_hung_up")
    assert (call.hangup_code, call.hangup_cause, call.hangup_source) == (4000, "NORMAL_CLEARING", "Caller")
    assert (call.duration_s, call.bill_duration_s, str(call.carrier_cost)) == (42, 60, "0.00850")
    assert call.deadline_at is None
    assert CallSummary.objects.get(call=call).status == "pending"


def test_the_end_asks_for_the_work_after_the_call_once(plivo, call, monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    Call.objects.update(live_at=timezone.now())
    monkeypatch.setattr("celery.current_app.send_task", lambda name, args, **_: sent.append((name, args)))
    with django_capture_on_commit_callbacks(execute=True):
        plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid)
        plivo.hang_up(path="/plivo/hangup/", call_uuid=call.plivo_call_uuid)
    assert sent == [("calls.tasks.post_call.after_call", (call.pk,))]


def test_a_ring_has_the_opening_spoken_while_there_is_time_once(plivo, call, monkeypatch):
    sent = []
    monkeypatch.setattr("celery.current_app.send_task", lambda name, args, **_: sent.append((name, args)))
    plivo.send(address(call, "ring"), Event="Ring", CallStatus="ringing", CallUUID=call.plivo_call_uuid)
    plivo.again()
    assert sent == [("streaming.tasks.prepare_opening", (call.pk,))]


def test_the_hang_up_of_an_inbound_call_is_found_by_its_uuid(plivo, number):
    plivo.ring(number.number)
    assert plivo.hang_up().status_code == 200
    assert Call.objects.get().status == "ended"


@pytest.mark.parametrize("first", ["answer", "hangup"])
def test_ring_and_end_give_the_same_row_in_either_order(plivo, number, first):
    def answer():
        return plivo.ring(number.number, call_uuid="c-1")

    def end():
        return plivo.hang_up(call_uuid="c-1", To=number.number, From="15557654321", CallerName="15557654321")

    late = None
    if first == "answer":
        answer()
        end()
    else:
        end()
        late = answer()
    call = Call.objects.get()
    assert (call.status, call.outcome, call.end_reason) == ("ended", "completed", "caller_hung_up")
    assert (call.agent, call.agent_version) == (number.agent, number.agent.published_version)
    assert (call.from_number, call.to_number, call.duration_s) == ("+15557654321", number.number, 42)
    assert call.answered_at
    assert call.ringing_at
    if late is not None:
        assert tags(late) == ["Hangup"]
        assert not StreamToken.objects.exists()


@pytest.mark.parametrize("report", [{"Event": "Hangup"}, {"CallStatus": "completed"}, {"CallStatus": "no-answer"}])
@pytest.mark.parametrize("path", ["/plivo/answer/", "answer", "after-stream", "/plivo/fallback/", "fallback"])
def test_a_hang_up_at_an_answer_address_ends_the_call_and_opens_no_stream(plivo, number, path, report):
    call = factories.CallFactory(phone_number=number)
    path = path if path.startswith("/") else address(call, path)
    form = {"Event": "", "CallStatus": ""} | report
    response = plivo.hang_up(path=path, call_uuid=call.plivo_call_uuid, **form)
    assert tags(response) == []
    call.refresh_from_db()
    assert call.status == "ended"
    assert not StreamToken.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"Duration": "-1", "BillDuration": "many", "HangupCauseCode": "NaN", "TotalCost": "Infinity"},
        {"Duration": "1e30", "BillDuration": "9" * 40, "HangupCauseCode": "99999999999", "TotalCost": "1e9"},
        {"Duration": "", "HangupCause": "x" * 5000, "HangupSource": "\x00\x01y" * 90, "HangupCauseCode": ""},
    ],
)
def test_odd_values_of_a_genuine_report_do_not_lose_the_end(plivo, call, fields):
    assert plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid, **fields).status_code == 200
    call.refresh_from_db()
    assert call.status == "ended"


# --- outbound --------------------------------------------------------------------------------------------------------


def test_an_outbound_call_goes_its_way_from_ring_to_stream(plivo, number):
    call = factories.CallFactory(
        phone_number=number,
        direction="outbound",
        status="unknown",
        plivo_call_uuid=None,
        ringing_at=None,
        answered_at=None,
        streams=0,
    )
    ids = {"CallUUID": "u-1", "RequestUUID": "r-1", "Direction": "outbound"}
    plivo.send(address(call, "ring"), Event="Ring", CallStatus="ringing", **ids)
    call.refresh_from_db()
    assert (call.status, call.plivo_call_uuid, call.plivo_request_uuid) == ("ringing", "u-1", "r-1")
    response = plivo.send(address(call, "answer"), Event="StartApp", CallStatus="in-progress", **ids)
    assert tags(response) == ["Stream", "Redirect"]
    call.refresh_from_db()
    assert (call.status, call.streams) == ("answered", 1)
    assert call.ringing_at <= call.answered_at


@pytest.mark.parametrize("status", ["cancelled", "ended"])
def test_an_outbound_call_that_must_not_be_is_hung_up_when_it_is_picked_up(plivo, number, status):
    call = factories.CallFactory(phone_number=number, direction="outbound", status=status)
    assert tags(plivo.send(address(call, "answer"), CallStatus="in-progress")) == ["Hangup"]
    call.refresh_from_db()
    assert call.status == status
    assert not StreamToken.objects.exists()


def test_one_that_was_given_up_and_rings_while_its_number_is_called_again_is_written_down_and_not_talked_on(
    plivo, number
):
    factories.CallFactory(direction="outbound", status="live", to_number="+14155550100")
    call = factories.CallFactory(
        phone_number=number, direction="outbound", status="not_found", to_number="+14155550100", ringing_at=None
    )
    ids = {"CallUUID": call.plivo_call_uuid, "Direction": "outbound"}
    assert plivo.send(address(call, "ring"), Event="Ring", CallStatus="ringing", **ids).status_code == 200
    call.refresh_from_db()
    assert call.status == "not_found"
    assert call.ringing_at
    assert tags(plivo.send(address(call, "answer"), Event="StartApp", CallStatus="in-progress", **ids)) == ["Hangup"]
    assert plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid).status_code == 200
    call.refresh_from_db()
    assert call.status == "ended"
    assert not WebhookEvent.objects.filter(applied_at=None).exists()


def test_two_reports_at_once_of_a_call_whose_uuid_nobody_has_told_are_both_of_it(plivo, number, monkeypatch):
    call = factories.CallFactory(phone_number=number, direction="outbound", status="queued", plivo_call_uuid=None)
    owner = intake._owner

    def owner_while_the_ring_comes(*args):
        found = owner(*args)
        Call.objects.filter(pk=call.pk).update(plivo_call_uuid="the-uuid")
        return found

    monkeypatch.setattr(intake, "_owner", owner_while_the_ring_comes)
    assert plivo.hang_up(path=address(call, "hangup"), call_uuid="the-uuid").status_code == 200
    call.refresh_from_db()
    assert call.status == "ended"


def test_a_machine_that_answered_is_the_outcome_even_when_it_is_told_late(plivo, call):
    plivo.hang_up(path=address(call, "hangup"), call_uuid=call.plivo_call_uuid)
    plivo.send(address(call, "machine"), Machine="true", Event="MachineDetection")
    call.refresh_from_db()
    assert (call.status, call.outcome) == ("ended", "machine")


# --- reports ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [("RecordUrl", "RecordingID", "RecordingDurationMs"), ("record_url", "recording_id", "recording_duration_ms")],
)
def test_plivos_recording_is_noted_in_either_spelling(plivo, call, names):
    url, recording_id, duration = names
    fields = {url: "https://media.plivo.com/v1/a.mp3", recording_id: "rec-1", duration: "7560.00000"}
    assert plivo.send(address(call, "recording"), **fields).status_code == 200
    row = Recording.objects.get(call=call)
    assert (row.source, row.status, row.plivo_recording_id, row.duration_ms) == ("plivo", "pending", "rec-1", 7560)


@pytest.mark.parametrize("duration", ["", "soon", "NaN", "Infinity", "1e999", "99999999999"])
def test_a_recording_whose_length_is_no_length_is_noted_all_the_same(plivo, call, duration):
    fields = {"RecordUrl": "https://media.plivo.com/v1/a.mp3", "RecordingID": "rec-1", "RecordingDurationMs": duration}
    assert plivo.send(address(call, "recording"), **fields).status_code == 200
    assert Recording.objects.get(call=call).duration_ms == 0


def test_the_long_address_of_a_recording_is_kept_whole(plivo, call):
    url = f"https://media.plivo.com/v1/a.mp3?signature={'0' * 400}"
    plivo.send(address(call, "recording"), RecordUrl=url, RecordingID="rec-1", RecordingDurationMs="7560")
    assert Recording.objects.get(call=call).plivo_url == url


@pytest.mark.parametrize("event", ["StartStream", "StopStream", "DroppedStream", "DegradedStream", "started", "failed"])
def test_plivos_view_of_the_stream_stands_in_the_timeline_and_no_token_in_the_log(plivo, call, event):
    service = "wss://h/stream/0123456789abcdef0123456789abcdef/"
    plivo.send(address(call, "stream-status"), Event=event, ServiceURL=service, StreamID="s")
    assert CallEvent.objects.get(call=call).data["event"] == event
    assert "0123456789abcdef" not in str(WebhookEvent.objects.get().params)
    call.refresh_from_db()
    assert call.status == "answered"


@pytest.mark.parametrize("signed", ["address", "fields"])
def test_stream_events_as_json_are_taken_too(plivo, call, signed):
    import json  # noqa: PLC0415

    from calls.telephony.signatures import base_string, sign  # noqa: PLC0415

    path = address(call, "stream-status")
    fields = {"Event": "stopped", "StatusReason": "completed", "CallUUID": call.plivo_call_uuid}
    base = base_string(
        method="POST",
        url=f"https://parley.example.com{path}",
        params=list(fields.items()) if signed == "fields" else (),
    )
    headers = {
        "X-Plivo-Signature-V3": sign(base=base, nonce="5", token=plivo.token),
        "X-Plivo-Signature-V3-Nonce": "5",
    }
    response = Client().generic("POST", path, json.dumps(fields), content_type="application/json", headers=headers)
    assert response.status_code == 200
    assert CallEvent.objects.get().data == {"event": "stopped", "reason": "completed"}


# --- fallback --------------------------------------------------------------------------------------------------------


def test_the_fallback_apologises_and_ends(plivo):
    response = plivo.ring("+15550001111", path="/plivo/fallback/")
    assert tags(response) == ["Speak", "Hangup"]
    assert xml(response).find("Speak").text == answers.APOLOGY


def test_the_fallback_of_a_call_uses_what_its_agent_left_for_the_case(plivo, number):
    publish(number, fallback_number="+15550008888", apology="{{business}} is sorry.")
    call = factories.CallFactory(phone_number=number)
    response = plivo.send(address(call, "fallback"), CallUUID=call.plivo_call_uuid)
    assert tags(response) == ["Speak", "Dial"]
    assert xml(response).find("Speak").text == "Rowan Dental is sorry."
    assert xml(response).find("Dial/Number").text == "15550008888"
    assert tags(plivo.send(address(call, "dial"), DialStatus="completed")) == ["Hangup"]


def test_a_ring_whose_answer_failed_is_passed_on_to_the_agents_fallback_number_and_seen_in_the_log(
    plivo, number, monkeypatch
):
    publish(number, fallback_number="+15550008888", apology="Sorry.")

    def broken(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(answers, "conversation", broken)
    assert plivo.ring(number.number).status_code == 500
    response = plivo.ring(number.number, call_uuid=plivo.call_uuid, path="/plivo/fallback/")
    assert tags(response) == ["Speak", "Dial"]
    assert xml(response).find("Speak").text == "Sorry."
    call = Call.objects.get()
    assert (call.status, call.end_reason, call.streams) == ("answered", "stream_lost", 0)
    assert (call.to_number, call.plivo_call_uuid, call.deadline_at is None) == (number.number, plivo.call_uuid, False)
    assert [event.kind for event in CallEvent.objects.all()] == ["fallback_answered"]
    assert tags(plivo.again()) == ["Speak", "Dial"]
    assert (Call.objects.count(), CallEvent.objects.count()) == (1, 1)
    plivo.hang_up()
    call.refresh_from_db()
    assert call.status == "ended"


@pytest.mark.parametrize("known", [True, False])
def test_the_fallback_apologises_even_where_it_fails_itself(plivo, number, call, monkeypatch, known):
    def broken(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(answers, "_give_up", broken)
    path = address(call, "fallback") if known else "/plivo/fallback/"
    response = plivo.ring(number.number, call_uuid=call.plivo_call_uuid, path=path)
    assert tags(response) == ["Speak", "Hangup"]
    assert WebhookEvent.objects.get().error == "RuntimeError"


@pytest.mark.parametrize("path", ["/plivo/fallback/", "/plivo/calls/0a0b0c0d-0000-4000-8000-000000000001/fallback/"])
def test_the_fallback_needs_no_database(plivo, monkeypatch, path):
    from django.db import OperationalError, connections  # noqa: PLC0415

    def down(*_, **__):
        raise OperationalError("the database is away")

    monkeypatch.setattr(connections["default"], "cursor", down)
    http = Client()
    signed = {"X-Plivo-Signature-V3": "eA==", "X-Plivo-Signature-V3-Nonce": "1"}
    assert tags(http.post(path, headers=signed)) == ["Speak", "Hangup"]
    assert http.post(path).status_code == 403


@pytest.mark.parametrize("raw_path", [b"/plivo/answer/", b"/plivo/answer/?x=a%20b+c&y=", None])
def test_behind_an_asgi_server_the_address_is_taken_as_it_came_over_the_wire(plivo, raw_path):
    from django.core.handlers.asgi import ASGIRequest  # noqa: PLC0415

    _, target, _, headers = plivo.sign("/plivo/answer/", method="GET", x="a b c", y="")
    assert target == "/plivo/answer/?x=a+b+c&y="
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/plivo/answer/",
        "query_string": b"x=a%20b+c&y=",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    if raw_path is not None:
        scope["raw_path"] = raw_path
    intake.verify(ASGIRequest(scope, None), form=[], account=plivo.account)
    scope["query_string"] = b"x=a%20b+c&y=1"
    with pytest.raises(intake.Refused):
        intake.verify(ASGIRequest(scope, None), form=[], account=plivo.account)
