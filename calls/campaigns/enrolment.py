"""The people of a campaign's lists are put into it at its launch. Called by ``rounds``, some hundreds at a time."""

import datetime
from functools import partial

from calls.campaigns import claims
from calls.campaigns.chunks import CHUNK, Chunk
from calls.models import Campaign, CampaignContact, Contact


def chunk(campaign: Campaign, after: str, *, now: datetime.datetime) -> Chunk | None:
    """Whoever was in its lists at the launch and comes next, with what is known of when they are due.

    List by list, so that an index leads to them however many there are. Safe to repeat: whoever is in the campaign,
    from another list too, stays as they are.
    """
    its, _, last = after.partition("/")
    lists = campaign.contact_lists.order_by("pk")
    for list_id in (lists.filter(pk__gte=its) if its else lists).values_list("pk", flat=True):
        there = Contact.objects.filter(contact_list=list_id, created_at__lte=campaign.launched_at).order_by("pk")
        contacts = list((there.filter(pk__gt=last) if str(list_id) == its else there)[:CHUNK])
        if contacts:
            rows = [
                CampaignContact(
                    campaign=campaign,
                    contact=contact,
                    number=contact.number,
                    changed_at=now,
                    **claims.standing(found)._asdict(),
                )
                for contact, found in claims.forecast(campaign, contacts, now=now)
            ]
            return Chunk(f"{list_id}/{contacts[-1].pk}", len(contacts), partial(_write, campaign, rows))
    return None


def _write(campaign: Campaign, rows: list[CampaignContact]) -> None:
    known = set(campaign.people.filter(number__in=[row.number for row in rows]).values_list("number", flat=True))
    CampaignContact.objects.bulk_create((row for row in rows if row.number not in known), ignore_conflicts=True)
