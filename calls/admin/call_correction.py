"""The outcome of a call, corrected by somebody who may; what the machine thought stays on the page."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import get_content_type_for_model
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.campaigns import corrections
from calls.campaigns.control import Refused
from calls.models import Call

PERMISSION = "calls.correct_outcome"
BELIEFS = {
    "machine_detected": "Plivo believed that a machine answered",
    "human_detected": "Plivo believed that a person answered",
}
FOUND = "answered_by"  # by the call's own session
WHO = {"machine": "a machine", "screening": "a call screener", "human": "a person"}
EVIDENCE = {
    "words": "what was said",
    "beep": "its beep",
    "long_greeting": "a greeting without a pause",
    "carrier": "Plivo's guess",
}


class CorrectionForm(forms.Form):
    """Another outcome, and why."""

    outcome = forms.ChoiceField(choices=[("", "Choose"), *Call.Outcome.choices], widget=UnfoldAdminSelectWidget())
    why = forms.CharField(max_length=corrections.MAX_WHY, widget=UnfoldAdminTextInputWidget())


class CallCorrection(ModelAdmin):
    """Of the admin of calls."""

    def get_urls(self) -> list[Any]:
        """Adds the button's address."""
        view = self.admin_site.admin_view(require_POST(self.correct_view))
        return [path("<int:call_id>/correct/", view, name="calls_call_correct"), *super().get_urls()]

    def correction(self, request: HttpRequest, call: Call) -> dict[str, Any]:
        """What the page shows of it."""
        noted = LogEntry.objects.filter(content_type=get_content_type_for_model(call), object_id=str(call.pk))
        may = call.status in corrections.CORRECTABLE and request.user.has_perm(PERMISSION)
        events = call.events.filter(kind__in=[*BELIEFS, FOUND]).order_by("at").values_list("kind", "data")
        return {
            "correction": CorrectionForm() if may else None,
            "corrections": noted.filter(action_flag=CHANGE).select_related("user").order_by("-action_time"),
            "beliefs": [BELIEFS.get(kind) or _found(data) for kind, data in events],
        }

    def correct_view(self, request: HttpRequest, call_id: int) -> HttpResponse:
        """Notes another outcome."""
        call = self.get_object(request, str(call_id))
        if call is None or not (self.has_view_permission(request, call) and request.user.has_perm(PERMISSION)):
            raise PermissionDenied
        outcome, why = request.POST.get("outcome", ""), request.POST.get("why", "")
        try:
            follows = corrections.correct(call, outcome=outcome, why=why, by_id=request.user.pk, now=timezone.now())
        except Refused as refused:
            messages.error(request, str(refused))
        else:
            label = Call.Outcome(outcome).label.lower()
            self.log_change(request, call, f"Corrected the outcome to {label}: {why.strip()}")
            messages.success(request, f"The outcome is {label} now. {follows}".strip())
        return HttpResponseRedirect(reverse("admin:calls_call_change", args=[call.pk]))


def _found(data: dict[str, Any]) -> str:
    who, evidence = WHO.get(data.get("who", ""), "somebody"), EVIDENCE.get(data.get("evidence", ""), "a guess")
    return f"{who} by {evidence}"
