"""Everybody of all campaigns in the admin: where they stand, and why."""

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from calls.admin.campaign_results import copied
from calls.campaigns.explain import explain
from calls.campaigns.trace import moments
from calls.models import CampaignContact
from calls.numbers import NumberRefused, parse
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
    search_help_text = "Name, or a whole number with its country code if you may see numbers"
    nothing_yet = "Nobody yet: people appear here when a campaign is launched."
    fields = ("who", "campaign", "state", "attempts", "outcome", "next_due", "why")
    readonly_fields = ("who_masked", *fields)
    change_form_after_template = "admin/calls/campaigncontact/trace.html"
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

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        return _shown(request, self.list_display)

    def get_fields(self, request: HttpRequest, _obj: CampaignContact | None = None) -> tuple[str, ...]:
        return _shown(request, self.fields)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[CampaignContact], search_term: str
    ) -> tuple[QuerySet[CampaignContact], bool]:
        """A whole number finds its people, for those who may see numbers."""
        if request.user.has_perm("calls.view_numbers"):
            try:
                return queryset.filter(number=parse(search_term).e164), False
            except NumberRefused:
                pass  # words, then
        return super().get_search_results(request, queryset, search_term)

    @display(description="Person")
    def who(self, person: CampaignContact) -> str:
        return _who(person, person.number)

    @display(description="Person")
    def who_masked(self, person: CampaignContact) -> str:
        return _who(person, masked(person.number))

    @display(
        description="State",
        label={"waiting": "info", "calling": "success", "done": "", "held": "warning", "skipped": "danger"},
        ordering="state",
    )
    def show_state(self, person: CampaignContact) -> tuple[str, str]:
        return person.state, person.get_state_display()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Shows what the rules say of them now, and all that happened."""
        person = self.get_object(request, unquote(object_id))
        context: dict[str, Any] = {"show_history": False}  # nobody edits them
        if person is not None:
            context |= {"found": explain(person, now=timezone.now()), "moments": moments(person)}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})


def _shown(request: HttpRequest, names: tuple[str, ...]) -> tuple[str, ...]:
    if request.user.has_perm("calls.view_numbers"):
        return names
    return tuple("who_masked" if name == "who" else name for name in names)


def _who(person: CampaignContact, number: str) -> str:
    return f"{person.contact.name} {number}".strip() if person.contact else number
