"""Large campaigns are launched only after a second person has looked: neither who planned them nor who launches them.

An approval is bound to a fingerprint of all that was planned: every field that an operator can change, the agent's
version, the numbers called from, the lists with their sizes and latest additions. Whatever is changed later voids it.
"""

import hashlib

import msgspec
from django.conf import settings
from django.db.models import Count, Max

from calls.models import Approval, Campaign, Contact


class Standing(msgspec.Struct, frozen=True):
    """Whether a campaign needs an approval, and which it has.

    Attributes:
        needed: without one it is not launched.
        people: rows of its lists.
        above: so many need none.
        fingerprint: of the plan as it is.
        valid: approvals of this very plan by others than who made it.
        void: of what it was before.
    """

    needed: bool
    people: int
    above: int
    fingerprint: str
    valid: list[Approval]
    void: list[Approval]

    def allows(self, launcher_id: int | None) -> bool:
        """Whether this person may launch it: it was approved by somebody else, or needs no approval."""
        return not self.needed or any(each.approved_by_id != launcher_id for each in self.valid)


def standing(campaign: Campaign) -> Standing:
    """As the database has it now; hold the campaign's lock where it must stay so."""
    people = Contact.objects.filter(contact_list__in=campaign.contact_lists.all()).count()
    seen = fingerprint(campaign)
    found = list(campaign.approvals.select_related("approved_by").filter(approved_by__isnull=False))
    found = [each for each in found if each.approved_by_id != campaign.created_by_id]
    return Standing(
        needed=people > settings.APPROVAL_ABOVE or not settings.APPROVAL_ABOVE,
        people=people,
        above=settings.APPROVAL_ABOVE,
        fingerprint=seen,
        valid=[each for each in found if each.fingerprint == seen],
        void=[each for each in found if each.fingerprint != seen],
    )


def fingerprint(campaign: Campaign) -> str:
    """64 hex digits of all that is planned."""
    plan = {
        field.attname: getattr(campaign, field.attname) for field in Campaign._meta.concrete_fields if field.editable
    }
    plan["agent_version_id"] = campaign.agent_version_id or campaign.agent.published_version_id
    lists = campaign.contact_lists.order_by("pk").annotate(people=Count("contacts"), latest=Max("contacts__created_at"))
    plan["lists"] = list(lists.values_list("pk", "people", "latest"))
    plan["callers"] = list(campaign.caller_numbers.order_by("pk").values_list("pk", flat=True))
    return hashlib.sha256(msgspec.json.encode(plan, order="deterministic")).hexdigest()
