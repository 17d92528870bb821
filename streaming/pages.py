"""The "Talk to it" page: a phone in the browser. ``streaming.browser`` carries its sound and states its protocol."""

import uuid

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from agents import services
from agents.models import Agent


@require_safe
@login_required
def talk(request: HttpRequest, agent_id: uuid.UUID) -> HttpResponse:
    """The page for one agent; ``?draft=1`` talks to its draft."""
    if not request.user.has_perm("agents.talk_to_agent"):
        raise PermissionDenied("You may not talk to agents: ask for the permission 'Can talk to an agent'.")
    agent = get_object_or_404(services.with_accounts(Agent.objects.all()), pk=agent_id)
    draft = request.GET.get("draft") == "1" or agent.published_version is None
    context = admin.site.each_context(request) | {
        "title": f"Talk to {agent.name}",
        "agent": agent,
        "draft": draft,
        "is_sandbox": _is_sandbox(agent, draft=draft),
        "socket_url": f"{settings.STREAM_URL}/talk/{agent.pk}/{'?draft=1' if draft else ''}",
        "may_view_calls": request.user.has_perm("calls.view_call"),
        "keys": "123456789*0#",
    }
    return render(request, "streaming/talk.html", context)


def _is_sandbox(agent: Agent, *, draft: bool) -> bool:
    spec = None if draft else services.published_spec(agent)
    if spec is not None:
        return services.sandboxed(spec)
    further = (choice.account for choice in agent.further_choices.all())
    return any(account.is_sandbox for account in (agent.stt_account, agent.llm_account, agent.tts_account, *further))
