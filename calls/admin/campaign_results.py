"""What came of a campaign: its figures on a page of their own, and tables to download."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.admin.campaign_pages import CampaignPages, download
from calls.campaigns import budget, copies, results
from calls.campaigns.control import Refused
from calls.campaigns.copies import Group
from calls.campaigns.exports import TooManyRows
from calls.campaigns.figures import TALKED_S, cost_each, figures
from calls.models import Campaign, CampaignContact

LONGEST_TALK_S = 24 * 3600


class TalkedForm(forms.Form):
    """From which length on a call is a talk."""

    talked_s = forms.IntegerField(
        label="A talk is longer than (s)",
        min_value=0,
        max_value=LONGEST_TALK_S,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class CopyForm(forms.Form):
    """Some of the people of a campaign, and what the new list of them is called."""

    group = forms.ChoiceField(label="Copy everybody of", widget=UnfoldAdminSelectWidget())
    name = forms.CharField(label="Name of the new list", max_length=80, widget=UnfoldAdminTextInputWidget())

    def __init__(self, found: list[Group], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(group.key, f"{group.said} ({group.people:,})") for group in found]
        self.fields["group"].choices = choices  # type: ignore[attr-defined]


class CampaignResults(CampaignPages):
    """Figures are for everybody who may see the campaign; tables of people for those who may download them."""

    def get_urls(self) -> list[URLPattern]:
        """Adds the page and its tables."""
        page, tables = (self.admin_site.admin_view(require_safe(view)) for view in (self.results_view, self.table_view))
        copy = self.admin_site.admin_view(require_POST(self.copy_view))
        return [
            path("<uuid:pk>/results/", page, name="calls_campaign_results"),
            path("<uuid:pk>/results/<str:what>.<str:kind>", tables, name="calls_campaign_table"),
            path("<uuid:pk>/copy/", copy, name="calls_campaign_copy"),
            *super().get_urls(),
        ]

    def results_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The figures as they are now."""
        campaign = self.seen(request, pk)
        may_copy = request.user.has_perm("calls.add_contactlist")
        found = copies.groups(campaign) if may_copy else []
        return self._results(request, campaign, CopyForm(found) if found else None)

    def _results(self, request: HttpRequest, campaign: Campaign, copy_form: CopyForm | None) -> HttpResponse:
        form = TalkedForm(request.GET if "talked_s" in request.GET else None, initial={"talked_s": TALKED_S})
        talked_s = form.cleaned_data["talked_s"] if form.is_valid() else TALKED_S
        found = figures(campaign, talked_s=talked_s)
        spent = budget.spent(campaign, now=timezone.now())
        return self.page(
            request,
            campaign,
            "results",
            title=f"Results of {campaign}",
            form=form,
            found=found,
            spent=spent,
            steps=list(zip(found.steps, cost_each(found, spent.usd), strict=True)),
            copy_form=copy_form,
            fields=results.extracted(campaign),
            may_export=request.user.has_perm("calls.export_campaign"),
            status=422 if form.errors or (copy_form and copy_form.errors) else 200,
        )

    def copy_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Copies a group of its people into a new list."""
        campaign = self.seen(request, pk)
        if not request.user.has_perm("calls.add_contactlist"):
            raise PermissionDenied
        found = {group.key: group for group in copies.groups(campaign)}
        form = CopyForm(list(found.values()), request.POST)
        if form.is_valid():
            group = found[form.cleaned_data["group"]]
            people = copies.of_group(campaign, group)
            said = f"{campaign}, {group.said}"
            if made := copied(self, request, people, form=form, said=said):
                return made
        return self._results(request, campaign, form)

    def table_view(self, request: HttpRequest, pk: Any, what: str, kind: str) -> HttpResponseBase:
        """Everybody, or every call, as a table; its download is noted."""
        campaign = self.seen(request, pk)
        if not request.user.has_perm("calls.export_campaign"):
            raise PermissionDenied
        if what not in results.TABLES:
            raise Http404
        table = results.TABLES[what](campaign, whole_numbers=request.user.has_perm("calls.view_numbers"))
        try:
            response = download(request, table, name=f"campaign-{campaign.pk}-{what}", kind=kind)
        except TooManyRows as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(reverse("admin:calls_campaign_results", args=[campaign.pk]))
        self.log_change(request, campaign, f"Downloaded the results of all {what} as {kind.upper()}.")
        return response


def copied(
    model_admin: ModelAdmin, request: HttpRequest, people: "QuerySet[CampaignContact]", *, form: forms.Form, said: str
) -> HttpResponse | None:
    """To the new list, as ``form`` names it; None when it cannot be made, and the form says why."""
    try:
        copy = copies.start(
            people, name=form.cleaned_data["name"], said=said, created_by_id=request.user.pk, now=timezone.now()
        )
    except Refused as refused:
        form.add_error("name", str(refused))
        return None
    model_admin.log_addition(request, copy.contact_list, f"Copied from {said}: {copy.total} people.")
    messages.success(request, copies.report(copy))
    return HttpResponseRedirect(reverse("admin:calls_contactlist_change", args=[copy.contact_list_id]))
