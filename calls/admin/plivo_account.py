"""Plivo accounts: the token goes in and never comes out."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget

from calls import phone
from calls.models import PlivoAccount

TEST = "calls_plivoaccount_test_connection"


class PlivoAccountForm(forms.ModelForm):
    """Leaves the stored token alone unless a new one is typed."""

    auth_token = forms.CharField(
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="Stored encrypted and never shown again. Leave it empty to keep the stored one.",
    )

    class Meta:
        model = PlivoAccount
        fields = ("name", "auth_id", "auth_token", "api_url", "is_sandbox")
        help_texts = {"auth_id": "From the overview of Plivo's console, beside the auth token."}

    def clean_auth_token(self) -> str:
        """The typed token, or the stored one; a new account needs one."""
        typed: str = self.cleaned_data["auth_token"].strip()
        if not typed and not self.instance.auth_token:
            raise forms.ValidationError("Copy the auth token from Plivo's console.")
        return typed or self.instance.auth_token

    def save(self, commit: bool = True) -> PlivoAccount:
        """Keeps the last four characters beside the encrypted token, for recognition."""
        if self.cleaned_data["auth_token"]:
            self.instance.token_hint = self.cleaned_data["auth_token"][-4:]
        return super().save(commit)


@admin.register(PlivoAccount)
class PlivoAccountAdmin(SimpleHistoryAdmin, ModelAdmin):
    """Accounts at the carrier; the test runs after the transaction, which must not wait for Plivo."""

    form = PlivoAccountForm
    list_display = ("name", "auth_id", "show_works", "tested_at", "show_network")
    nothing_yet = "No Plivo account yet. Add one with the auth id and the auth token from Plivo's console."
    search_fields = ("name", "auth_id")
    readonly_fields = ("show_token", "show_works", "finding", "tested_at")
    actions_submit_line = ("test_connection",)
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": ("name", "auth_id", "auth_token", "show_token", "api_url", "is_sandbox")}),
        ("Connection", {"fields": ("show_works", "finding", "tested_at")}),
    )
    add_fieldsets = ((None, {"fields": ("name", "auth_id", "auth_token", "api_url", "is_sandbox")}),)

    @display(description="Stored token")
    def show_token(self, account: PlivoAccount) -> str:
        if account.token_hint:
            return f"ends in {account.token_hint}"
        return "stored" if account.auth_token else "none"

    @display(description="Network", label={"Sandbox": "info"})
    def show_network(self, account: PlivoAccount) -> str:
        return "Sandbox" if account.is_sandbox else "Plivo"

    @display(description="What the test found")
    def finding(self, account: PlivoAccount) -> str:
        return account.test_message or "Press “Test connection”."

    @display(description="Works", label={"Yes": "success", "No": "danger", "Not tested": "warning"})
    def show_works(self, account: PlivoAccount) -> str:
        return {True: "Yes", False: "No", None: "Not tested"}[account.test_ok]

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Makes room in the row of buttons for the one of our own."""
        context["show_save_and_add_another"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: PlivoAccount) -> HttpResponse:
        """Stays on the page after a test, where its finding stands."""
        if TEST in request.POST:
            return HttpResponseRedirect(reverse("admin:calls_plivoaccount_change", args=[obj.pk]))
        return super().response_change(request, obj)

    @action(description="Test connection", permissions=["test"], icon="network_check")
    def test_connection(self, request: HttpRequest, obj: PlivoAccount) -> None:
        """Button beside Save: asks Plivo for the account as it was just saved, and shows what Plivo said."""
        transaction.on_commit(lambda: self._test(request, obj))

    def has_test_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Its own permission, since a test sends the stored token out; the button also saves."""
        return request.user.has_perm("calls.test_plivoaccount") and self.has_change_permission(request)

    def _test(self, request: HttpRequest, account: PlivoAccount) -> None:
        ok, message = phone.test_account(account)
        messages.add_message(request, messages.SUCCESS if ok else messages.ERROR, message)
