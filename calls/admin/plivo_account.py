"""Plivo accounts: the token goes in and never comes out."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.widgets import UnfoldAdminPasswordWidget

from agents.fields import can_be_a_key
from agents.history import ReadOnlyHistoryAdmin
from calls import phone
from calls.models import PlivoAccount
from calls.telephony import accounts

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
        fields = ("name", "auth_id", "api_url", "calls_per_second", "max_calls", "is_sandbox")
        help_texts = {"auth_id": "From the overview of Plivo's console, beside the auth token."}

    def clean_auth_token(self) -> str:
        """Refuses what cannot be a token, such as a pasted sentence."""
        token: str = self.cleaned_data["auth_token"]
        if not can_be_a_key(token):
            raise ValidationError("This is no auth token: it holds blanks or special characters.")
        return token

    def clean(self) -> dict[str, Any]:
        """A token is only ever sent where it was entered for; an account without one needs one."""
        data = super().clean() or self.cleaned_data
        if data.get("auth_token"):
            return data
        if accounts.stores_token(self.instance):
            if self.moved():
                self.add_error(
                    "auth_token", "Enter the token again: a stored token is not sent to another address or account."
                )
        elif not accounts.environment_token(auth_id=data.get("auth_id", ""), api_url=data.get("api_url", "")):
            self.add_error("auth_token", "Copy the auth token from Plivo's console.")
        return data

    def moved(self) -> bool:
        """Whether the id or the address are others than the row's."""
        row = PlivoAccount.objects.filter(pk=self.instance.pk).values_list("auth_id", "api_url").first()
        return row is not None and row != (self.cleaned_data.get("auth_id"), self.cleaned_data.get("api_url"))


@admin.register(PlivoAccount)
class PlivoAccountAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """Accounts at the carrier; the test runs after the transaction, which must not wait for Plivo."""

    form = PlivoAccountForm
    list_display = ("name", "auth_id", "show_works", "tested_at", "show_network")
    nothing_yet = "No Plivo account yet. Add one with the auth id and the auth token from Plivo's console."
    search_fields = ("name", "auth_id")
    readonly_fields = ("show_token", "show_works", "finding", "tested_at")
    actions_submit_line = ("test_connection",)
    warn_unsaved_form = True

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Lists the environment's account from the first look on, so that it can be tested."""
        accounts.environment_account()
        return super().changelist_view(request, extra_context)

    def get_fieldsets(self, request: HttpRequest, obj: PlivoAccount | None = None) -> Any:
        """The token's field only for those who may change it: to others the admin would show what is stored."""
        fields = ["name", "auth_id", "api_url", "is_sandbox"]
        fields[2:2] = ["show_token"] if obj else []
        fields[2:2] = ["auth_token"] if obj is None or self.has_change_permission(request, obj) else []
        sections: list[tuple[str | None, dict[str, Any]]] = [(None, {"fields": fields})]
        if obj:
            sections.append(("Connection", {"fields": ["show_works", "finding", "tested_at"]}))
        return sections

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Only model fields are asked of the model: the token's field is the form's own."""
        kwargs["fields"] = ["name", "auth_id", "api_url", "is_sandbox"]
        return super().get_form(request, obj, change=change, **kwargs)

    def save_model(self, request: HttpRequest, obj: PlivoAccount, form: Any, change: bool) -> None:
        """Stores a new token or leaves the stored one alone; what a test found holds for what was tested."""
        token = form.cleaned_data.get("auth_token")
        if token:
            accounts.set_token(obj, token)
        if token or form.moved():
            obj.tested_at, obj.test_ok, obj.test_message = None, None, ""
        super().save_model(request, obj, form, change)

    @display(description="Stored token")
    def show_token(self, account: PlivoAccount) -> str:
        if account.token_hint not in {"", "set"}:
            return f"ends in {account.token_hint}"
        if accounts.stores_token(account):
            return "stored"
        in_environment = accounts.environment_token(auth_id=account.auth_id, api_url=account.api_url)
        return "from the environment" if in_environment else "none"

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
