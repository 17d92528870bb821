"""Could a person who picks up be talked to now? Nobody is rung to hear silence or an apology.

Asked by ``dialler`` before each round and by the campaign's page. Without Redis nobody knows, and nothing is dialled
anyway (``pacing``).
"""

import redis

from agents import health
from calls import admission
from calls.models import Call, Campaign

# Of a call that is on its way and may be picked up at any moment; a live one is in the load that its process publishes.
ON_ITS_WAY = (
    Call.Status.CLAIMED, Call.Status.SENDING, Call.Status.UNKNOWN, Call.Status.QUEUED, Call.Status.RINGING,
    Call.Status.ANSWERED,
)  # fmt: skip
STAGES = {"stt": "speech-to-text", "llm": "the language model", "tts": "the voice"}


def lines() -> int | None:
    """How many more calls the stream processes could take if all that ring were picked up; None: no stated limit."""
    try:
        room = admission.room()
    except redis.RedisError:
        return 0
    if room is None:
        return None
    on_its_way = Call.objects.filter(direction=Call.Direction.OUTBOUND, status__in=ON_ITS_WAY).count()
    return max(0, room - on_its_way)


def obstacle(campaign: Campaign) -> str:
    """Why nobody who picks up could be talked to by this campaign's agent; empty when they could."""
    version = campaign.agent_version or campaign.agent.published_version
    if version is None:
        return ""  # the claim says so
    try:
        broken = health.out_of_use(version.spec)
    except redis.RedisError:
        return "Redis does not answer"
    return f"{', '.join(STAGES[stage] for stage in broken)} cannot be had from any provider" if broken else ""


def trouble(campaign: Campaign) -> str:
    """The same of a running campaign, and whether there is a process that would carry a call; for its page."""
    if campaign.status != Campaign.Status.RUNNING:
        return ""
    try:
        room = admission.room()
    except redis.RedisError:
        return "Redis does not answer"
    if room == 0:
        return "no stream process is running, or all are full"
    return obstacle(campaign)
