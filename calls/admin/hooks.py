"""Webhooks out in the admin: endpoints, whose secrets are shown once, and what was sent to them."""

import datetime
import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST, require_safe
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminTextInputWidget

from agents.crypto import UndecryptableError
from agents.history import ReadOnlyHistoryAdmin
from calls.admin.edge import ReadOnlyAdmin
from calls.hooks import deliveries, destinations, endpoints, events
from calls.models import WebhookDelivery, WebhookEndpoint

LATEST = 10
MOST_AGAIN = 500
SOON = datetime.timedelta(minutes=2)  # so long the page looks whether something has come of it
FIELDS = ("name", "url", "events", "whole_numbers")


class EndpointForm(forms.ModelForm):
    """Where to, and what of. ``may_see_numbers`` is set by the admin: of whoever fills it in."""

    may_see_numbers = False
    url = forms.CharField(
        label="Address",
        max_length=destinations.MAX_URL,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
        help_text="Such as https://example.com/parley. Public addresses only; redirects are not followed.",
    )
    events = forms.MultipleChoiceField(
        choices=WebhookEndpoint.Event.choices, widget=UnfoldAdminCheckboxSelectMultipleWidget()
    )

    class Meta:
        model = WebhookEndpoint
        fields = FIELDS

    def clean_url(self) -> str:
        """Looked at as before each delivery, its name included."""
        url: str = self.cleaned_data["url"]
        try:
            destinations.check(url)
        except destinations.Refused as refused:
            raise forms.ValidationError(str(refused)) from None
        if url != self.instance.url and not self.may_see_numbers and self._holds_numbers():
            raise forms.ValidationError(
                "Whole numbers are sent here: only somebody who may see them may send them elsewhere."
            )
        return url

    def _holds_numbers(self) -> bool:
        row = self.instance
        return bool(row.whole_numbers or row.deliveries.filter(whole_numbers=True).exists()) if row.url else False


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Each button of its page is a permission and a POST of its own."""

    form = EndpointForm
    list_display = ("name", "url", "show_state", "show_events", "created_at")
    list_filter = ("enabled",)
    search_fields = ("name", "url")
    fields = FIELDS
    nothing_yet = "No webhooks yet. Add the address of a system that is to be told when a call has ended."
    change_form_before_template = "admin/calls/webhookendpoint/standing.html"
    warn_unsaved_form = True

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Lets the form know who fills it in."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.may_see_numbers = request.user.has_perm("calls.view_numbers")
        return form

    def get_readonly_fields(self, request: HttpRequest, _obj: WebhookEndpoint | None = None) -> tuple[str, ...]:
        """Nobody hands on what they may not see."""
        return () if request.user.has_perm("calls.view_numbers") else ("whole_numbers",)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Its deliveries go with it: counted, since there may be very many, and without a permission of their own."""
        gone = WebhookDelivery.objects.filter(endpoint__in=list(objs)).count()
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(each) for each in objs], {"webhook endpoints": len(objs), "deliveries": gone}, lacking, []

    def save_model(self, request: HttpRequest, obj: WebhookEndpoint, form: Any, change: bool) -> None:
        """A new one gets its secret; of an old one what the form shows is written, and nothing of its standing."""
        if not change:
            obj.secret, obj.created_by_id = endpoints.new_secret(), request.user.pk
            super().save_model(request, obj, form, change)
            return
        if "url" in form.changed_data:
            obj.failing_since = None
        obj.save(update_fields=[*form.changed_data, "failing_since"])

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Adding leads to the secret, whatever is pressed."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": not kwargs.get("add")}
        return super().render_change_form(request, context, *args, **kwargs)

    def response_add(
        self, request: HttpRequest, obj: WebhookEndpoint, _post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page with the secret."""
        return self._secret_page(request, obj, str(obj.secret))

    @display(
        description="State", label={"on": "success", "failing": "warning", "disabled": "danger"}, ordering="enabled"
    )
    def show_state(self, endpoint: WebhookEndpoint) -> str:
        return "disabled" if not endpoint.enabled else "failing" if endpoint.failing_since else "on"

    @display(description="Events")
    def show_events(self, endpoint: WebhookEndpoint) -> str:
        return ", ".join(endpoint.events)

    # --- pages and buttons -------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Adds the buttons, and the part of the page that moves."""
        wrap = self.admin_site.admin_view
        buttons = {"test": self.test_view, "roll": self.roll_view, "enable": self.enable_view}
        buttons["disable"] = self.disable_view
        return [
            *(
                path(f"<uuid:pk>/{name}/", wrap(require_POST(view)), name=f"calls_webhookendpoint_{name}")
                for name, view in buttons.items()
            ),
            path("<uuid:pk>/latest/", wrap(require_safe(self.latest_view)), name="calls_webhookendpoint_latest"),
            *super().get_urls(),
        ]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        endpoint = self.get_object(request, unquote(object_id))
        context = self._standing(request, endpoint) if endpoint is not None else {}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def latest_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """What was sent last, and the buttons."""
        endpoint = self._seen(request, pk)
        return TemplateResponse(request, "admin/calls/webhookendpoint/latest.html", self._standing(request, endpoint))

    def test_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Sends something to try it with."""
        endpoint = self._seen(request, pk, "calls.test_webhookendpoint")
        if endpoint.enabled:
            events.test(endpoint, now=timezone.now())
            self.log_change(request, endpoint, "Sent a test event.")
            messages.success(request, "A test event is on its way: see below what comes of it.")
        else:
            messages.error(request, "Nothing is sent to a disabled endpoint: enable it first.")
        return self._back(endpoint)

    def roll_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """A new secret, shown once."""
        endpoint = self._seen(request, pk, "calls.roll_webhookendpoint")
        try:
            with transaction.atomic():
                made = endpoints.roll(endpoint, now=timezone.now())
                self.log_change(request, endpoint, "Rolled the secret.")
        except UndecryptableError as error:
            messages.error(request, f"{error}; or delete this endpoint and add it anew.")
            return self._back(endpoint)
        return self._secret_page(request, endpoint, made, rolled=True)

    def enable_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """What waits for it is sent."""
        endpoint = self._changed(request, pk)
        with transaction.atomic():
            endpoints.enable(endpoint)
            self.log_change(request, endpoint, "Enabled.")
        return self._back(endpoint)

    def disable_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Nothing more is sent there."""
        endpoint = self._changed(request, pk)
        with transaction.atomic():
            endpoints.disable(endpoint.pk, reason=f"Disabled by {request.user}.")
            self.log_change(request, endpoint, "Disabled.")
        return self._back(endpoint)

    def _secret_page(
        self, request: HttpRequest, endpoint: WebhookEndpoint, secret: str, *, rolled: bool = False
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"Secret of {endpoint}",
            "opts": self.opts,
            "endpoint": endpoint,
            "secret": secret,
            "rolled": rolled,
        }
        response = TemplateResponse(request, "admin/calls/webhookendpoint/secret.html", context)
        response["Cache-Control"] = "no-store"
        return response

    def _standing(self, request: HttpRequest, endpoint: WebhookEndpoint) -> dict[str, Any]:
        may_see = request.user.has_perm("calls.view_webhookdelivery")
        latest = list(endpoint.deliveries.defer("body")[:LATEST]) if may_see else []
        soon = timezone.now() + SOON
        return {
            "endpoint": endpoint,
            "latest": latest,
            "moves": endpoint.enabled and any(each.next_try_at and each.next_try_at < soon for each in latest),
            "may_see": may_see,
            "may_test": request.user.has_perm("calls.test_webhookendpoint"),
            "may_roll": request.user.has_perm("calls.roll_webhookendpoint"),
            "may_change": self.has_change_permission(request, endpoint),
        }

    def _seen(self, request: HttpRequest, pk: Any, permission: str = "") -> WebhookEndpoint:
        endpoint: WebhookEndpoint = get_object_or_404(WebhookEndpoint, pk=pk)
        if not self.has_view_permission(request, endpoint) or (permission and not request.user.has_perm(permission)):
            raise PermissionDenied
        return endpoint

    def _changed(self, request: HttpRequest, pk: Any) -> WebhookEndpoint:
        endpoint = self._seen(request, pk)
        if not self.has_change_permission(request, endpoint):
            raise PermissionDenied
        return endpoint

    def _back(self, endpoint: WebhookEndpoint) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:calls_webhookendpoint_change", args=[endpoint.pk]))


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    """What was sent, as it was sent; numbers are whole only for those who may see them."""

    list_display = ("created_at", "kind", "endpoint", "show_state", "tries", "show_answer", "next_try_at")
    list_filter = ("state", "kind", "endpoint")
    list_select_related = ("endpoint",)
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("event_key",)
    search_help_text = "Id of a call or campaign"
    nothing_yet = "Nothing was sent yet. Add an address under Webhooks, then press “Send a test event”."
    fields = (
        "endpoint", "kind", "event_id", "state", "tries", "next_try_at", "show_answer", "last_took_ms",
        "created_at", "delivered_at", "show_body",
    )  # fmt: skip
    actions = ("deliver_again",)

    def get_fields(self, request: HttpRequest, _obj: WebhookDelivery | None = None) -> list[str]:
        shown = "show_body" if request.user.has_perm("calls.view_numbers") else "show_masked_body"
        return [shown if name == "show_body" else name for name in self.fields]

    def get_readonly_fields(self, request: HttpRequest, obj: WebhookDelivery | None = None) -> list[str]:
        return self.get_fields(request, obj)

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """For the action."""
        return request.user.has_perm("calls.resend_webhookdelivery")

    @admin.action(description="Deliver again", permissions=["resend"])
    def deliver_again(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """A new try under the same webhook-id, of those that are over."""
        chosen = list(queryset.select_related("endpoint").defer("body")[: MOST_AGAIN + 1])
        if len(chosen) > MOST_AGAIN:
            messages.error(request, f"Choose at most {MOST_AGAIN} deliveries at once.")
            return
        now = timezone.now()
        begun = [each for each in chosen if each.endpoint.enabled and deliveries.again(each, now=now)]
        for each in begun:
            self.log_change(request, each, "Delivered again.")
        if begun:
            messages.success(request, f"{len(begun)} of {len(chosen)} are delivered again.")
        if len(begun) < len(chosen):
            why = "they have not been delivered or given up yet, or their endpoint is disabled"
            messages.warning(request, f"{len(chosen) - len(begun)} are not delivered again: {why}.")

    @display(
        description="State",
        label={"waiting": "info", "sending": "info", "delivered": "success", "failed": "danger"},
        ordering="state",
    )
    def show_state(self, delivery: WebhookDelivery) -> tuple[str, str]:
        return delivery.state, delivery.get_state_display()

    @display(description="Last answer")
    def show_answer(self, delivery: WebhookDelivery) -> str:
        return delivery.last_error or (f"HTTP {delivery.last_status}" if delivery.last_status else "-")

    @display(description="Body")
    def show_body(self, delivery: WebhookDelivery) -> SafeString:
        return _text(json.loads(delivery.body))

    @display(description="Body")
    def show_masked_body(self, delivery: WebhookDelivery) -> SafeString:
        return _text(events.without_numbers(json.loads(delivery.body)))


def _text(body: Any) -> SafeString:
    """Indented, as text."""
    return format_html('<pre class="parley-text">{}</pre>', json.dumps(body, indent=2, ensure_ascii=False))
