"""What arrived at the edge: webhooks that were taken in, and everything that was refused, with the remedy."""

import json
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.decorators import display

from calls.models import EdgeRefusal, WebhookEvent
from calls.reports import masked

NUMBERS = {"From", "To", "ForwardedFrom", "DialBLegFrom", "DialBLegTo", "CallerName"}


class ReadOnlyAdmin(ModelAdmin):
    """Rows that only machines write."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: object = None) -> bool:
        return False


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    """Webhooks as they came."""

    list_display = ("received_at", "kind", "call", "show_result")
    list_filter = ("kind",)
    list_select_related = ("call",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("call__public_id", "call__plivo_call_uuid")
    search_help_text = "Call id"
    readonly_fields = ("received_at", "kind", "call", "applied_at", "error", "params_whole", "params_masked")

    def get_fields(self, request: HttpRequest, _obj: WebhookEvent | None = None) -> list[str]:
        hidden = "params_masked" if request.user.has_perm("calls.view_numbers") else "params_whole"
        return [name for name in self.readonly_fields if name != hidden]

    @display(description="Result", label={"applied": "success", "failed": "danger", "not applied": "warning"})
    def show_result(self, event: WebhookEvent) -> str:
        return "failed" if event.error else "applied" if event.applied_at else "not applied"

    @display(description="Parameters")
    def params_whole(self, event: WebhookEvent) -> str:
        return _indented(event.params)

    @display(description="Parameters")
    def params_masked(self, event: WebhookEvent) -> str:
        return _indented(
            {name: masked(str(value)) if name in NUMBERS else value for name, value in event.params.items()}
        )


@admin.register(EdgeRefusal)
class EdgeRefusalAdmin(ReadOnlyAdmin):
    """Refused webhooks and sockets, by minute and reason."""

    list_display = ("minute", "edge", "reason", "count", "remedy")
    list_filter = ("edge", "reason")
    list_per_page = 50
    fields = ("minute", "edge", "reason", "count", "remedy", "show_sample")
    readonly_fields = fields

    @display(description="The last one")
    def show_sample(self, refusal: EdgeRefusal) -> str:
        return _indented(refusal.sample)


def _indented(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
