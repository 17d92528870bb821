"""What arrived at the edge: webhooks that were taken in, and everything that was refused, with the remedy."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from calls.models import EdgeRefusal, WebhookEvent
from calls.reports import masked

NUMBERS = {"From", "To", "ForwardedFrom", "DialBLegFrom", "DialBLegTo", "CallerName"}


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only machines write: nobody's edits make a history."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), "show_history": False})


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    """Webhooks as they came."""

    nothing_yet = "Plivo has sent nothing yet. Connect a number under Phone numbers, then ring it."
    list_display = ("received", "kind", "call", "show_result")
    list_filter = ("kind",)
    list_select_related = ("call",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("call__public_id", "call__plivo_call_uuid")
    search_help_text = "Call id"
    readonly_fields = ("received", "kind", "call", "applied_at", "error", "params_whole", "params_masked")

    def get_fields(self, request: HttpRequest, _obj: WebhookEvent | None = None) -> list[str]:
        hidden = "params_masked" if request.user.has_perm("calls.view_numbers") else "params_whole"
        return [name for name in self.readonly_fields if name != hidden]

    @display(description="Received", ordering="received_at")
    def received(self, event: WebhookEvent) -> str:
        """To the second: the webhooks of a call come close together."""
        return timezone.localtime(event.received_at).strftime("%d %b %Y, %H:%M:%S")

    @display(description="Result", label={"applied": "success", "failed": "danger", "not applied": "warning"})
    def show_result(self, event: WebhookEvent) -> str:
        return "failed" if event.error else "applied" if event.applied_at else "not applied"

    @display(description="Parameters")
    def params_whole(self, event: WebhookEvent) -> str:
        return _lines(event.params)

    @display(description="Parameters")
    def params_masked(self, event: WebhookEvent) -> str:
        return _lines({name: masked(str(value)) if name in NUMBERS else value for name, value in event.params.items()})


@admin.register(EdgeRefusal)
class EdgeRefusalAdmin(ReadOnlyAdmin):
    """Refused webhooks and sockets, by minute and reason."""

    nothing_yet = "Nothing has been refused. Calls that Plivo sends and Parley turns away appear here, with the remedy."
    list_display = ("minute", "edge", "reason", "count", "remedy")
    list_filter = ("edge", "reason")
    list_per_page = 50
    fields = ("minute", "edge", "reason", "count", "remedy", "show_sample")
    readonly_fields = fields

    @display(description="The last one")
    def show_sample(self, refusal: EdgeRefusal) -> str:
        return _lines(refusal.sample)


def _lines(data: dict[str, Any]) -> str:
    shown = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in data.items()}
    return "\n".join(f"{name}: {value}" for name, value in shown.items())
