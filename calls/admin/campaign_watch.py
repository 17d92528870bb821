"""Campaigns watched and acted on: the part of the page that moves, the rehearsal, the buttons, the switch."""

import datetime
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from calls.admin import test_call
from calls.admin.approvals import approval
from calls.admin.campaign_pages import CampaignPages, download
from calls.campaigns import control, counts, gate, guards, live, preflight, readiness, rounds, trace
from calls.campaigns.control import Refused
from calls.campaigns.figures import OUTCOMES
from calls.models import Campaign, CampaignContact, CampaignRound, Switch

_DO: dict[str, Any] = {
    "launch": control.launch,
    "pause": control.pause,
    "resume": control.resume,
    "stop": control.stop,
    "look_again": control.look_again,
}
EVENTS_SHOWN = 10
_SAID = {
    "launch": "Launched",
    "pause": "Paused",
    "resume": "Resumed",
    "stop": "Stopped for good",
    "look_again": "Whoever is held is looked at again",
}


class CampaignWatch(CampaignPages):
    """What a campaign's page has beside its form."""

    # Outside the form of the plan: there Enter in a field would press the first button, which pauses the campaign.
    change_form_outer_before_template = "admin/calls/campaign/standing.html"
    list_before_template = "admin/calls/campaign/switch.html"

    def get_urls(self) -> list[URLPattern]:
        """Adds the rehearsal, the buttons and the part of the page that moves."""
        wrap = self.admin_site.admin_view
        acts = [
            path(f"<uuid:pk>/{name}/", wrap(require_POST(self._act(name))), name=f"calls_campaign_{name}")
            for name in _DO
        ]
        return [
            *acts,
            path("<uuid:pk>/rehearsal/", wrap(require_safe(self.rehearsal_view)), name="calls_campaign_rehearsal"),
            path(
                "<uuid:pk>/rehearsal/<str:group>.csv", wrap(require_safe(self.group_view)), name="calls_campaign_group"
            ),
            path("<uuid:pk>/standing/", wrap(require_safe(self.standing_view)), name="calls_campaign_standing"),
            path("<uuid:pk>/test-call/", wrap(require_POST(self.test_call_view)), name="calls_campaign_test_call"),
            path("switch/", wrap(require_POST(self.switch_view)), name="calls_campaign_switch"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Says so when nothing may be dialled."""
        if why := gate.stopped():
            messages.error(request, f"Nobody is called: {why}.")
        context = {"switch": Switch.objects.first(), "may_stop_all": request.user.has_perm("calls.pause_campaign")}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        campaign = self.get_object(request, unquote(object_id))
        context = standing(request, campaign) if campaign is not None else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def standing_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """How it stands now."""
        campaign = self.seen(request, pk)
        return TemplateResponse(request, "admin/calls/campaign/figures.html", standing(request, campaign))

    def rehearsal_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """What would happen, and the button that makes it happen."""
        campaign = self.seen(request, pk)
        context: dict[str, Any] = {
            "faults": control.faults(campaign, now=timezone.now()) if campaign.status == Campaign.Status.DRAFT else [],
            "approval": approval(request, campaign),
            **test_call.offer(request, campaign),
            "found": preflight.rehearse(
                campaign,
                now=timezone.now(),
                people_shown=request.user.has_perm("calls.view_contact"),
                whole_numbers=request.user.has_perm("calls.view_numbers"),
            ),
            "may_export": request.user.has_perm("calls.export_campaign"),
            "may_launch": request.user.has_perm("calls.launch_campaign") and campaign.status == Campaign.Status.DRAFT,
        }
        return self.page(request, campaign, "rehearsal", title=f"Rehearsal of {campaign}", **context)

    def group_view(self, request: HttpRequest, pk: Any, group: str) -> HttpResponseBase:
        """The people of one group of the rehearsal, as it is now; its download is noted."""
        campaign = self.seen(request, pk)
        if not request.user.has_perm("calls.export_campaign"):
            raise PermissionDenied
        if group not in preflight.GROUPS:
            raise Http404
        why = request.GET.get("why", "")[:200]
        whole = request.user.has_perm("calls.view_numbers")
        table = preflight.group(campaign, kind=group, why=why, now=timezone.now(), whole_numbers=whole)
        self.log_change(request, campaign, f"Downloaded who is {group} in its rehearsal. {why}".strip())
        return download(request, table, name=f"rehearsal-{campaign.pk}-{group}", kind="csv")

    def test_call_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Has the campaign's agent ring the user."""
        campaign = self.seen(request, pk)
        if not request.user.has_perms(test_call.NEEDED):
            raise PermissionDenied
        self.log_change(request, campaign, "Asked for a test call.")
        return test_call.place(request, campaign)

    def _act(self, name: str) -> Any:
        permission = "calls.pause_campaign" if name == "pause" else "calls.launch_campaign"

        def view(request: HttpRequest, pk: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            campaign = self.seen(request, pk)
            now = timezone.now()
            try:
                with transaction.atomic():
                    _DO[name](campaign, now=now, user_id=request.user.pk)
                    self.log_change(request, campaign, f"{_SAID[name]}.")
            except Refused as refused:
                messages.error(request, str(refused))
            else:
                messages.success(request, f"{campaign}: {_SAID[name].lower()}.")
            return HttpResponseRedirect(reverse("admin:calls_campaign_change", args=[campaign.pk]))

        return view

    def switch_view(self, request: HttpRequest) -> HttpResponse:
        """Stops all dialling, or lets it go on."""
        if not request.user.has_perm("calls.pause_campaign"):
            raise PermissionDenied
        if request.POST.get("stop"):
            control.throw_switch(user_id=request.user.pk, why=request.POST.get("why", ""), now=timezone.now())
        elif request.user.has_perm("calls.launch_campaign"):
            control.throw_back(now=timezone.now(), user_id=request.user.pk)
            messages.success(request, "Dialling goes on.")
        else:
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:calls_campaign_changelist"))


def standing(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """How a campaign stands, for its page."""
    now = timezone.now()
    found = counts.counted(campaign, now=now)
    moves = campaign.status in rounds.GOES_ON
    going_through = list(campaign.rounds.all()) if moves else []
    going_on = live.going_on(campaign, whole_numbers=request.user.has_perm("calls.view_numbers"))
    waiting = campaign.people.filter(state=CampaignContact.State.WAITING).order_by("next_due").first()
    return {
        "campaign": campaign,
        "figures": [(label, found.states.get(state, 0)) for state, label in CampaignContact.State.choices],
        "counted_at": found.at if found.good_for_s else None,
        "rounds": going_through,
        "held": found.states.get(CampaignContact.State.HELD)
        and all(each.kind != CampaignRound.Kind.HELD for each in going_through),
        "total": found.total,
        "outcomes": [(OUTCOMES.get(came, came), people) for came, people in found.outcomes.items()],
        "reasons": found.reasons,
        "next_due": waiting.next_due if waiting else None,
        "overdue": bool(waiting and waiting.next_due and waiting.next_due < now - datetime.timedelta(minutes=5)),
        "stopped": gate.stopped() or readiness.trouble(campaign),
        "guards": guards.standing(campaign, now=now),
        "events": trace.done_to(campaign).order_by("-at", "-id")[:EVENTS_SHOWN] if campaign.launched_at else [],
        "going_on": going_on[: live.SHOWN],
        "going_on_more": len(going_on) > live.SHOWN,
        "paces": live.paces(campaign, now=now) if moves else [],
        "may_launch": request.user.has_perm("calls.launch_campaign"),
        "may_pause": request.user.has_perm("calls.pause_campaign"),
    }
