"""A running campaign with people in it, at a moment when everybody may be called."""

import datetime

import pytest
from django.db.models import F
from django.utils import timezone

from agents import health
from calls import admission
from calls.campaigns import control, rounds
from calls.models import Call, Campaign, CampaignContact, Contact, ContactList
from tests import factories

# A Thursday, noon in New York; Thanksgiving, too, on which campaigns call that say so.
NOON = datetime.datetime(2026, 11, 26, 17, tzinfo=datetime.UTC)
ZONE = "America/New_York"


class Making:
    """Makes people and campaigns; whoever is made may be called at NOON unless told otherwise."""

    def __init__(self) -> None:
        self._count = 0

    def people(self, count: int = 1, **fields) -> ContactList:
        made = ContactList.objects.create(name=f"List {ContactList.objects.count()}")
        for _ in range(count):
            self._count += 1
            number = f"+1415555{self._count:04}"
            defaults = {"number": number, "country": "US", "time_zone": ZONE, "region": "NY", "consent": "written"}
            Contact.objects.create(contact_list=made, **(defaults | fields))
        # A launch at NOON takes whoever was there, one after the other as they were made.
        made.contacts.update(created_at=F("created_at") - (timezone.now() - NOON))
        return made

    def campaign(self, people: ContactList | None = None, *, caller=None, launched: bool = True, **fields) -> Campaign:
        caller = caller or factories.PhoneNumberFactory()
        defaults = {"purpose": "service", "countries": ["US"], "agent": caller.agent, "on_holidays": True}
        made = Campaign.objects.create(name=f"Campaign {Campaign.objects.count()}", **(defaults | fields))
        made.contact_lists.add(people or self.people())
        made.caller_numbers.add(caller)
        if launched:
            control.launch(made, now=NOON)
            rounds.run(str(made.pk), clock=lambda: NOON)
            made.refresh_from_db()
        return made


@pytest.fixture
def from_noon(monkeypatch) -> None:
    """Clocks show NOON and go on from there, those of webhooks too: real people may not be called whenever we test."""
    real, begun = timezone.now, timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: NOON + (real() - begun))


@pytest.fixture
def somebody_to_talk(monkeypatch) -> None:
    """Streams have room and providers serve, as far as the dialler is told."""
    monkeypatch.setattr(admission, "room", lambda: None)
    monkeypatch.setattr(health, "out_of_use", lambda _spec: [])


@pytest.fixture
def make(monkeypatch) -> Making:
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    return Making()


def only_person() -> CampaignContact:
    return CampaignContact.objects.select_related("contact", "campaign").get()


def rung(person: CampaignContact, *, attempt: int = 1, at: datetime.datetime = NOON, **fields) -> Call:
    """A call of this person that is over; it was answered unless told otherwise."""
    defaults = {"status": "ended", "outcome": "completed", "duration_s": 60, "created_at": at, "ended_at": at}
    return Call.objects.create(
        direction="outbound", campaign=person.campaign, campaign_person=person, to_number=person.number,
        attempt=attempt, agent=person.campaign.agent, **(defaults | fields),
    )  # fmt: skip
