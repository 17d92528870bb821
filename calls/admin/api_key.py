"""API keys: made here and shown once, changed in what they may do, revoked for good."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from agents.history import ReadOnlyHistoryAdmin
from calls.api import keys
from calls.models import ApiKey
from calls.numbers import country_names

# Nobody gives a program what they may not do themselves.
SCOPES = {
    "can_add_contacts": "calls.add_contact",
    "can_call": "calls.launch_campaign",
    "can_read": "calls.view_call",
    "can_opt_out": "calls.add_donotcall",
    "can_see_numbers": "calls.view_numbers",
}


class ApiKeyForm(forms.ModelForm):
    """What a program may do; ``user`` is who says so."""

    user: Any = None
    countries = forms.MultipleChoiceField(
        required=False,
        choices=country_names,
        widget=UnfoldAdminSelect2MultipleWidget(),
        help_text="Only numbers of these are called by calls that it starts.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", *SCOPES, "countries")

    def clean(self) -> dict[str, Any]:
        """Refuses what the user may not do; what the key may already do stays."""
        data = super().clean() or self.cleaned_data
        for scope, permission in SCOPES.items():
            if scope in self.changed_data and data.get(scope) and not self.user.has_perm(permission):
                self.add_error(scope, "You may not do this yourself.")
        # To have other countries called is to be able to call.
        if "countries" in self.changed_data and data.get("can_call") and not self.user.has_perm(SCOPES["can_call"]):
            self.add_error("countries", "You may not do this yourself.")
        if data.get("can_call") and not data.get("countries"):
            self.add_error("countries", "Choose the countries that it may have called.")
        return data


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyHistoryAdmin, ModelAdmin):
    """The key itself stands in one answer, and nowhere else."""

    form = ApiKeyForm
    list_display = ("name", "prefix", "show_scopes", "created_by", "last_used_at", "show_standing")
    list_select_related = ("created_by",)
    search_fields = ("name", "prefix")
    nothing_yet = "No keys yet. Add one for each program that starts calls or adds people over the HTTP API."
    change_form_outer_before_template = "admin/calls/apikey/revoke.html"
    warn_unsaved_form = True
    readonly_fields = ("prefix", "created_by", "created_at", "last_used_at", "revoked_at")
    add_fieldsets = (
        (None, {"fields": ("name",)}),
        ("What it may do", {"fields": (*SCOPES, "countries")}),
    )
    fieldsets = (
        (None, {"fields": ("name", "prefix", "created_by", "created_at", "last_used_at", "revoked_at")}),
        add_fieldsets[1],
    )

    def get_fieldsets(self, _request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.fieldsets if obj else self.add_fieldsets

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tells the form who asks."""
        found = super().get_form(request, obj, change=change, **kwargs)
        found.user = request.user
        return found

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """A revoked key stays as it was."""
        return (obj is None or obj.revoked_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, _request: HttpRequest, _obj: ApiKey | None = None) -> bool:
        """Calls point at it, and it says by whom they were started: it is revoked instead."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """A new one is given its key, which the answer to this request shows."""
        if not change:
            obj.created_by_id = request.user.pk
            obj.made = keys.give(obj)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def response_add(self, request: HttpRequest, obj: ApiKey, _post_url_continue: str | None = None) -> HttpResponse:
        """The only page that ever shows the key: no message, which would lie in a cookie, and no redirect."""
        context = {
            **self.admin_site.each_context(request),
            "title": f"The API key of {obj.name}",
            "opts": self.opts,
            "row": obj,
            "key": obj.made,  # type: ignore[attr-defined]
        }
        return TemplateResponse(request, "admin/calls/apikey/made.html", context)

    def get_urls(self) -> list[URLPattern]:
        """Adds the button."""
        view = self.admin_site.admin_view(require_POST(self.revoke_view))
        return [path("<uuid:pk>/revoke/", view, name="calls_apikey_revoke"), *super().get_urls()]

    def revoke_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """For good."""
        row = get_object_or_404(ApiKey, pk=pk)
        if not super().has_change_permission(request, row):
            raise PermissionDenied
        with transaction.atomic():
            if keys.revoke(row, now=timezone.now()):
                self.log_change(request, row, "Revoked.")
        messages.success(request, f"{row.name}: revoked. The key opens nothing any more.")
        return HttpResponseRedirect(reverse("admin:calls_apikey_change", args=[row.pk]))

    @display(description="May")
    def show_scopes(self, row: ApiKey) -> str:
        scopes = [ApiKey._meta.get_field(name) for name in SCOPES if getattr(row, name)]
        said = [str(field.verbose_name).removeprefix("may ") for field in scopes]  # type: ignore[union-attr]
        return ", ".join(said) or "nothing"

    @display(description="Standing", label={"Valid": "success", "Revoked": "danger"})
    def show_standing(self, row: ApiKey) -> str:
        return "Revoked" if row.revoked_at else "Valid"
