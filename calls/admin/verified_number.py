"""An operator's own test numbers: entered, rung once with a code, then called by test calls of campaigns."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminTextInputWidget

from calls import verifying
from calls.campaigns import people
from calls.models import PhoneNumber, VerifiedNumber
from calls.numbers import MAX_LENGTH, NumberRefused, parse
from calls.one_off import Refused
from calls.states import is_over


class VerifiedNumberForm(forms.ModelForm):
    """A number of ``user_id``."""

    user_id: Any = None
    number = forms.CharField(
        max_length=MAX_LENGTH,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "tel"}),
        help_text="Your own, with its country code, such as +14155550100.",
    )

    class Meta:
        model = VerifiedNumber
        fields = ("number", "time_zone", "region")

    def clean_number(self) -> str:
        """Its one spelling, or what is wrong with it."""
        try:
            number = parse(self.cleaned_data["number"])
        except NumberRefused as refused:
            raise forms.ValidationError(f"This cannot be called: {refused}.") from None
        if number.refused_as:
            raise forms.ValidationError(f"This cannot be called: it is {number.refused_as}.")
        if VerifiedNumber.objects.filter(user_id=self.user_id, number=number.e164).exists():
            raise forms.ValidationError("This is one of your test numbers already.")
        self.instance.country, self.instance.zones = number.country, list(number.zones)
        return number.e164

    def clean_time_zone(self) -> str:
        """A name that clocks are set by."""
        try:
            return people.time_zone(self.cleaned_data["time_zone"].strip())
        except ValueError as error:
            raise forms.ValidationError(f"This is {error}.") from None


@admin.register(VerifiedNumber)
class VerifiedNumberAdmin(ModelAdmin):
    """Everybody sees their own, superusers too."""

    form = VerifiedNumberForm
    list_display = ("number", "show_standing", "verified_at")
    nothing_yet = "No test number yet. Add your own, confirm it with a code, and let campaigns call you first."
    change_form_outer_before_template = "admin/calls/verifiednumber/confirm.html"
    fields = ("number", "time_zone", "region")

    def get_queryset(self, request: HttpRequest) -> QuerySet[VerifiedNumber]:
        return super().get_queryset(request).filter(user_id=request.user.pk).select_related("call")

    def get_readonly_fields(self, _request: HttpRequest, obj: VerifiedNumber | None = None) -> tuple[str, ...]:
        """Another number is another row: it is confirmed anew."""
        return ("number",) if obj else ()

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Tells the form whose number it is."""
        found = super().get_form(request, obj, change=change, **kwargs)
        found.user_id = request.user.pk
        return found

    def save_model(self, request: HttpRequest, obj: VerifiedNumber, form: Any, change: bool) -> None:
        """Nothing of what ``verifying`` writes meanwhile is written back."""
        if change:
            obj.save(update_fields=["time_zone", "region"])
            return
        obj.user_id = request.user.pk or 0  # the admin lets nobody in who is nobody
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: VerifiedNumber, _post_url_continue: str | None = None
    ) -> HttpResponse:
        """To its page, where it is confirmed."""
        messages.success(request, "Now have it rung, and enter the code.")
        return HttpResponseRedirect(reverse("admin:calls_verifiednumber_change", args=[obj.pk]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Offers the numbers that may ring it."""
        found = self.get_object(request, unquote(object_id))
        context = {"callers": PhoneNumber.objects.order_by("number") if found and not found.verified_at else []}
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **context})

    def get_urls(self) -> list[URLPattern]:
        """Adds the call and the part of its page that moves."""
        ring = self.admin_site.admin_view(require_POST(self.ring_view))
        standing = self.admin_site.admin_view(require_safe(self.standing_view))
        return [
            path("<uuid:pk>/ring/", ring, name="calls_verifiednumber_ring"),
            path("<uuid:pk>/standing/", standing, name="calls_verifiednumber_standing"),
            *super().get_urls(),
        ]

    def ring_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """Has the number rung, and shows the code: in this answer alone."""
        found = self._own(request, pk)
        caller = get_object_or_404(
            PhoneNumber.objects.select_related("plivo_account"), number=request.POST.get("caller", "")
        )
        try:
            code = verifying.begin(found, caller=caller, now=timezone.now())
        except Refused as refused:
            messages.error(request, f"{found.number} was not called: {refused}.")
            return HttpResponseRedirect(reverse("admin:calls_verifiednumber_change", args=[found.pk]))
        self.log_change(request, found, "Rung to be confirmed.")
        found.refresh_from_db()
        context = {
            **self.admin_site.each_context(request),
            **standing(found),
            "title": f"Confirm {found.number}",
            "opts": self.opts,
            "code": code,
        }
        return TemplateResponse(request, "admin/calls/verifiednumber/code.html", context)

    def standing_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """How far the call is."""
        context = standing(self._own(request, pk))
        return TemplateResponse(request, "admin/calls/verifiednumber/standing.html", context)

    def _own(self, request: HttpRequest, pk: Any) -> VerifiedNumber:
        found = get_object_or_404(self.get_queryset(request), pk=pk)
        if not self.has_change_permission(request, found):
            raise PermissionDenied
        return found

    @display(description="Standing", label={"Confirmed": "success", "Not confirmed": "warning"})
    def show_standing(self, number: VerifiedNumber) -> str:
        return "Confirmed" if number.verified_at else "Not confirmed"


def standing(number: VerifiedNumber) -> dict[str, Any]:
    """How a number stands, for its page."""
    call = number.call
    under_way = call is not None and not is_over(call.status) and number.verified_at is None
    return {"number": number, "call": call, "status": "running" if under_way else "over"}
