"""What programs send and get, in one place: the OpenAPI document is made of it."""

import datetime
import uuid
from typing import Any, Literal

from ninja import Field, Schema
from pydantic import AwareDatetime, ConfigDict

MOST_PEOPLE = 500
MAX_CELL = 2000  # characters, as in an imported table
Purpose = Literal["promotional", "service", "transactional"]
Value = str | int | float | bool


class Given(Schema):
    """What is sent: a name that is not known is a mistake, and said."""

    model_config = ConfigDict(extra="forbid")


class PersonGiven(Given):
    """The columns of an imported table, under the same rules."""

    number: str = Field(max_length=MAX_CELL, description="With its country code, unless `country` is given.")
    name: str = Field("", max_length=MAX_CELL)
    time_zone: str = Field("", max_length=MAX_CELL, description="Such as America/New_York; beats the number's.")
    region: str = Field("", max_length=MAX_CELL, description="State of a person in the United States, as NY.")
    language: str = Field("", max_length=MAX_CELL)
    consent: str = Field("", max_length=MAX_CELL, description="express, written or none.")
    consent_at: str = Field("", max_length=MAX_CELL, description="A date, as 2026-05-03.")
    consent_source: str = Field("", max_length=MAX_CELL)
    variables: dict[str, Value] = Field({}, description="For the agent's texts.")


class ContactsGiven(Given):
    """People for one list."""

    contact_list: str = Field(min_length=1, max_length=80, description="Id or name of a contact list.")
    country: str = Field("", pattern="^([A-Z]{2})?$", description="ISO 3166, of numbers without a country code.")
    people: list[PersonGiven] = Field(min_length=1, max_length=MOST_PEOPLE)


class ContactResult(Schema):
    """What became of one person, in the order in which they were sent."""

    result: Literal["added", "in_list", "rejected"]
    contact: uuid.UUID | None = Field(None, description="Id, where it was added.")
    do_not_call: bool = Field(False, description="On the do-not-call list: never called, whatever list they are in.")
    why: str = Field("", description="Every fault, where it was rejected.")


class ContactsResult(Schema):
    """What became of all of them."""

    added: int
    in_list: int
    rejected: int
    do_not_call: int
    people: list[ContactResult]


class CallGiven(Given):
    """One call, to be made now."""

    agent: uuid.UUID = Field(description="Id of an agent; its published version talks.")
    caller: str = Field(max_length=40, description="One of this installation's phone numbers, which is shown.")
    number: str = Field(max_length=40, description="Whom to call, with the country code.")
    purpose: Purpose = Field(
        description="promotional needs written consent, service express consent, transactional none; to the United "
        "States transactional needs express consent, and promotional consent_at and consent_source, too."
    )
    variables: dict[str, Value] = Field({}, description="Those without a default must be given.")
    time_zone: str = Field("", max_length=40, description="Where they are; else where the number may be counts.")
    region: str = Field("", max_length=60, description="State of a person in the United States, as NY.")
    consent: Literal["", "express", "written"] = ""
    consent_at: datetime.date | None = None
    consent_source: str = Field("", max_length=200)
    on_machine: Literal["hang_up", "leave_message", "go_on"] = Field("hang_up", description="When a machine answers.")
    voicemail_message: str = Field("", max_length=600, description="With leave_message; may hold {{variables}}.")
    screening_answer: str = Field(
        "", max_length=300, description="To a phone that asks who is calling; else the agent's greeting."
    )
    ring_s: int = Field(40, ge=5, le=120)
    longest_call_s: int | None = Field(None, ge=30, le=14_400, description="Seconds; as long as the agent's without.")


class CallStarted(Schema):
    """A call that is on its way."""

    id: uuid.UUID
    status: str
    created_at: datetime.datetime


class AgentOfCall(Schema):
    """Who talked; `version` is null for a draft."""

    id: uuid.UUID
    name: str
    version: int | None


class TurnOfCall(Schema):
    """One turn; times in ms since the conversation began."""

    role: str
    kind: str
    text: str
    heard: str = Field(description="Of the agent's words, those that were heard.")
    interrupted: bool
    started_ms: int
    ended_ms: int


class SummaryOfCall(Schema):
    """What a model made of the call after it."""

    status: str
    summary: str
    outcome: str
    success: bool | None
    sentiment: str
    extracted: dict[str, Any]


class CallShown(Schema):
    """One call, of any direction."""

    id: uuid.UUID
    direction: str
    status: str
    outcome: str
    end_reason: str
    why: str = Field(description="Why it was not made, or not answered, after all.")
    agent: AgentOfCall | None
    from_number: str
    to_number: str
    variables: dict[str, Any]
    created_at: datetime.datetime
    ringing_at: datetime.datetime | None
    answered_at: datetime.datetime | None
    live_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    duration_s: int | None
    transcript: list[TurnOfCall]
    summary: SummaryOfCall | None


class OptOutGiven(Given):
    """A number that is not to be called again."""

    number: str = Field(max_length=40, description="With its country code.")
    since: AwareDatetime | None = Field(None, description="When they asked for it; with its offset.")
    evidence: str = Field(min_length=1, max_length=1000, description="The words, or where you know it from.")


class OptOut(Schema):
    """An entry of the do-not-call list; the first of a number stays as it is."""

    number: str = Field(description="Masked: the list itself does not know it.")
    since: datetime.datetime


class Problem(Schema):
    """Why a request was not carried out."""

    code: str
    message: str
    next_allowed: datetime.datetime | None = Field(None, description="With `not_now`: when to ask again.")


class Failure(Schema):
    """The body of every answer that is no success."""

    error: Problem
