"""Which consent of a person a call needs, by what it is for and where they are. Not legal advice.

Promotional calls need written consent and calls about something people have or asked for express consent, everywhere.
To the United States an AI's voice is an artificial one (FCC 24-17, released on 8 February 2024): there every call needs
at least express consent, and a promotional one written consent of which it can be shown when and where it was given
(47 CFR 64.1200(a)(1) to (3)).
"""

import datetime
from typing import Protocol

from calls.campaigns.law import UNITED_STATES
from calls.models import Campaign

_Purpose = Campaign.Purpose
NEEDED = {_Purpose.PROMOTIONAL: "written", _Purpose.SERVICE: "express"}


class Consenting(Protocol):
    """What of a person counts here."""

    @property
    def country(self) -> str: ...
    @property
    def consent(self) -> str: ...
    @property
    def consent_at(self) -> datetime.date | None: ...
    @property
    def consent_source(self) -> str: ...


def obstacle(person: Consenting, *, purpose: str) -> str:
    """Why a call for this purpose (of ``Campaign.Purpose``) lacks consent; empty when it does not."""
    needed, calls = NEEDED.get(_Purpose(purpose), ""), f"{purpose} calls"
    american = person.country in UNITED_STATES
    if american and not needed:
        needed, calls = "express", f"{calls} to the United States"
    if needed and person.consent not in {"written", needed}:
        return f"no {needed} consent is known, which {calls} need"
    if american and purpose == _Purpose.PROMOTIONAL:
        proof = {"date": person.consent_at, "source": person.consent_source}
        if lacks := " and ".join(name for name, known in proof.items() if not known):
            return f"no {lacks} of the written consent is known, which {calls} to the United States need"
    return ""
