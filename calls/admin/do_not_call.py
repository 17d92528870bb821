"""The do-not-call list: numbers go in, and are found by whoever knows them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from calls import suppression
from calls.admin.do_not_call_import import uploaded
from calls.models import DoNotCall
from calls.numbers import NumberRefused, parse

MOST_AT_ONCE = 1000
MOST_ERRORS = 5


class DoNotCallForm(forms.ModelForm):
    """Any number of numbers, one a line."""

    numbers = forms.CharField(
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 6, "autocomplete": "off"}),
        help_text=f"One on each line, with its country code, such as +14155550100. At most {MOST_AT_ONCE}.",
    )
    since = forms.SplitDateTimeField(
        required=False, widget=UnfoldAdminSplitDateTimeWidget(), help_text="When they asked for it; empty for now."
    )
    evidence = forms.CharField(
        label="Why",
        max_length=suppression.MAX_EVIDENCE,
        widget=UnfoldAdminTextInputWidget(),
        help_text="How you know: “asked by mail on 3 May”, or where the list comes from.",
    )

    class Meta:
        model = DoNotCall
        fields = ("numbers", "since", "evidence")

    def clean_numbers(self) -> list[str]:
        """The numbers that are not on the list yet, as E.164; each line that is none is named."""
        lines = [line.strip() for line in self.cleaned_data["numbers"].splitlines()]
        numbers: dict[str, None] = {}
        errors: list[str] = []
        for at, line in enumerate(lines, 1):
            if line:
                try:
                    numbers[parse(line).e164] = None
                except NumberRefused as refused:
                    errors.append(f"Line {at}: {refused}.")
        if len(errors) > MOST_ERRORS:
            errors[MOST_ERRORS:] = [f"And {len(errors) - MOST_ERRORS} more lines."]
        if len(numbers) > MOST_AT_ONCE:
            errors.append(f"These are {len(numbers)} numbers; enter at most {MOST_AT_ONCE} at once.")
        if errors:
            raise forms.ValidationError(errors)
        known = suppression.suppressed(numbers)
        new = [number for number in numbers if number not in known]
        if not new:
            raise forms.ValidationError("On the list already.")
        return new

    def clean(self) -> dict[str, Any]:
        """Nothing is written that could not be found again."""
        data = super().clean() or self.cleaned_data
        if trouble := suppression.trouble():
            raise forms.ValidationError(trouble)
        since = data.get("since")
        if since is not None and since > timezone.now():
            self.add_error("since", "This is in the future.")
        return data


@admin.register(DoNotCall)
class DoNotCallAdmin(ModelAdmin):
    """Nobody changes an entry; taking one away is a permission of its own, and asks first."""

    form = DoNotCallForm
    list_display = ("masked", "source", "since", "evidence", "call", "added_by")
    list_filter = ("source",)
    list_select_related = ("call", "added_by")
    list_per_page = 50
    show_full_result_count = False
    search_fields = ("evidence",)
    search_help_text = "A whole number with its country code, or words of the reason"
    date_hierarchy = "since"
    nothing_yet = "Nobody is on the list. Whoever asks an agent not to be called again will be; add others here."
    fields = ("masked", "source", "since", "evidence", "call", "added_by", "created_at")

    def get_fields(self, _request: HttpRequest, obj: DoNotCall | None = None) -> tuple[str, ...]:
        return self.fields if obj else ("numbers", "since", "evidence")

    def get_readonly_fields(self, _request: HttpRequest, obj: DoNotCall | None = None) -> tuple[str, ...]:
        return self.fields if obj else ()

    def has_change_permission(self, _request: HttpRequest, _obj: DoNotCall | None = None) -> bool:
        return False

    list_before_template = "admin/calls/donotcall/import.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Says so when the list cannot be relied on."""
        if trouble := suppression.trouble():
            messages.error(request, trouble)
        context = {**(extra_context or {}), "may_import": _may_import(request)}
        return super().changelist_view(request, context)

    def get_urls(self) -> list[URLPattern]:
        """Adds the upload."""
        view = self.admin_site.admin_view(self.upload_view)
        return [path("import/", view, name="calls_donotcall_import"), *super().get_urls()]

    def upload_view(self, request: HttpRequest) -> HttpResponse:
        """Takes a table of numbers."""
        if not _may_import(request):
            raise PermissionDenied
        return uploaded(request, {**self.admin_site.each_context(request), "opts": self.opts})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[DoNotCall], search_term: str
    ) -> tuple[QuerySet[DoNotCall], bool]:
        """A number is looked up by its hash; the list itself does not know it."""
        try:
            number = parse(search_term)
        except NumberRefused:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(number_hash=suppression.number_hash(number.e164)), False

    def save_model(self, request: HttpRequest, obj: DoNotCall, form: DoNotCallForm, change: bool) -> None:  # noqa: ARG002
        """Puts all of them onto the list; ``obj`` becomes the first of them."""
        data = form.cleaned_data
        since = data["since"] or timezone.now()
        numbers = sorted(data["numbers"], key=suppression.number_hash)  # all in one transaction, see ``add_all``
        first, *others = [suppression.Entry(number, since, data["evidence"]) for number in numbers]
        source, user = DoNotCall.Source.OPERATOR, request.user.pk
        row, _ = suppression.add(first, source=source, added_by_id=user)
        obj.__dict__.update({name: value for name, value in row.__dict__.items() if name != "_state"})
        added = 1 + suppression.add_all(others, source=source, added_by_id=user)
        if others:
            messages.info(request, f"{added} numbers are on the list now. None of them is called any more.")


def _may_import(request: HttpRequest) -> bool:
    """The import's own permission beside that of the list."""
    return request.user.has_perms(["calls.add_donotcallimport", "calls.add_donotcall"])
