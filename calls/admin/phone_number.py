"""Phone numbers: fetched from Plivo or typed in, given to an agent, connected to us."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from calls import phone
from calls.addresses import application_urls
from calls.models import PhoneNumber, PlivoAccount
from calls.telephony.base import CarrierError


@admin.register(PhoneNumber)
class PhoneNumberAdmin(SimpleHistoryAdmin, ModelAdmin):
    """Which agent answers which number, and the URLs that Plivo must call for it."""

    list_display = ("number", "alias", "agent", "plivo_account", "show_connected")
    list_filter = ("plivo_account", "agent", "points_here")
    list_select_related = ("agent", "plivo_account")
    search_fields = ("number", "alias", "agent__name")
    autocomplete_fields = ("agent",)
    readonly_fields = (
        "show_connected",
        "country",
        "number_type",
        "synced_at",
        "answer_url",
        "hangup_url",
        "fallback_url",
    )
    actions_list = ("fetch_numbers",)
    actions_detail = ("connect",)
    fieldsets = (
        (None, {"fields": ("number", "alias", "plivo_account", "agent")}),
        (
            "What Plivo must call",
            {
                "description": "Connect enters these at Plivo. By hand: an XML application, all by POST.",
                "fields": ("show_connected", "answer_url", "hangup_url", "fallback_url"),
            },
        ),
        ("At Plivo", {"fields": ("country", "number_type", "synced_at"), "classes": ("collapse",)}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: PhoneNumber | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        # A number that exists keeps its calls and its history: a different number is a different row.
        return (*fields, "number", "plivo_account") if obj else fields

    @display(description="Connected", label={"Yes": "success", "No": "danger", "Not known": "warning"})
    def show_connected(self, number: PhoneNumber) -> str:
        return {True: "Yes", False: "No", None: "Not known"}[number.points_here]

    @display(description="Answer URL")
    def answer_url(self, _number: PhoneNumber) -> str:
        return application_urls()["answer_url"]

    @display(description="Hangup URL")
    def hangup_url(self, _number: PhoneNumber) -> str:
        return application_urls()["hangup_url"]

    @display(description="Fallback URL")
    def fallback_url(self, _number: PhoneNumber) -> str:
        return application_urls()["fallback_answer_url"]

    @action(description="Fetch numbers from Plivo", url_path="fetch", permissions=["fetch"])
    def fetch_numbers(self, request: HttpRequest) -> HttpResponse:
        """Brings in the numbers of every account."""
        accounts: QuerySet[PlivoAccount] = PlivoAccount.objects.all()
        if not accounts:
            messages.warning(request, "There is no Plivo account yet: add one under Connections.")
        for account in accounts:
            try:
                found = phone.sync_numbers(account)
            except CarrierError as error:
                messages.error(request, f"{account.name}: {error.message}")
            else:
                messages.success(
                    request, f"{account.name}: {found.added} new numbers, {found.known} known, {found.gone} gone."
                )
        return HttpResponseRedirect(reverse("admin:calls_phonenumber_changelist"))

    @action(description="Connect", url_path="connect", permissions=["fetch"])
    def connect(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Makes Plivo send this number's calls here."""
        number = self.get_object(request, str(object_id))
        if number is None or not self.has_change_permission(request, number):
            raise PermissionDenied
        try:
            phone.connect_number(number)
        except CarrierError as error:
            messages.error(request, error.message)
        else:
            messages.success(request, f"Plivo now sends the calls of {number.number} to Parley.")
        return HttpResponseRedirect(reverse("admin:calls_phonenumber_change", args=[number.pk]))

    def has_fetch_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Both actions change numbers."""
        return self.has_change_permission(request)
