"""AI provider accounts: a key that goes in and never comes out, and a test that says what is wrong."""

from typing import Any
from urllib.parse import urlsplit

import redis
from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldBooleanSwitchWidget

from agents import accounts, health, services
from agents.fields import can_be_a_key
from agents.history import ReadOnlyHistoryAdmin
from agents.models import ProviderAccount

TEST, FETCH = "test_connection", "fetch_voices"


class ProviderAccountForm(forms.ModelForm):
    """The account without its key, and two ways to change the key."""

    new_key = forms.CharField(
        label="API key",
        required=False,
        strip=True,
        max_length=400,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password", "spellcheck": "false"}),
    )
    remove_key = forms.BooleanField(
        label="Remove the stored key",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Afterwards the key of the environment is used, if there is one.",
    )

    class Meta:
        model = ProviderAccount
        fields = ("name", "provider", "base_url", "is_sandbox")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "new_key" not in self.fields:  # a user who may only look
            return
        hint = self.instance.key_hint
        stored = {"": "No key is stored.", "set": "A key is stored."}.get(hint, f"The stored key ends in {hint}.")
        self.fields["new_key"].help_text = f"{stored} It is kept encrypted and never shown. " + (
            "Leave this empty to keep it." if hint else "Without one, the key of the environment is used."
        )
        if not hint:
            del self.fields["remove_key"]

    def clean_new_key(self) -> str:
        """Refuses what cannot be a key, such as a pasted sentence."""
        key: str = self.cleaned_data["new_key"]
        if not can_be_a_key(key):
            raise ValidationError("This is no API key: it holds blanks or special characters.")
        return key

    def clean_base_url(self) -> str:
        """An address that HTTP clients take."""
        url: str = self.cleaned_data["base_url"]
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise ValidationError("The base URL begins with https:// (or http:// on this machine).")
        return url

    def clean(self) -> dict[str, Any]:
        """A key is only ever sent where it was entered for."""
        data = super().clean() or self.cleaned_data
        new_key, remove = data.get("new_key"), data.get("remove_key")
        if new_key and remove:
            self.add_error("remove_key", "Either enter a new key or remove the stored one.")
        moved = {"base_url", "provider"} & set(self.changed_data)
        if self.instance.key_hint and moved and not new_key and not remove:
            self.add_error("new_key", "Enter the key again: a stored key is not sent to another address or provider.")
        if data.get("provider") == ProviderAccount.Provider.OPENAI_COMPATIBLE and not data.get("base_url"):
            self.add_error("base_url", "Enter the server's address, such as http://127.0.0.1:11434/v1.")
        return data


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Lists and edits accounts; the tests run after the transaction, which must not wait for a provider."""

    form = ProviderAccountForm
    list_display = ("name", "provider", "key", "works", "last_tested", "replies")
    list_filter = ("provider", "is_sandbox")
    search_fields = ("name",)
    nothing_yet = "No accounts yet. Add one for each provider whose key you have, such as OpenAI and ElevenLabs."
    actions = (f"{TEST}_of_selected", f"{FETCH}_of_selected")
    actions_submit_line = (TEST, FETCH)
    readonly_fields = ("works", "last_tested", "finding")
    warn_unsaved_form = True
    change_form_before_template = "admin/agents/account_health.html"

    def get_fieldsets(self, request: HttpRequest, obj: ProviderAccount | None = None) -> Any:
        """The key's fields only for those who may change it."""
        fields = ["name", "provider", "base_url", "is_sandbox"]
        if self.has_change_permission(request, obj) if obj else self.has_add_permission(request):
            fields[2:2] = ["new_key", "remove_key"] if obj and obj.key_hint else ["new_key"]
        sections: list[tuple[str | None, dict[str, Any]]] = [(None, {"fields": fields})]
        if obj:
            sections.append(("Connection test", {"fields": ["works", "last_tested", "finding"]}))
        return sections

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Only model fields are asked of the model: the key's fields are the form's own."""
        kwargs["fields"] = ["name", "provider", "base_url", "is_sandbox"]
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: ProviderAccount, form: Any, change: bool) -> None:
        """Stores a new key, or none, or leaves the stored one alone."""
        if new_key := form.cleaned_data.get("new_key"):
            accounts.set_key(obj, new_key)
        elif form.cleaned_data.get("remove_key"):
            accounts.set_key(obj, "")
        if {"new_key", "remove_key", "base_url", "provider"} & set(form.changed_data):
            obj.tested_at, obj.test_ok, obj.test_message = None, None, ""
        super().save_model(request, obj, form, change)

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Makes room in the row of buttons for the two of our own, and adds how the account does on calls."""
        context["show_save_and_add_another"] = False
        if (account := kwargs.get("obj")) is not None:
            try:
                context["services"] = [(accounts.STAGE_NAMES[each.stage], each) for each in health.states(account)]
            except redis.RedisError:
                context["services_unknown"] = True
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: ProviderAccount) -> HttpResponse:
        """Stays on the page after a test, where its finding stands."""
        if any(f"agents_provideraccount_{name}" in request.POST for name in (TEST, FETCH)):
            return HttpResponseRedirect(reverse("admin:agents_provideraccount_change", args=[obj.pk]))
        return super().response_change(request, obj)

    def has_test_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """For the actions below; the button also saves."""
        return request.user.has_perm("agents.test_provideraccount") and self.has_change_permission(request)

    def has_fetch_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """Fetching voices adds and renames them; the button also saves."""
        may_write = request.user.has_perms(["agents.add_voice", "agents.change_voice"])
        return may_write and self.has_change_permission(request)

    @action(description="Test connection", permissions=["test"], icon="network_check")
    def test_connection(self, request: HttpRequest, obj: ProviderAccount) -> None:
        """Button beside Save."""
        transaction.on_commit(lambda: self._test(request, obj))

    @action(description="Fetch voices", permissions=["fetch"], icon="record_voice_over")
    def fetch_voices(self, request: HttpRequest, obj: ProviderAccount) -> None:
        """Button beside Save."""
        transaction.on_commit(lambda: self._fetch(request, obj))

    @admin.action(description="Test connection", permissions=["test"])
    def test_connection_of_selected(self, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
        """Action of the list."""
        for account in queryset:
            self._test(request, account)

    @admin.action(description="Fetch voices", permissions=["fetch"])
    def fetch_voices_of_selected(self, request: HttpRequest, queryset: QuerySet[ProviderAccount]) -> None:
        """Action of the list."""
        for account in queryset:
            self._fetch(request, account)

    @display(description="API key")
    def key(self, account: ProviderAccount) -> str:
        """The hint, or where the key comes from."""
        if account.key_hint:
            return "stored" if account.key_hint == "set" else f"…{account.key_hint}"
        return "from the environment" if accounts.has_key(account) else "none"

    @display(description="Connection", label={"works": "success", "fails": "danger", "not tested": "info"})
    def works(self, account: ProviderAccount) -> str:
        """What the last test found, as a label."""
        return {True: "works", False: "fails", None: "not tested"}[account.test_ok]

    @display(description="Replies", label={"sandbox": "info"})
    def replies(self, account: ProviderAccount) -> str:
        """Whether they come from the provider or from a script."""
        return "sandbox" if account.is_sandbox else "real"

    @display(description="Last tested")
    def last_tested(self, account: ProviderAccount) -> str:
        """How long ago."""
        return f"{timesince(account.tested_at)} ago" if account.tested_at else "never"

    @display(description="What the test found")
    def finding(self, account: ProviderAccount) -> str | SafeString:
        """The whole message."""
        return account.test_message or "Press “Test connection”."

    def _test(self, request: HttpRequest, account: ProviderAccount) -> None:
        ok, text = services.test_account(account)
        sentence = text if text.startswith(account.name) else f"{account.name}: {text}"
        messages.add_message(request, messages.SUCCESS if ok else messages.ERROR, sentence)

    def _fetch(self, request: HttpRequest, account: ProviderAccount) -> None:
        try:
            count = services.sync_voices(account)
        except services.AccountError as error:
            messages.error(request, str(error))
        else:
            messages.success(request, f"{account.name}: {count} voices.")
