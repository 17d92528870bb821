"""People of campaigns into a new list, by what came of their calls: to be called by another campaign.

Who they are is settled when it begins; many are copied in the background (``calls.tasks.campaigns``), 500 in a
transaction that also notes how far it has come, as an import does. Who must not be called is left out.
"""

import datetime
import time
from collections.abc import Callable

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Count, F, QuerySet

from calls.campaigns.control import Refused
from calls.campaigns.figures import OUTCOMES
from calls.hints import hint
from calls.models import Campaign, CampaignContact, Contact, ContactCopy, ContactList
from calls.suppression import suppressed

CHUNK = 500
IN_BACKGROUND = 2000  # more people than these
AT_ONCE_S = 150.0  # a task has 240 s
STUCK_AFTER = datetime.timedelta(seconds=60)
MOST_GROUPS = 50
TASK = "calls.tasks.campaigns.copy_people"
COPIED = (
    "number", "country", "zones", "name", "time_zone", "region", "language", "consent", "consent_at", "consent_source",
    "variables",
)  # fmt: skip


class Group(msgspec.Struct, frozen=True):
    """People of a campaign who share their last outcome, or why they are held."""

    field: str
    value: str
    people: int

    @property
    def key(self) -> str:
        """Names it among the groups of its campaign."""
        return f"{self.field}:{self.value}"

    @property
    def said(self) -> str:
        """Who they are, in words."""
        if self.field == "outcome":
            return f"last outcome: {OUTCOMES.get(self.value, self.value)}"
        return f"held: {self.value}"


def groups(campaign: Campaign) -> list[Group]:
    """Those that there are, the largest first; at most 50 of a kind."""
    held = campaign.people.filter(state=CampaignContact.State.HELD)
    found = []
    for field, people in (("outcome", campaign.people.exclude(outcome="")), ("why", held)):
        counted = people.order_by().values_list(field).annotate(people=Count("pk")).order_by("-people", field)
        found += [Group(field, value, count) for value, count in counted[:MOST_GROUPS]]
    return found


def of_group(campaign: Campaign, group: Group) -> "QuerySet[CampaignContact]":
    """The people of a group, as it is now."""
    if group.field == "outcome":
        return campaign.people.filter(outcome=group.value)
    return campaign.people.filter(state=CampaignContact.State.HELD, why=group.value)


def start(
    people: "QuerySet[CampaignContact]", *, name: str, said: str, created_by_id: int | None, now: datetime.datetime
) -> ContactCopy:
    """Makes the list and copies the people into it: at once, or in the background if there are more than 2,000.

    Args:
        name: of the new list.
        said: who the people are, in words.

    Raises:
        Refused: nobody is among them, or there is a list of that name.
    """
    ids = list(people.order_by("pk").values_list("pk", flat=True))
    if not ids:
        raise Refused("Nobody is among them any more.")
    try:
        with transaction.atomic():
            made = ContactList.objects.create(name=name, created_by_id=created_by_id)
            copy = ContactCopy.objects.create(
                contact_list=made,
                people=ids,
                said=said[:300],
                total=len(ids),
                created_by_id=created_by_id,
                moved_at=now,
            )
    except IntegrityError:
        raise Refused(f"There is a list called “{name}” already: choose another name.") from None
    if len(ids) > IN_BACKGROUND:
        transaction.on_commit(lambda: hint(TASK, str(copy.pk)))
    else:
        run(str(copy.pk), clock=lambda: now)
    copy.refresh_from_db()
    return copy


def report(copy: ContactCopy) -> str:
    """What became of them, in sentences."""
    if copy.finished_at is None:
        return f"{copy.done:,} of {copy.total:,} people were looked at so far; you may leave this page."
    left_out = {
        "on the do-not-call list": copy.suppressed,
        "in it already by the same number": copy.doubles,
        "without data, which were erased": copy.erased,
    }
    why = "".join(f"; {count:,} left out: {what}" for what, count in left_out.items() if count)
    return f"{copy.added:,} of {copy.total:,} people were copied ({copy.said}){why}."


def due(now: datetime.datetime) -> list[str]:
    """Ids of copies that lie still: their hint was lost, or their worker died."""
    still = ContactCopy.objects.filter(finished_at=None, moved_at__lt=now - STUCK_AFTER)
    return [str(pk) for pk in still.values_list("pk", flat=True)]


def run(copy_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = AT_ONCE_S) -> bool:
    """Copies on from where it stands, for so long at most; does nothing to one that is done.

    Returns:
        whether there are more to copy.
    """
    copy = ContactCopy.objects.filter(pk=copy_id, finished_at=None).first()
    if copy is None:
        return False
    until = time.monotonic() + seconds
    for done in range(copy.done, len(copy.people), CHUNK):
        if time.monotonic() > until:
            return True
        if not _take(copy, copy.people[done : done + CHUNK], done=done, now=clock()):
            return False  # another worker has it
    ContactCopy.objects.filter(pk=copy.pk, finished_at=None).update(finished_at=clock(), people=[])
    return False


def _take(copy: ContactCopy, ids: list[int], *, done: int, now: datetime.datetime) -> bool:
    """Copies some; False when they were copied by somebody else."""
    found = list(Contact.objects.filter(campaigns_of__in=ids).order_by("campaigns_of__pk"))
    people = {contact.number: contact for contact in reversed(found)}  # of a number that comes twice the first counts
    unwanted = suppressed(people)
    with transaction.atomic():
        mine = ContactCopy.objects.filter(pk=copy.pk, finished_at=None, done=done)
        if not mine.update(done=done + len(ids), moved_at=now):
            return False
        in_list = Contact.objects.filter(contact_list=copy.contact_list_id, number__in=people)
        left_out = unwanted | set(in_list.values_list("number", flat=True))
        # In one order for all who add to the list, so that of two at once neither waits for the other in turn.
        new = [people[number] for number in sorted(people) if number not in left_out]
        Contact.objects.bulk_create(
            Contact(contact_list_id=copy.contact_list_id, **{name: getattr(contact, name) for name in COPIED})
            for contact in new
        )
        ContactCopy.objects.filter(pk=copy.pk).update(
            added=F("added") + len(new),
            suppressed=F("suppressed") + len(unwanted),
            erased=F("erased") + len(ids) - len(found),
            doubles=F("doubles") + len(found) - len(new) - len(unwanted),
        )
    return True
