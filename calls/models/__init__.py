"""Models of what happens."""

from calls.models.call import Call
from calls.models.campaign import Campaign, CampaignContact, PersonMove, Switch
from calls.models.contact import Contact, ContactCopy, ContactImport, ContactList, RejectedRow
from calls.models.do_not_call import DoNotCall
from calls.models.edge_refusal import EdgeRefusal
from calls.models.event import CallEvent
from calls.models.phone_number import PhoneNumber
from calls.models.plivo_account import PlivoAccount
from calls.models.recording import Recording
from calls.models.stream_token import StreamToken
from calls.models.summary import CallSummary
from calls.models.turn import Turn
from calls.models.usage import Usage
from calls.models.webhook_event import WebhookEvent

__all__ = [
    "Call",
    "CallEvent",
    "CallSummary",
    "Campaign",
    "CampaignContact",
    "Contact",
    "ContactCopy",
    "ContactImport",
    "ContactList",
    "DoNotCall",
    "EdgeRefusal",
    "PersonMove",
    "PhoneNumber",
    "PlivoAccount",
    "Recording",
    "RejectedRow",
    "StreamToken",
    "Switch",
    "Turn",
    "Usage",
    "WebhookEvent",
]
