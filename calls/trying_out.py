"""A campaign calls its operator first: one call of its agent, with somebody's data, to a number that they confirmed.

Whenever the law lets that number be called: the campaign's hours, countries and standing do not count.
"""

import datetime

from calls import one_off, verifying
from calls.models import Call, Campaign, Contact, OneOffCall, VerifiedNumber
from calls.one_off import Refused

SAMPLES = 20


def samples(campaign: Campaign) -> list[Contact]:
    """Some people of its lists, with whose data it can be tried out."""
    found = Contact.objects.filter(contact_list__in=campaign.contact_lists.all())
    return list(found.order_by("created_at", "pk")[:SAMPLES])


def numbers_of(user_id: int) -> list[VerifiedNumber]:
    """Those that a user has confirmed."""
    return list(VerifiedNumber.objects.filter(user_id=user_id, verified_at__isnull=False))


def call(campaign: Campaign, *, number: VerifiedNumber, sample: Contact, now: datetime.datetime) -> Call:
    """Has the campaign's agent ring its operator.

    Raises:
        Refused: it may not be called now, or the campaign lacks an agent or a number to call from.
    """
    version = campaign.version
    if version is None:
        raise Refused("not_callable", f"{campaign.agent} was never published: publish it first")
    caller = campaign.caller_numbers.select_related("plivo_account").order_by("number").first()
    if caller is None:
        raise Refused("not_callable", "the campaign has no number to call from")
    if number.verified_at is None:
        raise Refused("not_callable", "this number is not confirmed")
    order = one_off.Order(
        origin=OneOffCall.Origin.TEST,
        version=version,
        caller=caller,
        person=verifying.person_of(number, variables=sample.variables),
        purpose=Campaign.Purpose.TRANSACTIONAL,  # whoever is rung has asked for it, and nobody else
        by="an operator, to try a campaign out",
        on_machine=campaign.on_machine,
        voicemail_message=campaign.voicemail_message,
        screening_answer=campaign.screening_answer,
        ring_s=campaign.ring_s,
        longest_call_s=campaign.longest_call_s,
        started_by_id=number.user_id,
    )
    return one_off.start(order, now=now)[0]
