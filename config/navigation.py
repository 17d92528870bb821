"""What the admin offers, in the order in which somebody looks for it: the sidebar and the start page show this.

``config.settings`` hands it to the theme, which leaves out what a user may not see.
"""

from typing import Any

import redis
from django.http import HttpRequest
from django.urls import reverse_lazy

from calls.admission import published_loads


def _page(title: str, icon: str, model: str, description: str) -> dict[str, Any]:
    """The list of one model ("app.model"), for those who may view it."""
    app, name = model.split(".")

    def allowed(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(f"{app}.change_{name}")

    link = reverse_lazy(f"admin:{app}_{name}_changelist")
    return {"title": title, "icon": icon, "link": link, "description": description, "permission": allowed}


NAVIGATION: list[dict[str, Any]] = [
    {
        "title": "Calls",
        "items": [
            _page("Call log", "call_log", "calls.call", "What was said on each call, its recording and its summary."),
            _page("Campaigns", "campaign", "calls.campaign", "Calls to many people: planned, rehearsed, watched."),
            _page("People of campaigns", "groups", "calls.campaigncontact", "Where everybody stands, and why."),
            _page("Contact lists", "contacts", "calls.contactlist", "People who may be called, imported from tables."),
            _page("Contacts", "person_search", "calls.contact", "Everybody in the lists; find one, mend one."),
            _page("Do not call", "phone_disabled", "calls.donotcall", "Numbers that nobody is called at any more."),
            _page("Legal hours", "gavel", "calls.legalwindow", "When the law lets people be called, and what you add."),
            _page("Holidays", "event_busy", "calls.holiday", "Days on which nobody is called, beside the public ones."),
            _page("My test numbers", "phone_in_talk", "calls.verifiednumber", "Where campaigns can call you first."),
            _page("Phone numbers", "dialpad", "calls.phonenumber", "Which agent answers which number."),
        ],
    },
    {
        "title": "Agents",
        "items": [
            _page("Agents", "support_agent", "agents.agent", "Who answers: instructions, voice, models. Talk to one."),
            _page("Voices", "record_voice_over", "agents.voice", "What agents sound like."),
        ],
    },
    {
        "title": "Connections",
        "items": [
            _page("AI providers", "key", "agents.provideraccount", "API keys for speech and language models."),
            _page("Plivo accounts", "sip", "calls.plivoaccount", "The phone company that carries the calls."),
            _page("Prices", "payments", "calls.price", "What providers and Plivo charge, so that costs are known."),
            _page("API keys", "vpn_key", "calls.apikey", "Programs that start calls or add people over HTTP."),
            _page("Refused at the edge", "gpp_bad", "calls.edgerefusal", "What was turned away, why, and the remedy."),
            _page("Webhooks", "send", "calls.webhookendpoint", "Other systems that are told of calls and opt-outs."),
            _page("Webhooks sent", "outbox", "calls.webhookdelivery", "What they were told, and what they answered."),
            _page("Webhooks received", "webhook", "calls.webhookevent", "What Plivo reported about calls."),
        ],
    },
    {
        "title": "People",
        "items": [
            _page("Users", "person", "auth.user", "Who may log in."),
            _page("Groups", "group", "auth.group", "Permissions that several people share."),
            _page("Failed log-ins", "lock_person", "axes.accessattempt", "Delete one to let a locked-out person in."),
        ],
    },
]


def start_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Adds ``streams``, the load of each stream process by its id, for those who may see calls.

    None where that is not to be known: Redis, through which it is told, does not answer.
    """
    if request.user.has_perm("calls.view_call"):
        try:
            context["streams"] = published_loads()
        except redis.RedisError:
            context["streams"] = None
    return context
