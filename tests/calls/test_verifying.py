"""A code that is entered on the right phone, within three tries and ten minutes; anything else confirms nothing."""

import datetime
import uuid

import pytest
from django.utils import timezone

from calls import lifecycle, one_off, suppression, trying_out, verifying
from calls.campaigns import control
from calls.models import Call, CallEvent, Contact, ContactList, OneOffCall, VerifiedNumber, WebhookEvent
from calls.states import Facts
from tests import factories
from tests.calls.campaigns.conftest import NOON, make  # noqa: F401  (a fixture)
from tests.calls.carrier import Carrier, tags, xml

pytestmark = [pytest.mark.db, pytest.mark.django_db]

ANNA = "+14155552671"


@pytest.fixture(autouse=True)
def _at_noon(settings, monkeypatch):
    settings.PUBLIC_URL = "https://parley.example.com"
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    monkeypatch.setattr(timezone, "now", lambda: NOON)


@pytest.fixture
def caller():
    return factories.PhoneNumberFactory()


@pytest.fixture
def number(db) -> VerifiedNumber:
    return VerifiedNumber.objects.create(
        user=factories.UserFactory(), number=ANNA, country="US", zones=["America/New_York"], region="NY"
    )


class Ringing:
    """The call that confirms a number, as Plivo tells of it."""

    def __init__(self, number, caller) -> None:
        self.code = verifying.begin(number, caller=caller, now=NOON)
        number.refresh_from_db()
        self.number, self.call = number, number.call
        Call.objects.filter(pk=self.call.pk).update(status="ringing", plivo_call_uuid="u-1")
        self.plivo = Carrier(caller.plivo_account)

    def send(self, address: str, **fields):
        return self.plivo.send(f"/plivo/calls/{self.call.public_id}/{address}/", CallUUID="u-1", **fields)

    def enter(self, digits: str):
        return self.send("digits", Digits=digits, Event="Redirect")

    def verified(self) -> bool:
        self.number.refresh_from_db()
        return self.number.verified_at is not None

    @property
    def wrong(self) -> str:
        return self.code[:-1] + str((int(self.code[-1]) + 1) % 10)


@pytest.fixture
def ringing(number, caller) -> Ringing:
    return Ringing(number, caller)


def said(response) -> str:
    return " ".join(element.text for element in xml(response).iter("Speak"))


def test_whoever_picks_up_is_asked_for_the_code_of_the_screen(ringing):
    response = ringing.send("answer", CallStatus="in-progress", Event="StartApp")
    assert tags(response) == ["GetDigits", "Speak", "Hangup"]
    asked = xml(response).find("GetDigits")
    assert (asked.get("numDigits"), asked.get("action").partition("#")[0]) == (
        "6",
        f"https://parley.example.com/plivo/calls/{ringing.call.public_id}/digits/",
    )
    assert "enter the code shown on your screen" in asked.find("Speak").text
    ringing.call.refresh_from_db()
    assert (ringing.call.status, ringing.call.streams) == ("answered", 0)
    assert tags(ringing.plivo.again()) == ["GetDigits", "Speak", "Hangup"]


def test_the_code_confirms_the_number_and_is_kept_nowhere(ringing):
    response = ringing.enter(ringing.code)
    assert tags(response) == ["Speak", "Hangup"]
    assert ringing.verified()
    assert said(response) == verifying.CONFIRMED
    rows = [str(list(model.objects.values())) for model in (VerifiedNumber, WebhookEvent, OneOffCall, CallEvent)]
    assert ringing.code not in " ".join(rows)
    assert said(ringing.plivo.again()) == verifying.CONFIRMED


def test_three_wrong_codes_end_it_and_the_right_one_comes_too_late(ringing):
    for _ in range(2):
        response = ringing.enter(ringing.wrong)
        assert tags(response) == ["Speak", "GetDigits", "Speak", "Hangup"]
    ringing.plivo.again()
    ringing.number.refresh_from_db()
    assert ringing.number.tries == 2, "a replay is no try"
    assert tags(ringing.enter("12")) == ["Speak", "Hangup"]
    assert said(ringing.enter(ringing.code)) == verifying.REFUSED
    assert not ringing.verified()


def test_no_code_begins_with_the_key_that_opts_out():
    codes = [verifying._drawn() for _ in range(500)]
    assert {code[0] for code in codes} == set("012345678")
    assert {digit for code in codes for digit in code[1:]} == set("0123456789")
    assert {len(code) for code in codes} == {6}


def test_after_ten_minutes_the_code_counts_no_more(ringing, monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOON + verifying.VALID)
    assert said(ringing.enter(ringing.code)) == verifying.REFUSED
    assert not ringing.verified()


def test_the_code_of_an_earlier_call_confirms_nothing(ringing, caller):
    lifecycle.apply(call_id=ringing.call.pk, facts=Facts(status="ended", ended_at=NOON))
    verifying.begin(ringing.number, caller=caller, now=NOON)
    assert tags(ringing.enter(ringing.code)) == ["Hangup"]
    assert not ringing.verified()


def test_nine_opts_out_and_ends_it(ringing):
    assert said(ringing.enter("9")) == verifying.OPTED_OUT
    assert suppression.is_suppressed(ANNA)
    assert said(ringing.enter(ringing.code)) == verifying.REFUSED
    assert not ringing.verified()


def test_nine_counts_however_often_it_is_pressed(ringing):
    assert said(ringing.enter("99")) == verifying.OPTED_OUT
    assert suppression.is_suppressed(ANNA)


def test_nine_counts_though_the_number_was_taken_back_while_it_rang(ringing):
    VerifiedNumber.objects.all().delete()
    assert said(ringing.enter("9")) == verifying.OPTED_OUT
    assert suppression.is_suppressed(ANNA)
    assert tags(ringing.enter("123456")) == ["Hangup"]


def test_a_forged_entry_changes_nothing(ringing):
    ringing.plivo.token = "another"
    assert ringing.enter(ringing.code).status_code == 403
    ringing.number.refresh_from_db()
    assert (ringing.number.tries, ringing.number.verified_at) == (0, None)


def test_nobody_is_rung_for_it_outside_the_hours_or_a_second_time_at_once(number, caller):
    with pytest.raises(one_off.Refused, match="outside the hours"):
        verifying.begin(number, caller=caller, now=NOON.replace(hour=3))
    number.refresh_from_db()
    assert (number.call, number.code_hash) == (None, "")
    verifying.begin(number, caller=caller, now=NOON)
    with pytest.raises(one_off.Refused, match="under way"):
        verifying.begin(number, caller=caller, now=NOON)


def test_an_operator_has_so_many_numbers_rung_a_day(number, caller, monkeypatch):
    monkeypatch.setattr(verifying, "MOST_A_DAY", 1)
    verifying.begin(number, caller=caller, now=NOON)
    number.pk, number.number = uuid.uuid4(), "+14155552672"
    number.save(force_insert=True)
    with pytest.raises(one_off.Refused, match="go on tomorrow"):
        verifying.begin(number, caller=caller, now=NOON)


def test_the_code_of_a_call_that_nobody_may_answer_is_not_asked_for(ringing):
    control.throw_switch(user_id=None, why="", now=NOON)
    assert tags(ringing.send("answer", CallStatus="in-progress", Event="StartApp")) == ["Hangup"]


# --- a campaign is tried out -----------------------------------------------------------------------------------------


@pytest.fixture
def confirmed(number) -> VerifiedNumber:
    number.verified_at = NOON
    number.save()
    return number


def test_a_campaign_calls_its_operator_with_somebodys_data_whatever_its_own_hours(make, confirmed):  # noqa: F811
    people = make.people(name="Jane", variables={"order_no": "A-17"})
    campaign = make.campaign(
        people,
        launched=False,
        week=[[]] * 7,
        countries=[],
        purpose="promotional",
        on_machine="go_on",
        longest_call_s=60,
    )
    call = trying_out.call(campaign, number=confirmed, sample=Contact.objects.get(), now=NOON)
    assert (call.to_number, call.variables, call.campaign) == (ANNA, {"order_no": "A-17"}, None)
    assert (call.from_number, call.started_by) == (campaign.caller_numbers.get().number, confirmed.user)
    assert (call.one_off.origin, call.one_off.on_machine, call.longest_s) == ("test", "go_on", 60)


def test_the_laws_hours_hold_for_a_test_too(make, confirmed):  # noqa: F811
    campaign = make.campaign(launched=False)
    with pytest.raises(one_off.Refused, match="outside the hours"):
        trying_out.call(campaign, number=confirmed, sample=Contact.objects.get(), now=NOON.replace(hour=3))


def test_a_number_that_was_not_confirmed_is_not_called(make, number):  # noqa: F811
    campaign = make.campaign(launched=False)
    with pytest.raises(one_off.Refused, match="not confirmed"):
        trying_out.call(campaign, number=number, sample=Contact.objects.get(), now=NOON)


def test_more_tests_in_a_day_than_others_may_be_called(make, confirmed):  # noqa: F811
    campaign = make.campaign(launched=False)
    for minutes in range(5):
        now = NOON + datetime.timedelta(minutes=minutes)
        call = trying_out.call(campaign, number=confirmed, sample=Contact.objects.get(), now=now)
        lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=now, answered_at=now))
    assert Call.objects.count() == 5


@pytest.mark.parametrize("lacks", ["agent", "caller"])
def test_what_a_campaign_lacks_for_a_test_is_said(make, confirmed, lacks):  # noqa: F811
    campaign = make.campaign(launched=False)
    if lacks == "agent":
        campaign.agent = factories.AgentFactory()
    else:
        campaign.caller_numbers.clear()
    with pytest.raises(one_off.Refused, match=r"never published|no number"):
        trying_out.call(campaign, number=confirmed, sample=Contact.objects.get(), now=NOON)


def test_some_people_are_offered_not_all(make):  # noqa: F811
    campaign = make.campaign(make.people(trying_out.SAMPLES + 5), launched=False)
    assert len(trying_out.samples(campaign)) == trying_out.SAMPLES
    assert ContactList.objects.count() == 1
