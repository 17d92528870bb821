"""Campaigns in the admin: planned, rehearsed, launched, watched, paused."""

import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from unfold.admin import ModelAdmin
from unfold.decorators import display

from agents.history import ReadOnlyHistoryAdmin
from calls.admin import test_call
from calls.admin.approvals import ApprovalPages, approval
from calls.admin.campaign_form import GUARDS, LATER, RETRIES, WEEK, CampaignForm
from calls.campaigns import control, gate, guards, readiness, results
from calls.campaigns.control import Refused
from calls.campaigns.exports import csv_lines
from calls.campaigns.preflight import rehearse
from calls.models import Campaign, CampaignContact, Switch
from calls.reports import masked


@admin.register(Campaign)
class CampaignAdmin(ApprovalPages, ReadOnlyHistoryAdmin, ModelAdmin):
    """What may still be changed after the launch counts for those who are not claimed yet."""

    form = CampaignForm
    list_display = ("name", "agent", "show_status", "why_paused", "people_in_it", "launched_at")
    list_filter = ("status", "agent")
    list_select_related = ("agent",)
    search_fields = ("name",)
    autocomplete_fields = ("agent", "contact_lists", "caller_numbers")
    nothing_yet = "No campaigns yet. Import people under Contact lists first, then add a campaign that calls them."
    change_form_before_template = "admin/calls/campaign/standing.html"
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("name", "agent", "agent_version", "purpose")}),
        ("Whom", {"fields": ("contact_lists", "countries")}),
        ("From which number", {"fields": ("caller_numbers",)}),
        (
            "When",
            {
                "fields": ("starts_at", "ends_at", "on_holidays", *WEEK),
                "description": "In the time of whoever is called. The law of their country and state narrows these "
                "hours, and nothing here widens it. Write 9:00-12:00, 13:00-18:00; leave a day empty to call nobody.",
            },
        ),
        ("When no person answers", {"fields": ("on_machine", "voicemail_message", "screening_answer")}),
        (
            "How often",
            {
                "fields": ("concurrency", "ring_s", "gap_hours", "most_a_day", "most_a_week", *RETRIES),
                "description": "After each outcome: minutes until the second, third ... attempt; empty for no other.",
            },
        ),
        ("When it pauses by itself", {"fields": GUARDS}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Campaign]:
        # For the rows of the page alone: a join would group everybody first.
        people = CampaignContact.objects.filter(campaign=OuterRef("pk")).order_by().values("campaign")
        counted = Subquery(people.annotate(made=Count("pk")).values("made"))
        return super().get_queryset(request).annotate(count_people=Coalesce(counted, 0))

    def get_readonly_fields(self, _request: HttpRequest, obj: Campaign | None = None) -> tuple[str, ...]:
        """After the launch a campaign is what was launched, but for its pace and hours."""
        if obj is None or obj.status == Campaign.Status.DRAFT:
            return ()
        fixed = [name for name in CampaignForm.Meta.fields if name not in LATER]
        return tuple(fixed)

    def has_delete_permission(self, request: HttpRequest, obj: Campaign | None = None) -> bool:
        """A campaign that has called people stays."""
        started = obj is not None and obj.status != Campaign.Status.DRAFT
        return not started and super().has_delete_permission(request, obj)

    def save_model(self, request: HttpRequest, obj: Campaign, form: Any, change: bool) -> None:
        """Notes who planned it; after the launch only what may change is written, and nothing of its standing."""
        if not change:
            obj.created_by_id = request.user.pk
            super().save_model(request, obj, form, change)
            return
        obj.save(update_fields=[*(name for name in CampaignForm.Meta.fields if name not in MANY), "week", "retries"])

    @display(
        description="Status",
        label={"running": "success", "paused": "warning", "stopped": "danger", "finished": "info", "draft": ""},
        ordering="status",
    )
    def show_status(self, campaign: Campaign) -> tuple[str, str]:
        return campaign.status, campaign.get_status_display()

    @display(description="Why paused")
    def why_paused(self, campaign: Campaign) -> str:
        return campaign.paused_why if campaign.status == Campaign.Status.PAUSED else ""

    @display(description="People", ordering="count_people")
    def people_in_it(self, campaign: Campaign) -> str:
        return f"{campaign.count_people:,}"  # type: ignore[attr-defined]

    # --- pages -------------------------------------------------------------------------------------------------------

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
            path("<uuid:pk>/results/", wrap(require_safe(self.results_view)), name="calls_campaign_results"),
            path("<uuid:pk>/test-call/", wrap(require_POST(self.test_call_view)), name="calls_campaign_test_call"),
            path("<uuid:pk>/standing/", wrap(require_safe(self.standing_view)), name="calls_campaign_standing"),
            path("switch/", wrap(require_POST(self.switch_view)), name="calls_campaign_switch"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Says so when nothing may be dialled."""
        if why := gate.stopped():
            messages.error(request, f"Nobody is called: {why}.")
        context = {"switch": Switch.objects.first(), "may_stop_all": request.user.has_perm("calls.pause_campaign")}
        return super().changelist_view(request, {**(extra_context or {}), **context})

    list_before_template = "admin/calls/campaign/switch.html"

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        campaign = self.get_object(request, unquote(object_id))
        context = standing(request, campaign) if campaign is not None else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def standing_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """How it stands now."""
        campaign = self._seen(request, pk)
        return TemplateResponse(request, "admin/calls/campaign/figures.html", standing(request, campaign))

    def results_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Everybody and what came of it, as a table; its download is noted."""
        campaign = self._seen(request, pk)
        if not request.user.has_perm("calls.export_campaign"):
            raise PermissionDenied
        self.log_change(request, campaign, "Downloaded the results.")
        table = results.rows(campaign, whole_numbers=request.user.has_perm("calls.view_numbers"))
        response = StreamingHttpResponse(csv_lines(table), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="campaign-{campaign.pk}.csv"'
        return response

    def rehearsal_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """What would happen, and the button that makes it happen."""
        campaign = self._seen(request, pk)
        context = {
            **self.admin_site.each_context(request),
            **test_call.offer(request, campaign),
            "title": f"Rehearsal of {campaign}",
            "opts": self.opts,
            "campaign": campaign,
            "faults": control.faults(campaign) if campaign.status == Campaign.Status.DRAFT else [],
            "approval": approval(request, campaign),
            "found": rehearse(campaign, now=timezone.now()),
            "may_launch": request.user.has_perm("calls.launch_campaign") and campaign.status == Campaign.Status.DRAFT,
        }
        return TemplateResponse(request, "admin/calls/campaign/rehearsal.html", context)

    def test_call_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Has the campaign's agent ring the user."""
        campaign = self._seen(request, pk)
        if not request.user.has_perm("calls.launch_campaign"):
            raise PermissionDenied
        self.log_change(request, campaign, "Asked for a test call.")
        return test_call.place(request, campaign)

    def _act(self, name: str) -> Any:
        permission = "calls.pause_campaign" if name == "pause" else "calls.launch_campaign"

        def view(request: HttpRequest, pk: Any) -> HttpResponse:
            if not request.user.has_perm(permission):
                raise PermissionDenied
            campaign = self._seen(request, pk)
            now = timezone.now()
            try:
                with transaction.atomic():
                    _DO[name](campaign, now, request.user.pk)
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
            control.throw_back()
            messages.success(request, "Dialling goes on.")
        else:
            raise PermissionDenied
        return HttpResponseRedirect(reverse("admin:calls_campaign_changelist"))

    def _seen(self, request: HttpRequest, pk: Any) -> Campaign:
        campaign = get_object_or_404(
            Campaign.objects.select_related("agent__published_version", "agent_version"), pk=pk
        )
        if not self.has_view_permission(request, campaign):
            raise PermissionDenied
        return campaign


MANY = ("contact_lists", "caller_numbers")
_DO: dict[str, Any] = {
    "launch": lambda campaign, now, user_id: control.launch(campaign, now=now, user_id=user_id),
    "pause": lambda campaign, now, user_id: control.pause(campaign, now=now, user_id=user_id),
    "resume": lambda campaign, now, _: control.resume(campaign, now=now),
    "stop": lambda campaign, now, _: control.stop(campaign, now=now),
    "look_again": lambda campaign, now, _: control.look_again(campaign, now=now),
}
_SAID = {
    "launch": "Launched",
    "pause": "Paused",
    "resume": "Resumed",
    "stop": "Stopped for good",
    "look_again": "Whoever was held is looked at again",
}


def standing(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """How a campaign stands, for its page."""
    states = dict(campaign.people.order_by().values_list("state").annotate(people=Count("id")))
    outcomes = campaign.people.exclude(outcome="").order_by().values_list("outcome").annotate(people=Count("id"))
    reasons = (
        campaign.people.filter(state__in=["held", "skipped"])
        .order_by()
        .values_list("state", "why")
        .annotate(people=Count("id"))
        .order_by("-people")[:20]
    )
    waiting = campaign.people.filter(state=CampaignContact.State.WAITING).order_by("next_due").first()
    return {
        "campaign": campaign,
        "figures": [(label, states.get(state, 0)) for state, label in CampaignContact.State.choices],
        "held": states.get(CampaignContact.State.HELD, 0),
        "total": sum(states.values()),
        "outcomes": sorted(outcomes, key=lambda pair: -pair[1]),
        "reasons": list(reasons),
        "next_due": waiting.next_due if waiting else None,
        "overdue": bool(
            waiting and waiting.next_due and waiting.next_due < timezone.now() - datetime.timedelta(minutes=5)
        ),
        "stopped": gate.stopped() or readiness.trouble(campaign),
        "guards": guards.standing(campaign),
        "may_launch": request.user.has_perm("calls.launch_campaign"),
        "may_export": request.user.has_perm("calls.export_campaign"),
        "may_pause": request.user.has_perm("calls.pause_campaign"),
    }


@admin.register(CampaignContact)
class CampaignContactAdmin(ModelAdmin):
    """Everybody of all campaigns: where they stand, and why. Nobody edits it."""

    list_display = ("who", "campaign", "show_state", "attempts", "outcome", "next_due", "why")
    list_filter = ("campaign", "state", "outcome")
    list_select_related = ("campaign", "contact")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("contact__name",)
    nothing_yet = "Nobody yet: people appear here when a campaign is launched."
    fields = ("who", "campaign", "state", "attempts", "outcome", "next_due", "why", "trace")
    readonly_fields = fields

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: CampaignContact | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: CampaignContact | None = None) -> bool:
        return False

    @display(description="Person")
    def who(self, person: CampaignContact) -> str:
        number = masked(person.number)
        return f"{person.contact.name} {number}".strip() if person.contact else number

    @display(
        description="State",
        label={"waiting": "info", "calling": "success", "done": "", "held": "warning", "skipped": "danger"},
        ordering="state",
    )
    def show_state(self, person: CampaignContact) -> tuple[str, str]:
        return person.state, person.get_state_display()

    @display(description="Attempts")
    def trace(self, person: CampaignContact) -> str:
        """Each attempt with what is known of it."""
        lines = []
        for call in person.calls.order_by("attempt").prefetch_related("events"):
            notes = [event.data.get("why") or event.data.get("detail", "") for event in call.events.all()]
            said = "; ".join(filter(None, notes))
            at = timezone.localtime(call.created_at).strftime("%d %b %Y, %H:%M:%S")
            lines.append(f"{call.attempt}: {at}, {call.get_status_display()} {call.outcome} {said}".strip())
        return "\n".join(lines) or "Not called yet."
