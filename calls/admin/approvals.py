"""The second person's part of a rehearsal: whether an approval is needed, who gave one, and the button for it."""

from typing import Any, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin

from calls.campaigns import approvals, control
from calls.models import Campaign


def approval(request: HttpRequest, campaign: Campaign) -> dict[str, Any]:
    """How a draft stands with its approval, for who looks at its rehearsal."""
    standing = approvals.standing(campaign)
    draft, user_id = campaign.status == Campaign.Status.DRAFT, request.user.pk
    given = any(each.approved_by_id == user_id for each in standing.valid)
    return {
        "standing": standing if draft and standing.needed else None,
        "lets_you_launch": standing.allows(user_id),
        "may_approve": draft and not given and request.user.has_perm("calls.approve_campaign"),
        "own": campaign.created_by_id == user_id,
        "given": given,
    }


class ApprovalPages(ModelAdmin):
    """Adds the address to which the button posts; its permission is one of its own."""

    def get_urls(self) -> list[URLPattern]:
        """Before the others."""
        view = self.admin_site.admin_view(require_POST(self.approve_view))
        return [path("<uuid:pk>/approve/", view, name="calls_campaign_approve"), *super().get_urls()]

    def approve_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Approves the plan that was shown, and nothing that it was changed to since."""
        campaign = get_object_or_404(Campaign, pk=pk)
        if not self.has_view_permission(request, campaign) or not request.user.has_perm("calls.approve_campaign"):
            raise PermissionDenied
        seen, user_id = request.POST.get("seen", ""), cast("int", request.user.pk)  # the admin lets nobody else in
        try:
            with transaction.atomic():
                control.approve(campaign, seen=seen, user_id=user_id, now=timezone.now())
                self.log_change(request, campaign, "Approved.")
        except control.Refused as refused:
            messages.error(request, str(refused))
        else:
            messages.success(request, f"{campaign}: approved. Somebody else may launch it as it is.")
        return HttpResponseRedirect(reverse("admin:calls_campaign_rehearsal", args=[campaign.pk]))
