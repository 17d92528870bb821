"""Whom a campaign calls: people, machines, screeners and phones that nobody answers, and what is to come of each.

Used by the journey (one of each) and by ``benchmarks.people`` (hundreds). They speak through the sandbox, whose
recogniser really decodes what they say; its report of the calls is the judge.
"""

import json
import math
from typing import Any, NamedTuple

from tests.integration.house import CALLED, House

SCENARIO = "appointment_reminder"
GREETING = "Hello, this is the assistant of Rowan Dental. Am I speaking with Anna Miller?"
MESSAGE = "This is Rowan Dental. Your appointment is tomorrow at ten. Please call us back if you cannot come."
WHO = "This is the assistant of Rowan Dental, about an appointment."
ANSWERS = {"ring_ms": 200, "answer_ms": 500}
FINISHES: dict[str, Any] = {"wait_agent_finishes": {"timeout_ms": 20_000}}
LENGTHS_DIFFER_MS = 600  # silence at the ends of the spoken text, which the sandbox does not take for speech
# What is said before the stream begins, nobody hears: on a busy machine the half of a question.
LISTENED_TO = "wait_stream"
STAYS: dict[str, Any] = {"wait_hangup": {"timeout_ms": 45_000}}
BEEP: dict[str, Any] = {"beep": {"hz": 1000, "ms": 500}}


def _pause(ms: int) -> dict[str, Any]:
    return {"silence": {"ms": ms}}


class Kind(NamedTuple):
    """How a number answers, and what is to be in the database then.

    Attributes:
        share: of a hundred people.
        steps: of whoever picks up; none where nobody does.
        behaviour: of the phone, for the sandbox.
        outcome, answered_by, reason: of the call; a reason of "" may be any.
        message: whether the message is to be left.
        human: whether a person is greeted at once.
    """

    share: int
    steps: tuple[Any, ...] = ()
    behaviour: str = "human"
    outcome: str = "completed"
    answered_by: str = ""
    reason: str = ""
    message: bool = False
    human: bool = False

    @property
    def plan(self) -> dict[str, Any]:
        """For the sandbox."""
        script = {"script": {"scenario": SCENARIO, "steps": list(self.steps)}} if self.steps else {}
        return {"kind": self.behaviour, **ANSWERS, **script}


def _person(share: int, *steps: Any, **expected: Any) -> Kind:
    return Kind(share, steps, human=True, **expected)


def _machine(share: int, *steps: Any) -> Kind:
    left = {"outcome": "machine", "answered_by": "machine", "reason": "message_left"}
    return Kind(share, (LISTENED_TO, *steps, STAYS, "hangup"), behaviour="machine", message=True, **left)


ASKS_WHO = (LISTENED_TO, _pause(300), {"say": "screening"}, FINISHES)
KINDS = {
    "talks": _person(
        24, {"say": "hello"}, FINISHES, {"say": "speaking"}, FINISHES, {"say": "attend"}, FINISHES, "hangup",
        answered_by="human", reason="caller_hung_up",
    ),
    "listens and hangs up": _person(10, FINISHES, "hangup", reason="caller_hung_up"),
    "says that they want no calls": _person(
        4, {"say": "hello"}, FINISHES, {"say": "stop"}, FINISHES, "hangup", reason="caller_hung_up"
    ),
    "says so and hangs up": _person(
        2, {"say": "hello"}, FINISHES, {"say": "stop"}, _pause(700), "hangup", reason="caller_hung_up"
    ),
    "presses 9": _person(6, _pause(1500), {"press": "9"}, STAYS, "hangup", reason="opted_out"),
    "voicemail with a beep": _machine(14, _pause(400), {"say": "voicemail"}, _pause(300), BEEP),
    "voicemail without a beep": _machine(6, _pause(400), {"say": "away"}),
    "voicemail whose beep is late": _machine(6, _pause(400), {"say": "away"}, _pause(4000), BEEP),
    "screened, and comes": Kind(
        6, (*ASKS_WHO, _pause(1500), {"say": "hello"}, FINISHES, "hangup"),
        answered_by="human", reason="caller_hung_up",
    ),
    "screened, and does not come": Kind(
        4, (*ASKS_WHO, _pause(1200), {"say": "hold"}, _pause(3000), "hangup"),
        outcome="declined", answered_by="screening",
    ),
    "busy": Kind(8, behaviour="busy", outcome="busy"),
    "nobody": Kind(6, behaviour="no-answer", outcome="no_answer"),
    "declines": Kind(4, behaviour="rejected", outcome="declined"),
}  # fmt: skip
OPTED_OUT = ("says that they want no calls", "says so and hangs up", "presses 9")

LAUNCH = """
import django, json, sys
django.setup()
from datetime import datetime, timezone as tz
from zoneinfo import ZoneInfo, available_timezones
from calls.campaigns import control
from calls.models import Campaign, Contact, ContactList, PhoneNumber, PlivoAccount
wanted, now = json.loads(sys.argv[1]), datetime.now(tz.utc)
# Where it is afternoon: the law's hours hold whenever this runs.
zone = next(name for name in sorted(available_timezones()) if "/" in name and now.astimezone(ZoneInfo(name)).hour == 13)
people = ContactList.objects.create(name="People")
Contact.objects.bulk_create(
    [Contact(contact_list=people, number="+" + number, country="US", region="TX", consent="written", time_zone=zone)
     for number in wanted["numbers"]],
    batch_size=500,
)
caller = PhoneNumber.objects.get(number=wanted["caller"])
PlivoAccount.objects.update(calls_per_second=wanted["per_second"])
campaign = Campaign.objects.create(
    name="Spring", agent=caller.agent, purpose="service", countries=["US"], week=[[[0, 1440]]] * 7, on_holidays=True,
    ring_s=4,
    retries={}, concurrency=wanted["at_once"], on_machine="leave_message", voicemail_message=wanted["message"],
    screening_answer=wanted["who"],
)
campaign.contact_lists.add(people)
campaign.caller_numbers.add(caller)
control.launch(campaign, now=datetime.now(tz.utc))
"""


async def launch(house: House, numbers: dict[str, str], *, at_once: int, per_second: float) -> None:
    """Makes each number answer as the kind of its name does, and launches a campaign to all of them.

    Args:
        numbers: without "+", each with a key of ``KINDS``.
    """
    for number, kind in numbers.items():
        await house.control.behaviour(number, KINDS[kind].plan)
    wanted = {"numbers": list(numbers), "caller": CALLED, "at_once": at_once, "per_second": per_second}
    wanted |= {"message": MESSAGE, "who": WHO}
    house.python("-c", LAUNCH, json.dumps(wanted))


class Greeting(NamedTuple):
    """Of one person: from the stream's start to the first sound."""

    ms: float
    kind: str
    call_uuid: str


class Found(NamedTuple):
    """What came of all.

    Attributes:
        faults: what did not come as it was to, in sentences.
        greetings: of each person, the fastest first.
        messages: how many were left whole.
    """

    faults: list[str]
    greetings: list[Greeting]
    messages: int


async def found(house: House, numbers: dict[str, str]) -> Found:
    """What came of each number, by the database, the sandbox's ledger of who was rung, and what they heard."""
    found, greetings, messages = [], [], 0
    opted_out = house.rows("SELECT count(*) FROM calls_donotcall")[0][0]
    asked = sum(kind in OPTED_OUT for kind in numbers.values())
    if opted_out != asked:
        found.append(f"{asked} asked not to be called again, {opted_out} are on the list")
    ledger = await house.control.ledger()
    rings = [ring["number"] for ring in ledger["rings"]]
    found += [f"{number} was rung {rings.count(number)} times" for number in numbers if rings.count(number) != 1]
    query = (
        "SELECT p.number, p.state, c.outcome, c.answered_by, c.end_reason, c.plivo_call_uuid FROM calls_call c "
        "JOIN calls_campaigncontact p ON p.id = c.campaign_person_id"
    )
    calls = {row[0].removeprefix("+"): row[1:] for row in house.rows(query)}
    for number, kind in numbers.items():
        expected = KINDS[kind]
        state, outcome, answered_by, reason, call_uuid = calls[number]
        if state != "done" or outcome != expected.outcome or expected.answered_by not in {"", answered_by}:
            found.append(f"{kind}: {state}, {outcome}, {answered_by}")
        if expected.reason not in {"", reason}:
            found.append(f"{kind}: ended because of {reason}, not {expected.reason}")
        if expected.human:
            greetings.append(Greeting(await _greeted_ms(house, call_uuid), kind, call_uuid))
        if expected.message:
            fault = await _not_left(house, call_uuid)
            found += [f"{kind}: {fault}"] if fault else []
            messages += not fault
    found += [f"{each.kind}: not greeted" for each in greetings if math.isinf(each.ms)]
    return Found(found, sorted(greetings), messages)


async def _greeted_ms(house: House, call_uuid: str) -> float:
    report = await house.control.report(call_uuid)
    speech = report["caller"]["agent_speech"]
    return float(speech[0]["start_ms"] - report["streams"][0]["start_ms"]) if speech else math.inf


async def _not_left(house: House, call_uuid: str) -> str:
    """Why the message was not left, whole and after the greeting and its beep; empty when it was."""
    caller = (await house.control.report(call_uuid))["caller"]
    said = [turn for turn in house.turns(call_uuid) if turn[0] == "agent" and turn[1] == MESSAGE]
    if not said or said[-1][2] != MESSAGE:
        return "the message was not said to its end"
    recorded_from = max(_end_ms(entry) for entry in caller["log"] if entry["action"] in {"say", "beep"})
    heard = [each for each in caller["agent_speech"] if each["end_ms"] > recorded_from]
    if not heard:
        return "nothing was heard after its greeting"
    spoken_ms = heard[-1]["end_ms"] - max(heard[0]["start_ms"], recorded_from)  # what came before is not recorded
    length_ms = said[-1][4] - said[-1][3]
    return "" if abs(spoken_ms - length_ms) < LENGTHS_DIFFER_MS else f"{spoken_ms:.0f} of {length_ms} ms were heard"


def _end_ms(entry: dict[str, Any]) -> float:
    """Of what the machine says, or of its beep."""
    return float(entry["end_ms"] if entry["action"] == "say" else entry["start_ms"] + entry.get("ms", 500))
