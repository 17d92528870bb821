"""What must be so before anybody at all is called: asked at a launch, of a single call, and while a campaign runs."""

import datetime
from collections.abc import Collection

from django.db.models import Q

from agents.models import AgentVersion
from calls.campaigns.law import UNITED_STATES
from calls.models import Campaign, DoNotCallImport

# 47 CFR 64.1200(c)(2)(i)(D): the National Do Not Call Registry as it was no more than 31 days before a call.
SCRUB_LASTS = datetime.timedelta(days=31)


def undisclosed(version: AgentVersion) -> str:
    """That an agent does not say that an AI speaks, and what to do, as a sentence; empty when it does.

    Regulation (EU) 2024/1689, Article 50(1), from 2 August 2026; parts of the United States ask for it, too.
    """
    if version.spec.disclosure.strip():
        return ""
    return f"{version} does not say that an AI speaks: write its AI disclosure and publish it again."


def unscrubbed(*, purpose: str, countries: Collection[str], now: datetime.datetime) -> str:
    """That promotional calls to the United States lack a fresh register, and what to do; empty when they do not.

    Args:
        countries: ISO 3166, that may be called.
    """
    if purpose != Campaign.Purpose.PROMOTIONAL or UNITED_STATES.isdisjoint(countries):
        return ""
    done = DoNotCallImport.objects.filter(status=DoNotCallImport.Status.DONE, finished_at__gte=now - SCRUB_LASTS)
    if done.filter(Q(added__gt=0) | Q(known__gt=0)).exists():  # one that read nothing is none
        return ""
    return (
        "Promotional calls to the United States need a National Do Not Call Registry that is at most "
        f"{SCRUB_LASTS.days} days old: import its numbers under Do not call."
    )
