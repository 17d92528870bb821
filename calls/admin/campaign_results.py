"""What came of a campaign: its figures on a page of their own, and tables to download."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_safe
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from calls.admin.campaign_pages import CampaignPages, download
from calls.campaigns import results
from calls.campaigns.exports import TooManyRows
from calls.campaigns.figures import TALKED_S, figures

LONGEST_TALK_S = 24 * 3600


class TalkedForm(forms.Form):
    """From which length on a call is a talk."""

    talked_s = forms.IntegerField(
        label="A talk is longer than (s)",
        min_value=0,
        max_value=LONGEST_TALK_S,
        widget=UnfoldAdminIntegerFieldWidget(),
    )


class CampaignResults(CampaignPages):
    """Figures are for everybody who may see the campaign; tables of people for those who may download them."""

    def get_urls(self) -> list[URLPattern]:
        """Adds the page and its tables."""
        page, tables = (self.admin_site.admin_view(require_safe(view)) for view in (self.results_view, self.table_view))
        return [
            path("<uuid:pk>/results/", page, name="calls_campaign_results"),
            path("<uuid:pk>/results/<str:what>.<str:kind>", tables, name="calls_campaign_table"),
            *super().get_urls(),
        ]

    def results_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The figures as they are now."""
        campaign = self.seen(request, pk)
        form = TalkedForm(request.GET if "talked_s" in request.GET else None, initial={"talked_s": TALKED_S})
        talked_s = form.cleaned_data["talked_s"] if form.is_valid() else TALKED_S
        return self.page(
            request,
            campaign,
            "results",
            title=f"Results of {campaign}",
            form=form,
            found=figures(campaign, talked_s=talked_s),
            may_export=request.user.has_perm("calls.export_campaign"),
            status=422 if form.errors else 200,
        )

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
