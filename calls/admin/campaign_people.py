"""Everybody of all campaigns in the admin: where they stand, and why."""

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from calls.admin.campaign_results import copied
from calls.models import CampaignContact
from calls.reports import masked


class NewListForm(forms.Form):
    """What a list is called."""

    name = forms.CharField(label="Name of the new list", max_length=80, widget=UnfoldAdminTextInputWidget())


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
    actions = ("copy_into_list",)

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: CampaignContact | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: CampaignContact | None = None) -> bool:
        return False

    def has_copy_permission(self, request: HttpRequest) -> bool:
        """For the action below."""
        return request.user.has_perm("calls.add_contactlist")

    @admin.action(description="Copy into a new list", permissions=["copy"])
    def copy_into_list(self, request: HttpRequest, queryset: QuerySet[CampaignContact]) -> HttpResponse:
        """Asks what the list is called, and copies whoever was chosen."""
        count = queryset.count()
        form = NewListForm(request.POST if "name" in request.POST else None)
        if form.is_valid() and (made := copied(self, request, queryset, form=form, said="chosen one by one")):
            return made
        context = {
            **self.admin_site.each_context(request),
            "title": "Copy people into a new list",
            "opts": self.opts,
            "form": form,
            "count": count,
            "chosen": request.POST.getlist(ACTION_CHECKBOX_NAME),
            "everybody": request.POST.get("select_across", "0"),
        }
        status = 422 if form.errors else 200
        return TemplateResponse(request, "admin/calls/campaigncontact/copy.html", context, status=status)

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
