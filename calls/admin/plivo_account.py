"""Plivo accounts: the token goes in and never comes out."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from simple_history.admin import SimpleHistoryAdmin
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget

from calls import phone
from calls.models import PlivoAccount


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
    """Accounts at the carrier."""

    form = PlivoAccountForm
    list_display = ("name", "auth_id", "show_works", "tested_at", "is_sandbox")
    search_fields = ("name", "auth_id")
    readonly_fields = ("show_token", "show_works", "test_message", "tested_at")
    actions_detail = ("test_connection",)
    fieldsets = (
        (None, {"fields": ("name", "auth_id", "auth_token", "show_token", "api_url", "is_sandbox")}),
        ("Connection", {"fields": ("show_works", "test_message", "tested_at")}),
    )

    @display(description="Stored token")
    def show_token(self, account: PlivoAccount) -> str:
        return f"ends in {account.token_hint}" if account.token_hint else "none"

    @display(description="Works", label={"Yes": "success", "No": "danger", "Not tested": "warning"})
    def show_works(self, account: PlivoAccount) -> str:
        return {True: "Yes", False: "No", None: "Not tested"}[account.test_ok]

    @action(description="Test connection", url_path="test", permissions=["test"])
    def test_connection(self, request: HttpRequest, object_id: Any) -> HttpResponse:
        """Asks Plivo for the account and shows what it said."""
        account = self.get_object(request, str(object_id))
        if account is None:
            raise PermissionDenied
        ok, message = phone.test_account(account)
        (messages.success if ok else messages.error)(request, message)
        return HttpResponseRedirect(reverse("admin:calls_plivoaccount_change", args=[account.pk]))

    def has_test_permission(self, request: HttpRequest, _object_id: Any = None) -> bool:
        """Its own permission: a test sends the stored token out."""
        return request.user.has_perm("calls.test_plivoaccount")
