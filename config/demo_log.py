"""The demo's hands in Parley itself: furnishes a database for ``config.demo`` and reads its call log.

Imported only once the demo has set the environment and Django is set up.
"""

import secrets
import sys
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth import get_user_model

from agents import services, starters
from calls import phone
from calls.models import Call, CallSummary, PhoneNumber, PlivoAccount, Recording, Turn

MIN_TURNS = 4
AUDIBLE_PEAK = 0.05


@dataclass
class Verdict:
    """What is in the call log after the call, and what should be there but is not."""

    caller_turns: int = 0
    agent_turns: int = 0
    interruptions: int = 0
    missing: list[str] = field(default_factory=list)


def furnish(*, box_url: str, auth_id: str, auth_token: str, called: str, codec: str) -> str:
    """An admin user, the starter agents, and a sandbox agent that answers the demo's number; returns the password."""
    user, _ = get_user_model().objects.get_or_create(username="demo", defaults={"is_staff": True, "is_superuser": True})
    password = secrets.token_urlsafe(9)
    user.set_password(password)
    user.save()
    starters.install(user=user)
    agent = starters.install_sandbox(box_url, user=user)
    if agent.codec != codec:
        agent.codec = codec
        agent.save()
        services.publish(agent=agent, user=user, note="codec of this demo")
    account, _ = PlivoAccount.objects.update_or_create(
        auth_id=auth_id,
        defaults={"name": "Sandbox", "auth_token": auth_token, "api_url": box_url, "is_sandbox": True},
    )
    phone.sync_numbers(account)
    number, _ = PhoneNumber.objects.get_or_create(number=called, defaults={"plivo_account": account})
    number.agent = agent
    number.save()
    phone.connect_number(number)
    return password


def find_call(plivo_call_uuid: str) -> int | None:
    return Call.objects.filter(plivo_call_uuid=plivo_call_uuid).values_list("pk", flat=True).first()


def print_turns(call_id: int, shown: set[int]) -> bool:
    """Prints the turns not yet shown; True when the call has ended."""
    ended = Call.objects.filter(pk=call_id, status=Call.Status.ENDED).exists()
    for turn in Turn.objects.filter(call_id=call_id).exclude(index__in=shown):
        shown.add(turn.index)
        said = turn.heard if turn.role == Turn.Role.AGENT else turn.text
        mark = "  [interrupted]" if turn.interrupted else ""
        answered = _response_ms(turn)
        timing = f"  ({answered} ms after the caller)" if answered is not None else ""
        print(f"{turn.started_ms / 1000:6.1f} s  {turn.get_role_display():>6}: {said or '(nothing)'}{mark}{timing}")
    sys.stdout.flush()
    return ended


def _response_ms(turn: Turn) -> int | None:
    if turn.first_heard_ms is None or turn.speech_end_ms is None:
        return None
    elapsed: int = turn.first_heard_ms - turn.speech_end_ms
    return elapsed


def check(call_id: int) -> Verdict:
    call = Call.objects.get(pk=call_id)
    turns = list(call.turns.all())
    verdict = Verdict(
        caller_turns=sum(turn.role == "caller" and bool(turn.text) for turn in turns),
        agent_turns=sum(turn.role == "agent" and bool(turn.heard) for turn in turns),
        interruptions=sum(turn.interrupted for turn in turns),
    )
    if call.status != Call.Status.ENDED:
        verdict.missing.append(f"the call's end (it is {call.status})")
    if min(verdict.caller_turns, verdict.agent_turns) < MIN_TURNS:
        verdict.missing.append(f"{MIN_TURNS} turns each way")
    if not verdict.interruptions:
        verdict.missing.append("an interruption")
    recording = Recording.objects.filter(call=call, source=Recording.Source.PARLEY, status="ready").first()
    if recording is None:
        verdict.missing.append("the recording")
    elif len(recording.peaks) != 2 or any(max(channel, default=0) < AUDIBLE_PEAK for channel in recording.peaks):
        verdict.missing.append("both voices on the recording")
    summary = CallSummary.objects.filter(call=call, status="ready").first()
    if summary is None or not summary.summary:
        verdict.missing.append("the summary")
    elif not any(summary.extracted.values()):
        verdict.missing.append("the extracted fields")
    return verdict


def ended(call_id: int) -> bool:
    """Whether the call has reached its end."""
    return Call.objects.filter(pk=call_id, status=Call.Status.ENDED).exists()


def recording(call_id: int) -> bool:
    """Whether the call's own recording can be played."""
    return Recording.objects.filter(call_id=call_id, source=Recording.Source.PARLEY, status="ready").exists()


def after_kill(call_id: int, killed_at: float) -> dict[str, Any]:
    """What is left of a call whose stream process was killed at ``killed_at`` (seconds since the epoch)."""
    call = Call.objects.get(pk=call_id)
    made = Recording.objects.get(call=call, source=Recording.Source.PARLEY)
    if call.live_at is None or call.ended_at is None:
        raise ValueError("the call was never live")
    killed_ms = int((killed_at - call.live_at.timestamp()) * 1000)
    talked_s = (call.ended_at - call.live_at).total_seconds()
    return {
        "killed_ms": killed_ms,
        "agent_turns_kept": call.turns.filter(role="agent", ended_ms__lt=killed_ms).count(),
        "caller_turns_kept": call.turns.filter(role="caller", ended_ms__lt=killed_ms).count(),
        "audio_lost_s": round(max(0.0, talked_s - made.duration_ms / 1000), 2),
        "status": call.status,
    }
