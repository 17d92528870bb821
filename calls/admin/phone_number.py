"""Phone numbers: fetched from Plivo or typed in, given to an agent, connected to us."""

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.decorators import action, display

from agents.history import ReadOnlyHistoryAdmin
from calls import phone
from calls.addresses import application_urls
from calls.models import PhoneNumber
from calls.telephony.base import CarrierError

CONNECT = "calls_phonenumber_connect"


@admin.register(PhoneNumber)
class PhoneNumberAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Which agent answers which number, and the URLs that Plivo must call for it."""

    list_display = ("number", "alias", "agent", "plivo_account", "show_connected")
    list_filter = ("plivo_account", "agent", "points_here")
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
    nothing_yet = "No numbers yet. Add your Plivo account under Plivo accounts, then press “Fetch numbers from Plivo”."
    list_before_template = "admin/calls/phonenumber/fetch.html"
    actions_submit_line = ("connect",)
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("number", "alias", "plivo_account", "agent")}),
        (
            "What Plivo must call",
            {
                "description": "“Save and connect” enters these at Plivo. By hand: an XML application, all by POST.",
                "fields": ("show_connected", "answer_url", "hangup_url", "fallback_url"),
            },
        ),
        ("At Plivo", {"fields": ("country", "number_type", "synced_at"), "classes": ("collapse",)}),
    )
    add_fieldsets = ((None, {"fields": ("number", "alias", "plivo_account", "agent")}),)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PhoneNumber]:
        """With what the list names in the same query, but no token, which a lost key would make unreadable."""
        numbers = super().get_queryset(request).select_related("agent", "plivo_account")
        return numbers.defer("plivo_account__auth_token")

    def get_history_queryset(self, *args: Any, **kwargs: Any) -> Any:
        """The same for the history, which names the accounts, too."""
        return super().get_history_queryset(*args, **kwargs).defer("plivo_account__auth_token")

    def get_readonly_fields(self, request: HttpRequest, obj: PhoneNumber | None = None) -> tuple[str, ...]:
        fields = tuple(super().get_readonly_fields(request, obj))
        # A number that exists keeps its calls and its history: a different number is a different row.
        return (*fields, "number", "plivo_account") if obj else fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Says what the typed fields want; the number is typed only once."""
        number = "With its country code, such as +14155550100; it must be rented at the Plivo account below."
        kwargs["help_texts"] = {
            "number": "" if obj else number,
            "alias": "A name for colleagues, such as Front door.",
        }
        return super().get_form(request, obj, change=change, **kwargs)

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

    def save_model(self, request: HttpRequest, obj: PhoneNumber, form: Any, change: bool) -> None:
        """Saves, and says what would turn the number's callers away."""
        super().save_model(request, obj, form, change)
        if obj.agent is None:
            messages.warning(request, f"No agent answers {obj.number}: its callers are turned away.")
        elif obj.agent.published_version_id is None:
            text = f"{obj.agent.name} was never published: callers of {obj.number} are turned away until it is."
            messages.warning(request, text)

    def get_urls(self) -> list[URLPattern]:
        """Adds the button above the list."""
        view = self.admin_site.admin_view(require_POST(self.fetch_view))
        return [path("fetch/", view, name="calls_phonenumber_fetch"), *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Shows the button to those who may press it."""
        return super().changelist_view(request, {**(extra_context or {}), "may_fetch": self._may_fetch(request)})

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offers the environment's account, too."""
        phone.environment_account()
        return super().add_view(request, form_url, extra_context)

    def fetch_view(self, request: HttpRequest) -> HttpResponse:
        """Brings in the numbers of every account."""
        if not self._may_fetch(request):
            raise PermissionDenied
        accounts = phone.all_accounts()
        if not accounts:
            messages.warning(request, "There is no Plivo account yet: add one under Connections, Plivo accounts.")
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

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Makes room in the row of buttons for the one of our own."""
        context["show_save_and_add_another"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: PhoneNumber) -> HttpResponse:
        """Stays on the page after connecting, where the result stands."""
        if CONNECT in request.POST:
            return HttpResponseRedirect(reverse("admin:calls_phonenumber_change", args=[obj.pk]))
        return super().response_change(request, obj)

    @action(description="Save and connect", permissions=["connect"], icon="link")
    def connect(self, request: HttpRequest, obj: PhoneNumber) -> None:
        """Button beside Save: makes Plivo send this number's calls here; after the transaction, as Plivo takes time."""
        transaction.on_commit(lambda: self._connect(request, obj))

    def has_connect_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Connecting is a change like any other."""
        return self.has_change_permission(request)

    def _may_fetch(self, request: HttpRequest) -> bool:
        return self.has_add_permission(request) and self.has_change_permission(request)

    def _connect(self, request: HttpRequest, number: PhoneNumber) -> None:
        try:
            messages.success(request, phone.connect_number(number))
        except CarrierError as error:
            messages.error(request, error.message)
