"""Everybody of all campaigns in the admin: where they stand, and why."""

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from calls.models import CampaignContact
from calls.reports import masked


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
