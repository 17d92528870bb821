"""Models of what happens."""

from calls.models.api_key import ApiKey
from calls.models.approval import Approval
from calls.models.call import Call
from calls.models.campaign import Campaign, CampaignContact, CampaignEvent, PersonMove, Switch
from calls.models.contact import Contact, ContactCopy, ContactImport, ContactList, RejectedRow
from calls.models.do_not_call import DoNotCall, DoNotCallImport, RejectedNumber
from calls.models.edge_refusal import EdgeRefusal
from calls.models.event import CallEvent
from calls.models.law import Holiday, LegalWindow
from calls.models.one_off import OneOffCall
from calls.models.phone_number import PhoneNumber
from calls.models.plivo_account import PlivoAccount
from calls.models.price import Price
from calls.models.recording import Recording
from calls.models.round import CampaignRound
from calls.models.stream_token import StreamToken
from calls.models.summary import CallSummary
from calls.models.table_import import TableImport
from calls.models.turn import Turn
from calls.models.usage import Usage
from calls.models.verified_number import VerifiedNumber
from calls.models.watch import CampaignWatch
from calls.models.webhook_event import WebhookEvent
from calls.models.webhook_out import WebhookDelivery, WebhookEndpoint

__all__ = [
    "ApiKey",
    "Approval",
    "Call",
    "CallEvent",
    "CallSummary",
    "Campaign",
    "CampaignContact",
    "CampaignEvent",
    "CampaignRound",
    "CampaignWatch",
    "Contact",
    "ContactCopy",
    "ContactImport",
    "ContactList",
    "DoNotCall",
    "DoNotCallImport",
    "EdgeRefusal",
    "Holiday",
    "LegalWindow",
    "OneOffCall",
    "PersonMove",
    "PhoneNumber",
    "PlivoAccount",
    "Price",
    "Recording",
    "RejectedNumber",
    "RejectedRow",
    "StreamToken",
    "Switch",
    "TableImport",
    "Turn",
    "Usage",
    "VerifiedNumber",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookEvent",
]
