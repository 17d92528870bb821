"""The demo's hands in Parley itself: furnishes a database for ``config.demo`` and reads its call log.

Imported only once the demo has set the environment and Django is set up.
"""

import secrets
import sys

from django.contrib.auth import get_user_model

from agents import services, starters
from calls import phone
from calls.models import Call, PhoneNumber, PlivoAccount, Turn


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
