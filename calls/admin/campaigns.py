"""The plan of a campaign in the admin: its form and the list of all of them."""

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from agents.history import ReadOnlyHistoryAdmin
from calls.admin.approvals import ApprovalPages
from calls.admin.campaign_form import GUARDS, LATER, RETRIES, WHEN, CampaignForm
from calls.admin.campaign_results import CampaignResults
from calls.admin.campaign_watch import CampaignWatch
from calls.admin.week import WEEK
from calls.campaigns import control
from calls.models import Campaign, CampaignContact

MANY = ("contact_lists", "caller_numbers")


@admin.register(Campaign)
class CampaignAdmin(CampaignWatch, CampaignResults, ApprovalPages, ReadOnlyHistoryAdmin, ModelAdmin):
    """What may still be changed after the launch counts for all who are not claimed yet, those who wait included."""

    form = CampaignForm
    list_display = ("name", "agent", "show_status", "why_paused", "people_in_it", "launched_at")
    list_filter = ("status", "agent")
    list_select_related = ("agent",)
    search_fields = ("name",)
    autocomplete_fields = ("agent", "contact_lists", "caller_numbers")
    nothing_yet = "No campaigns yet. Import people under Contact lists first, then add a campaign that calls them."
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
                "fields": (
                    "concurrency",
                    "calls_per_second",
                    "ring_s",
                    "longest_call_s",
                    "gap_hours",
                    "most_a_day",
                    "most_a_week",
                    *RETRIES,
                ),
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

    def get_fieldsets(self, request: HttpRequest, obj: Campaign | None = None) -> Any:
        """Whoever may change it sends back what they saw of it."""
        first, *others = super().get_fieldsets(request, obj)
        if obj is not None and self.has_change_permission(request, obj):
            first = (first[0], first[1] | {"fields": (*first[1]["fields"], "seen")})
        return [first, *others]

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
        if not WHEN.isdisjoint(form.changed_data):
            control.changed(obj, now=timezone.now())

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
