"""Could a person who picks up be talked to now? Nobody is rung to hear silence or an apology.

Asked by ``dialler`` before each round and by the campaign's page. Without Redis nobody knows, and nothing is dialled
anyway (``pacing``).
"""

import datetime

import redis

from agents import health
from agents.crypto import UndecryptableError
from agents.models import AgentVersion
from calls import admission, clocks
from calls.models import Call, Campaign, PlivoAccount
from calls.telephony.accounts import auth_token

# Of a call that is on its way and may be picked up at any moment; a live one is in the load that its process publishes.
ON_ITS_WAY = (
    Call.Status.CLAIMED, Call.Status.SENDING, Call.Status.UNKNOWN, Call.Status.QUEUED, Call.Status.RINGING,
    Call.Status.ANSWERED,
)  # fmt: skip
STAGES = {"stt": "speech-to-text", "llm": "the language model", "tts": "the voice"}


def lines(*, now: datetime.datetime) -> int | None:
    """How many more calls the stream processes could take if all that ring were picked up; None: no stated limit.

    A claimed call that no worker holds any more is one of those that may still be placed.
    """
    try:
        room = admission.room()
    except redis.RedisError:
        return 0
    if room is None:
        return None
    on_its_way = Call.objects.filter(direction=Call.Direction.OUTBOUND, status__in=ON_ITS_WAY)
    return max(0, room - on_its_way.exclude(status=Call.Status.CLAIMED, deadline_at__lte=now).count())


def obstacle(campaign: Campaign) -> str:
    """Why nobody who picks up could be talked to by this campaign's agent, or rung at all; empty when they could."""
    for account in PlivoAccount.objects.filter(numbers__campaigns=campaign).distinct():
        try:
            auth_token(account)
        except UndecryptableError:
            return f"the token of the Plivo account {account.name} cannot be read: enter it anew"
    return voiceless(campaign.version)


def voiceless(version: AgentVersion | None) -> str:
    """Which stage of an agent no provider serves now; empty for none, and where no agent talks."""
    if version is None:
        return ""
    try:
        broken = health.out_of_use(version.spec)
    except redis.RedisError:
        return "Redis does not answer"
    return f"{', '.join(STAGES[stage] for stage in broken)} cannot be had from any provider" if broken else ""


def trouble(campaign: Campaign) -> str:
    """The same of a running campaign, and whether there is a process that would carry a call; for its page."""
    if campaign.status != Campaign.Status.RUNNING:
        return ""
    if wrong := clocks.trouble():
        return wrong
    try:
        room = admission.room()
    except redis.RedisError:
        return "Redis does not answer"
    if room == 0:
        return "no stream process is running, or all are full"
    return obstacle(campaign)
