"""One call: who, where it stands, how it ended, and everything that is known of it. Owned by the engine.

Changes of state go through the engine; REST and the control API read it, and end it with `hang_up`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import math
import uuid
from typing import TYPE_CHECKING, Any

from sandbox.plivo.faults import Faults
from sandbox.plivo.stream_report import stream_json
from sandbox.plivo.webhooks import Signers

if TYPE_CHECKING:
    from sandbox.plivo.caller import ScriptedCaller
    from sandbox.plivo.media import CallMedia
    from sandbox.plivo.stream_client import StreamClient


@dataclasses.dataclass(frozen=True)
class HangupCause:
    """Why a call ended: Plivo's code and name, the FreeSWITCH word, and who did it."""

    code: int
    name: str
    word: str
    source: str


class EndCallError(Exception):
    """An element, or a document that cannot be had, ends the call."""

    def __init__(self, why: HangupCause) -> None:
        """`why` goes into the hangup callback."""
        super().__init__(why.name)
        self.why = why


def cause(code: int, source: str) -> HangupCause:
    """The cause of a documented code. Raises KeyError for one that Plivo does not have."""
    name, word = _CAUSES[code]
    return HangupCause(code=code, name=name, word=word, source=source)


_CAUSES = {
    1000: ("Canceled", "ORIGINATOR_CANCEL"),
    1010: ("Canceled (Out Of Credits)", "ORIGINATOR_CANCEL"),
    2000: ("Invalid Destination Address", "INVALID_NUMBER_FORMAT"),
    2010: ("Destination Out Of Service", "NETWORK_OUT_OF_ORDER"),
    3000: ("No Answer", "NO_ANSWER"),
    3010: ("Busy Line", "USER_BUSY"),
    3020: ("Rejected", "CALL_REJECTED"),
    3050: ("Unallocated number", "UNALLOCATED_NUMBER"),
    3090: ("Network congestion", "SERVICE_UNAVAILABLE"),
    4000: ("Normal Hangup", "NORMAL_CLEARING"),
    4010: ("End Of XML Instructions", "NORMAL_CLEARING"),
    5000: ("Network Error", "NETWORK_OUT_OF_ORDER"),
    5010: ("Internal Error", "SERVICE_UNAVAILABLE"),
    6000: ("Scheduled Hangup", "NORMAL_CLEARING"),
    6010: ("Ring Timeout Reached", "NO_ANSWER"),
    7011: ("Error Reaching Answer URL", "NORMAL_CLEARING"),
    7012: ("Error Reaching Action URL", "NORMAL_CLEARING"),
    7013: ("Error Reaching Transfer URL", "NORMAL_CLEARING"),
    7014: ("Error Reaching Redirect URL", "NORMAL_CLEARING"),
    7022: ("Invalid Action URL", "NORMAL_CLEARING"),
    7024: ("Invalid Redirect URL", "NORMAL_CLEARING"),
    8011: ("Invalid Answer XML", "NORMAL_CLEARING"),
    8012: ("Invalid Action XML", "NORMAL_CLEARING"),
    8013: ("Invalid Transfer XML", "NORMAL_CLEARING"),
    8014: ("Invalid Redirect XML", "NORMAL_CLEARING"),
    9100: ("Machine Detected", "NORMAL_CLEARING"),
}

# hangup_url's CallStatus of a call that was never answered.
_UNANSWERED_STATUS = {3010: "busy", 3020: "busy", 3000: "no-answer", 6010: "timeout", 1000: "cancel"}


@dataclasses.dataclass
class CallUrls:
    """Where this call's webhooks go; method beside each."""

    answer: str
    answer_method: str = "POST"
    hangup: str = ""
    hangup_method: str = "POST"
    ring: str = ""
    ring_method: str = "POST"
    fallback: str = ""
    fallback_method: str = "POST"
    machine: str = ""
    machine_method: str = "POST"


@dataclasses.dataclass
class OutboundOptions:
    """What POST /Call/ asked for beyond URLs. Times in seconds, `machine_detection_time` in ms."""

    time_limit: int = 14400
    ring_timeout: int = 120
    hangup_on_ring: int | None = None
    machine_detection: str = ""
    machine_detection_time: int = 5000
    send_digits: str = ""
    caller_name: str = ""
    sip_headers: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Call:
    """A call. Times are aware UTC; None until they happen."""

    uuid: str
    request_uuid: str
    auth_id: str
    parent_auth_id: str
    direction: str
    from_number: str
    to_number: str
    urls: CallUrls
    faults: Faults
    signers: Signers
    utc_offset: dt.timezone = dt.UTC
    options: OutboundOptions = dataclasses.field(default_factory=OutboundOptions)
    behaviour: str = "human"
    state: str = "queued"  # queued, ringing, in-progress, ended, closed (its callbacks are sent)
    created_at: dt.datetime = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC))
    rang_at: dt.datetime | None = None
    answered_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    ending: HangupCause | None = None
    machine: bool = False
    media: CallMedia | None = None
    caller: ScriptedCaller | None = None
    streams: list[StreamClient] = dataclasses.field(default_factory=list)
    transfer: tuple[str, str] | None = None
    digits_from_agent: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    timeline: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    violations: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    ended: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    closed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    answer_asked: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    transfer_asked: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    digits: asyncio.Queue[str] = dataclasses.field(default_factory=asyncio.Queue)

    def hang_up(self, why: HangupCause) -> bool:
        """End the call; False when it had ended before (the first cause stays)."""
        if self.ended.is_set():
            return False
        self.ending = why
        self.ended_at = dt.datetime.now(dt.UTC)
        self.state = "ended"
        self.note("hangup", code=why.code, source=why.source)
        self.ended.set()
        return True

    def rings(self) -> None:
        """The phone rings now."""
        self.rang_at = dt.datetime.now(dt.UTC)
        self.note("ring")

    def answered(self) -> None:
        """Somebody picked up now."""
        self.answered_at = dt.datetime.now(dt.UTC)
        self.state = "in-progress"
        self.note("answered")

    def note(self, what: str, **values: Any) -> None:
        """A line of the timeline: seconds since the call was created, and on the media clock when there is one."""
        line = {"t": round((dt.datetime.now(dt.UTC) - self.created_at).total_seconds(), 4), "what": what, **values}
        if self.media is not None:
            line["media_ms"] = round(self.media.now_ms(), 1)
        self.timeline.append(line)

    def violation(self, kind: str, detail: str) -> None:
        """Something that Plivo would refuse or garble."""
        self.violations.append({"kind": kind, "detail": detail[:300]})
        self.note("violation", kind=kind)

    def number(self, number: str) -> str:
        """A number as the webhooks write it: bare digits, or with `+` when that fault is on."""
        return f"+{number}" if self.faults.numbers_with_plus and number.isdigit() else number

    @property
    def duration_s(self) -> int:
        """Seconds between answer and end, whole ones; 0 when it was not answered."""
        if self.answered_at is None or self.ended_at is None:
            return 0
        return math.ceil((self.ended_at - self.answered_at).total_seconds())

    @property
    def bill_duration_s(self) -> int:
        """Duration in begun minutes."""
        return math.ceil(self.duration_s / 60) * 60

    @property
    def call_status(self) -> str:
        """CallStatus as webhooks say it now."""
        if self.ending is None:
            return "in-progress" if self.answered_at else "ringing"
        if self.answered_at or self.faults.unanswered_status == "completed":
            return "completed"
        return _UNANSWERED_STATUS.get(self.ending.code, "failed")

    def local(self, moment: dt.datetime | None) -> str | None:
        """A moment in the account's time zone as webhooks write it."""
        return moment.astimezone(self.utc_offset).strftime("%Y-%m-%d %H:%M:%S") if moment else None

    def zoned(self, moment: dt.datetime | None) -> str | None:
        """The same with the offset, as REST writes it."""
        return moment.astimezone(self.utc_offset).isoformat(sep=" ", timespec="seconds") if moment else None

    def base_params(self) -> dict[str, Any]:
        """The parameters that every webhook of this call carries."""
        params: dict[str, Any] = {
            "CallUUID": self.uuid,
            "From": self.number(self.from_number),
            "To": self.number(self.to_number),
            "CallStatus": self.call_status,
            "Direction": self.direction,
            "BillRate": "0.002",
            "ParentAuthID": self.parent_auth_id,
            "SessionStart": self.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        }
        if self.direction == "outbound":
            params |= {
                "RequestUUID": self.request_uuid,
                "ALegUUID": self.uuid,
                "ALegRequestUUID": self.request_uuid,
                **{f"X-PH-{name}": value for name, value in self.options.sip_headers.items()},
            }
        if self.machine:
            params["Machine"] = "true"
        if self.options.caller_name:
            params["CallerName"] = self.options.caller_name
        return params

    def hangup_params(self) -> dict[str, Any]:
        """What hangup_url is told."""
        assert self.ending is not None  # noqa: S101 (the engine sends this only of a call that ended)
        return self.base_params() | {
            "Event": "Hangup",
            "Duration": self.duration_s,
            "BillDuration": self.bill_duration_s,
            "HangupCause": self.ending.word,
            "HangupCauseName": self.ending.name,
            "HangupCauseCode": self.ending.code,
            "HangupSource": self.ending.source,
            "TotalCost": f"{0.002 * self.bill_duration_s / 60:.5f}",
            "StartTime": self.local(self.created_at),
            "AnswerTime": self.local(self.answered_at),
            "EndTime": self.local(self.ended_at),
        }

    def report(self) -> dict[str, Any]:
        """Everything about the call, for the control API."""
        return {
            "call_uuid": self.uuid,
            "request_uuid": self.request_uuid,
            "auth_id": self.auth_id,
            "direction": self.direction,
            "from": self.from_number,
            "to": self.to_number,
            "behaviour": self.behaviour,
            "state": self.state,
            "status": self.call_status,
            "answered": self.answered_at is not None,
            "duration_s": self.duration_s,
            "hangup": dataclasses.asdict(self.ending) if self.ending else None,
            "timeline": self.timeline,
            "violations": self.violations,
            "digits_from_agent": self.digits_from_agent,
            "caller": self.caller.report() if self.caller else None,
            "streams": [stream_json(stream) for stream in self.streams],
        }


def new_uuid() -> str:
    """An id as Plivo gives them."""
    return str(uuid.uuid4())
