"""Numbers and accounts against a faithful Plivo: test, sync, connect, hang up, and faults in an operator's words."""

import pytest

from calls import phone
from calls.models import PhoneNumber, PlivoAccount
from calls.telephony import client as client_module
from calls.telephony.base import CarrierError, Failure
from calls.telephony.client import PlivoClient
from tests import factories
from tests.calls.sandbox_thread import DEMO_AUTH_ID, DEMO_AUTH_TOKEN, DEMO_NUMBER, sandbox_in_a_thread

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db]


@pytest.fixture(scope="module")
def plivo():
    with sandbox_in_a_thread(parts=frozenset({"plivo"}), time_scale=0.02) as box:
        yield box


@pytest.fixture
def box(plivo):
    plivo.reset()
    return plivo


@pytest.fixture
def account(box):
    return factories.PlivoAccountFactory(auth_id=DEMO_AUTH_ID, auth_token=DEMO_AUTH_TOKEN, api_url=box.url)


def test_an_account_that_works_is_said_to_work_and_noted(account):
    ok, message = phone.test_account(account)
    account.refresh_from_db()
    assert ok
    assert message.startswith("Connected")
    assert (account.test_ok, account.test_message, bool(account.tested_at)) == (True, message, True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"auth_token": "wrong"}, "auth id and token"),
        ({"auth_id": "MA000000000000000000"}, "auth id and token"),
        ({"auth_id": "nonsense"}, "auth id and token"),
        ({"api_url": "http://127.0.0.1:1"}, "could not be reached"),
        ({"api_url": "/control"}, ""),
    ],
)
def test_an_account_that_does_not_work_is_told_what_to_mend(account, box, changes, words):
    for name, value in changes.items():
        setattr(account, name, box.url + value if value.startswith("/") else value)
    account.save()
    ok, message = phone.test_account(account)
    account.refresh_from_db()
    assert not ok
    assert words in message
    assert account.test_ok is False
    assert "wrong" not in message


def test_the_environments_account_is_used_with_the_environments_token(settings, box):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = DEMO_AUTH_ID, DEMO_AUTH_TOKEN
    settings.PLIVO_API_URL = box.url
    account = phone.environment_account()
    assert phone.environment_account() == account
    assert account.auth_token == ""
    assert phone.test_account(account)[0]


FETCH = "/admin/calls/phonenumber/fetch/"


@pytest.mark.django_db(transaction=True)
def test_with_nothing_but_the_environment_an_operator_fetches_the_numbers_and_tests_the_account(
    admin_page, settings, box
):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = DEMO_AUTH_ID, DEMO_AUTH_TOKEN
    settings.PLIVO_API_URL = box.url
    fetched = admin_page.post(FETCH, follow=True).content.decode()
    assert f"{DEMO_AUTH_ID} (environment): 1 new numbers" in fetched
    assert PhoneNumber.objects.get().plivo_account.auth_id == DEMO_AUTH_ID
    PlivoAccount.objects.update(test_ok=None)
    account = PlivoAccount.objects.get()
    address = f"/admin/calls/plivoaccount/{account.pk}/change/"
    form = {"name": account.name, "auth_id": DEMO_AUTH_ID, "auth_token": "", "api_url": ""}
    tested = admin_page.post(address, form | {"calls_plivoaccount_test_connection": ""}, follow=True).content.decode()
    assert "Connected to the" in tested
    assert "from the environment" in tested


@pytest.mark.django_db(transaction=True)
def test_after_the_id_in_the_environment_changed_the_new_account_works_and_the_old_one_says_what_it_lacks(
    admin_page, settings, box
):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = "MA" + "O" * 18, "the-old-token"
    settings.PLIVO_API_URL = box.url
    phone.environment_account()
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = DEMO_AUTH_ID, DEMO_AUTH_TOKEN
    fetched = admin_page.post(FETCH, follow=True).content.decode()
    assert f"{DEMO_AUTH_ID} (environment): 1 new numbers" in fetched
    assert f"MA{'O' * 18} (environment): The account has no auth token: enter it under Plivo accounts." in fetched


@pytest.mark.parametrize("auth_id", [DEMO_AUTH_ID, "MA000000000000000000"])
def test_the_environments_token_is_never_sent_to_an_address_of_an_account_of_its_own(
    settings, box, monkeypatch, auth_id
):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = DEMO_AUTH_ID, DEMO_AUTH_TOKEN
    # Plivo's library looks there by itself.
    monkeypatch.setenv("PLIVO_AUTH_ID", DEMO_AUTH_ID)
    monkeypatch.setenv("PLIVO_AUTH_TOKEN", DEMO_AUTH_TOKEN)
    account = factories.PlivoAccountFactory(auth_id=auth_id, auth_token="", api_url=box.url)
    ok, message = phone.test_account(account)
    assert not ok
    assert "has no auth token" in message


def test_a_sync_takes_over_the_rented_numbers_and_keeps_their_agents(account, box):
    gone = factories.PhoneNumberFactory(plivo_account=account, points_here=True)
    synced = phone.sync_numbers(account)
    assert (synced.added, synced.known, synced.gone) == (1, 0, 1)
    number = PhoneNumber.objects.get(number=f"+{DEMO_NUMBER}")
    assert (number.plivo_account, number.points_here) == (account, False)
    assert number.synced_at
    gone.refresh_from_db()
    assert gone.points_here is False
    number.agent = factories.AgentFactory()
    number.save()
    history = number.history.count()
    again = phone.sync_numbers(account)
    assert (again.added, again.known) == (0, 1)
    assert PhoneNumber.objects.get(pk=number.pk).agent == number.agent
    assert number.history.count() == history


def test_connecting_a_number_makes_one_application_with_every_url_and_a_second_time_mends_it(account, box, settings):
    settings.PUBLIC_URL = "https://parley.example.com"
    phone.sync_numbers(account)
    number = PhoneNumber.objects.get()
    phone.connect_number(number)
    account.refresh_from_db()
    with phone.client_for(account) as client:
        before = list(client.applications())
        application = next(each for each in before if each.app_id == account.application_id)
        assert application.answer_url.startswith("https://parley.example.com/plivo/answer/")
        assert application.hangup_url.startswith("https://parley.example.com/plivo/hangup/")
        assert application.fallback_url.startswith("https://parley.example.com/plivo/fallback/")
        rented = next(client.numbers())
        assert rented.application_id == account.application_id
        client.update_application(app_id=account.application_id, urls={"answer_url": "https://elsewhere.example/"})
        phone.sync_numbers(account)
        assert PhoneNumber.objects.get().points_here is False
        phone.connect_number(number)
        phone.sync_numbers(account)
        assert PhoneNumber.objects.get().points_here is True
        assert len(list(client.applications())) == len(before)


def test_an_application_whose_creation_was_never_noted_is_found_again_by_its_name(account, box):
    phone.sync_numbers(account)
    number = PhoneNumber.objects.get()
    phone.connect_number(number)
    account.refresh_from_db()
    first = account.application_id
    PlivoAccount.objects.update(application_id="")
    phone.connect_number(PhoneNumber.objects.get())
    account.refresh_from_db()
    assert account.application_id == first


def test_an_application_that_was_deleted_at_plivo_is_made_anew(account, box):
    phone.sync_numbers(account)
    PlivoAccount.objects.update(application_id="12345678901234567")
    phone.connect_number(PhoneNumber.objects.get())
    account.refresh_from_db()
    assert account.application_id != "12345678901234567"


def test_an_id_with_a_slash_names_no_other_resource(account, box, monkeypatch):
    asked = []
    real = client_module.requests.Session.send
    monkeypatch.setattr(
        client_module.requests.Session,
        "send",
        lambda session, request, **more: asked.append(request.url) or real(session, request, **more),
    )
    with phone.client_for(account) as client:
        client.hang_up(f"../Number/{DEMO_NUMBER}?a=#b")
        assert [number.number for number in client.numbers()] == [f"+{DEMO_NUMBER}"]
    assert asked[0].endswith(f"/Call/..%2FNumber%2F{DEMO_NUMBER}%3Fa%3D%23b/")


@pytest.mark.parametrize(("fault", "failure"), [("rest_500", Failure.SERVER_ERROR), ("rest_429", Failure.RATE_LIMITED)])
def test_a_refused_request_is_sent_once_and_never_again_elsewhere(account, box, fault, failure, monkeypatch):
    sent = []
    real = client_module.requests.Session.send
    monkeypatch.setattr(
        client_module.requests.Session, "send", lambda *args, **more: sent.append(args) or real(*args, **more)
    )
    box.faults(rest_scope="all", **{fault: 5})
    try:
        with phone.client_for(account) as client, pytest.raises(CarrierError) as caught:
            client.create_application(name="x", urls={"answer_url": "https://h.example/"})
    finally:
        box.faults(rest_scope=None, **{fault: None})
    assert caught.value.failure is failure
    assert len(sent) == 1


def test_calls_that_plivo_does_not_know_are_none_and_no_fault(account):
    with phone.client_for(account) as client:
        assert client.running_call("no-such-call") is None
        assert client.call_record("no-such-call") is None
        assert client.recordings("no-such-call") == []
        client.hang_up("no-such-call")


def test_an_operators_hang_up_ends_the_call_at_plivo_and_gives_it_no_other_stream(account, box, monkeypatch):
    ended = []
    monkeypatch.setattr(PlivoClient, "hang_up", lambda _self, call_uuid: ended.append(call_uuid))
    number = factories.PhoneNumberFactory(plivo_account=account)
    call = factories.CallFactory(phone_number=number, status="live")
    phone.hang_up(call)
    call.refresh_from_db()
    assert ended == [call.plivo_call_uuid]
    assert (call.status, call.end_reason) == ("live", "operator")
    assert call.stream_ended_at


def test_a_call_that_is_not_at_plivo_cannot_be_hung_up_there():
    call = factories.CallFactory(plivo_call_uuid=None)
    with pytest.raises(ValueError, match="not at Plivo"):
        phone.hang_up(call)
