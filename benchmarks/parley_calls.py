"""Parley's side of a measurement in the database, run by ``benchmarks.contenders`` once Django is set up.

Publishes the agent that the orders describe where there is none, makes calls as an answered webhook would have left
them, and prints [one-call token, CallUUID] of each.
"""

import json
import sys
import uuid

from django.utils import timezone

from agents.accounts import set_key
from agents.models import Agent, ProviderAccount, Voice
from agents.services import publish
from calls import lifecycle
from calls.models import Call, PlivoAccount
from calls.states import Facts
from calls.telephony import stream_tokens

VOICE_ID = "sandboxToneLoad00007"
MODEL = "gpt-4.1-mini"
KEY = "test-benchmark"


def agent_named(name: str, *, box_url: str, turn_overrides: dict[str, int]) -> Agent:
    """The published agent of that name, all its stages at the sandbox."""

    if (known := Agent.objects.filter(name=name).first()) is not None:
        return known
    accounts = {}
    for provider, address in (("elevenlabs", box_url), ("openai_compatible", f"{box_url}/v1")):
        account = ProviderAccount.objects.filter(name=provider).first()
        if account is None:
            account = ProviderAccount(name=provider, provider=provider, base_url=address, is_sandbox=True)
            set_key(account, KEY)
            account.save()
        accounts[provider] = account
    voice, _ = Voice.objects.get_or_create(
        account=accounts["elevenlabs"], external_id=VOICE_ID, defaults={"name": "Tone", "language": "en"}
    )
    agent = Agent.objects.create(
        name=name,
        system_prompt="You answer the phone of a dental office, in one or two short sentences.",
        disclosure="",
        recording_notice="",
        greeting="Hello, how can I help you?",
        stt_account=accounts["elevenlabs"],
        llm_account=accounts["openai_compatible"],
        llm_model=MODEL,
        tts_account=accounts["elevenlabs"],
        voice=voice,
        turn_overrides=turn_overrides,
        record=True,
    )
    publish(agent=agent, user=None)
    return agent


def ring(agent: Agent, count: int) -> list[list[str]]:
    """So many calls that wait for their stream; [token, CallUUID] of each."""

    now = timezone.now()
    account, _ = PlivoAccount.objects.get_or_create(
        auth_id="MABENCHMARK000000000", defaults={"name": "Benchmark", "auth_token": "x" * 20, "is_sandbox": True}
    )
    made = []
    for _ in range(count):
        call, _ = lifecycle.create_inbound(
            plivo_call_uuid=str(uuid.uuid4()),
            facts=Facts(status=Call.Status.ANSWERED, ringing_at=now, answered_at=now),
            now=now,
            agent=agent,
            agent_version=agent.published_version,
            plivo_account=account,
            from_number="+15551230001",
            to_number="+15550100100",
        )
        made.append([stream_tokens.issue(call=call, now=now), str(call.plivo_call_uuid)])
    return made


def main() -> None:
    """Carries out the orders."""
    orders = json.loads(sys.argv[1])
    count = orders.pop("count")
    print(json.dumps(ring(agent_named(**orders), count)))
