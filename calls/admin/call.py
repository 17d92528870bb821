"""The call log: a list that finds any call, and one page that shows all of it. Only its outcome can be corrected."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import (
    ChoicesDropdownFilter,
    DropdownFilter,
    RangeDateTimeFilter,
    RelatedDropdownFilter,
)
from unfold.decorators import display

from calls import costs, phone, summaries
from calls.admin.call_correction import CallCorrection
from calls.models import Call, CallSummary, Recording, Turn
from calls.reports import call_page, masked
from calls.states import is_over
from calls.telephony.base import CarrierError

STATUS_COLOURS = {
    Call.Status.LIVE: "success",
    Call.Status.ANSWERED: "info",
    Call.Status.RINGING: "info",
    Call.Status.UNKNOWN: "warning",
    Call.Status.REJECTED: "danger",
}
OUTCOME_COLOURS = {
    Call.Outcome.COMPLETED: "success",
    Call.Outcome.FAILED: "danger",
    Call.Outcome.NO_ANSWER: "warning",
    Call.Outcome.BUSY: "warning",
    Call.Outcome.MACHINE: "info",
}


class RecordedFilter(admin.SimpleListFilter):
    """Calls with, or without, a recording that can be played."""

    title = "recording"
    parameter_name = "recorded"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "Recorded"), ("no", "Not recorded")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        ready = Exists(Recording.objects.filter(call=OuterRef("pk"), status=Recording.Status.READY))
        return {"yes": queryset.filter(ready), "no": queryset.filter(~ready)}.get(self.value() or "", queryset)


class OutcomeFilter(DropdownFilter):
    """By the outcome that the list shows: what an operator has said of a call beats the machine's."""

    title = "outcome"
    parameter_name = "outcome"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        return Call.Outcome.choices

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        asked = self.value()
        if not asked:
            return queryset
        return queryset.filter(Q(corrected_outcome=asked) | Q(corrected_outcome="", outcome=asked))


@admin.register(Call)
class CallAdmin(CallCorrection, ModelAdmin):
    """Read-only; numbers are whole only for those with ``calls.view_numbers``."""

    list_display = (
        "started",
        "who",
        "agent",
        "show_status",
        "show_outcome",
        "length",
        "turn_count",
        "what_became_of_it",
    )
    list_filter = (
        ("created_at", RangeDateTimeFilter),
        ("agent", RelatedDropdownFilter),
        OutcomeFilter,
        ("end_reason", ChoicesDropdownFilter),
        ("status", ChoicesDropdownFilter),
        ("summary__sentiment", ChoicesDropdownFilter),
        ("summary__success", admin.BooleanFieldListFilter),
        RecordedFilter,
        "direction",
    )
    list_filter_submit = True
    list_per_page = 50
    list_select_related = ("agent", "summary")
    nothing_yet = "No calls yet. Give a phone number to an agent and ring it, or press “Talk to it” on an agent's page."
    show_full_result_count = False  # counting a million rows is the dearest part of a list
    date_hierarchy = None
    ordering = ("-created_at", "-id")
    change_form_template = "admin/calls/call/change_form.html"
    search_help_text = "Number, call id, words of the summary"

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Call | None = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Call | None = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        # Counted for the rows of the page alone: a join would group the whole table first.
        turns = Turn.objects.filter(call=OuterRef("pk"), role__in=["caller", "agent"]).order_by()
        made = Subquery(turns.values("call").annotate(made=Count("pk")).values("made"))
        return super().get_queryset(request).annotate(turns_made=Coalesce(made, 0))

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        if request.user.has_perm("calls.view_numbers"):
            return self.list_display
        return tuple("who_masked" if name == "who" else name for name in self.list_display)

    def get_search_fields(self, request: HttpRequest) -> tuple[str, ...]:
        fields = ("public_id", "plivo_call_uuid", "summary__summary", "summary__outcome")
        # Searching by a number that one may not see would find it out digit by digit.
        return (*fields, "from_number", "to_number") if request.user.has_perm("calls.view_numbers") else fields

    @display(description="Started", ordering="created_at")
    def started(self, call: Call) -> str:
        return timezone.localtime(call.created_at).strftime("%d %b %Y, %H:%M:%S")

    @display(description="From → to", header=True)
    def who(self, call: Call) -> list[str]:
        return _parties(call, str)

    @display(description="From → to", header=True)
    def who_masked(self, call: Call) -> list[str]:
        return _parties(call, masked)

    @display(description="Status", label=STATUS_COLOURS, ordering="status")
    def show_status(self, call: Call) -> tuple[str, str]:
        return call.status, call.get_status_display()

    @display(description="Outcome", label=OUTCOME_COLOURS, ordering="outcome")
    def show_outcome(self, call: Call) -> tuple[str, str] | str:
        if call.corrected_outcome:
            return call.corrected_outcome, f"{call.get_corrected_outcome_display()} (corrected)"
        return (call.outcome, call.get_outcome_display()) if call.outcome else "-"

    @display(description="Length", ordering="duration_s")
    def length(self, call: Call) -> str:
        start, end = call.answered_at or call.live_at, call.ended_at
        seconds = call.duration_s
        if seconds is None and start and end:
            seconds = int((end - start).total_seconds())
        return "-" if seconds is None else f"{seconds // 60}:{seconds % 60:02}"

    @display(description="Turns", ordering="turns_made")
    def turn_count(self, call: Call) -> int:
        return call.turns_made  # type: ignore[attr-defined]

    @display(description="What became of it")
    def what_became_of_it(self, call: Call) -> str:
        summary = getattr(call, "summary", None)
        if summary is None:
            return "-"
        # "Failed" alone would read as if the call had.
        skipped = summary.status == CallSummary.Status.SKIPPED
        status = summary.get_status_display()
        return summary.outcome or (status if skipped else f"Summary {status.lower()}")

    def get_urls(self) -> list[Any]:
        views = [
            ("hang-up", self.hang_up_view, "calls_call_hang_up"),
            ("retry-summary", self.retry_summary_view, "calls_call_retry_summary"),
        ]
        ours = [
            path(f"<int:call_id>/{name}/", self.admin_site.admin_view(require_POST(view)), name=url_name)
            for name, view, url_name in views
        ]
        return [*ours, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        call = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if call is not None:
            user = request.user
            live = not is_over(call.status)
            page = call_page(call)
            shown = str if user.has_perm("calls.view_numbers") else masked
            context |= {
                **self.correction(request, call),
                "page": page,
                "length": self.length(call),
                "cost": costs.of_call(call, table=costs.prices(), now=timezone.now()),
                "has_timings": any(view.stages for view in page.turns),
                "from_number": shown(call.from_number),
                "to_number": shown(call.to_number),
                "may_listen": user.has_perm("calls.listen_call"),
                "may_hang_up": live and bool(call.plivo_call_uuid) and user.has_perm("calls.hang_up_call"),
                "is_live": live,
                "show_history": False,  # nobody edits a call
                "title": f"Call of {self.started(call)}",
            }
        return super().change_view(request, object_id, form_url, context)

    def hang_up_view(self, request: HttpRequest, call_id: int) -> HttpResponse:
        """Ends a live call at Plivo."""
        call = self._object_or_denied(request, call_id, "calls.hang_up_call")
        try:
            phone.hang_up(call)
        except CarrierError as error:
            messages.error(request, error.message)
        except ValueError as error:  # a call of the browser's
            messages.error(request, str(error))
        else:
            messages.success(request, "Plivo was asked to end the call.")
        return _back_to(call)

    def retry_summary_view(self, request: HttpRequest, call_id: int) -> HttpResponse:
        """Makes a failed summary due again."""
        call = self._object_or_denied(request, call_id, "calls.view_call")
        if summaries.retry(call_id=call.pk):
            messages.success(request, "The summary will be made within seconds; reload then.")
        else:
            messages.info(request, "The summary has not failed: there is nothing to repeat.")
        return _back_to(call)

    def _object_or_denied(self, request: HttpRequest, call_id: int, permission: str) -> Call:
        call = self.get_object(request, str(call_id))
        if call is None or not (self.has_view_permission(request, call) and request.user.has_perm(permission)):
            raise PermissionDenied
        return call


def _parties(call: Call, shown: Callable[[str], str]) -> list[str]:
    label = call.get_direction_display() + (" · sandbox" if call.is_sandbox else "")
    if call.direction == Call.Direction.BROWSER:
        return ["Talk to it", label]
    return [f"{shown(call.from_number)} → {shown(call.to_number)}", label]


def _back_to(call: Call) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:calls_call_change", args=[call.pk]))
