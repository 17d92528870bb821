"""Imports of do-not-call numbers: a table is uploaded, looked at, and read in the background."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.admin.contacts import UploadForm, countries
from calls.admin.table_import import TableImportAdmin
from calls.campaigns import do_not_call_imports
from calls.campaigns.table_imports import Refused
from calls.campaigns.tables import TableError
from calls.models import DoNotCallImport


class NumbersForm(UploadForm):
    """A table of numbers, and where it comes from."""

    evidence = forms.CharField(
        label="Where it comes from",
        max_length=300,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Kept with each number: “national register, 2026-11-20”.",
    )
    since = forms.DateField(
        required=False,
        label="As of",
        widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}),
        help_text="Of rows without a date of their own; empty for now.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[
            "file"
        ].help_text = "CSV, XLSX or TXT, one number on each row, with a date or without. At most 30 MB."

    def clean_since(self) -> Any:
        """Nobody can have asked tomorrow."""
        since = self.cleaned_data["since"]
        if since is not None and since > timezone.localdate():
            raise forms.ValidationError("This is in the future.")
        return since


class ColumnsForm(forms.Form):
    """Which columns count."""

    number_column = forms.TypedChoiceField(coerce=int, label="Numbers are in", widget=UnfoldAdminSelectWidget())
    date_column = forms.TypedChoiceField(
        coerce=int, required=False, empty_value=None, label="Dates are in", widget=UnfoldAdminSelectWidget()
    )
    country = forms.ChoiceField(
        required=False, label="Country of numbers without a country code", widget=UnfoldAdminSelectWidget()
    )

    def __init__(self, row: DoNotCallImport, data: Any = None) -> None:
        initial = {"number_column": row.number_column, "date_column": row.date_column, "country": row.country}
        super().__init__(data, initial=initial)
        columns = list(enumerate(row.headers))
        choices = {"number_column": columns, "date_column": [("", "No column"), *columns]}
        choices["country"] = countries("All have one")
        for name, each in choices.items():
            self.fields[name].choices = each  # type: ignore[attr-defined]


@admin.register(DoNotCallImport)
class DoNotCallImportAdmin(TableImportAdmin):
    """Imports of registers and other lists."""

    list_display = ("file_name", "evidence", "show_status", "show_progress", "added", "rejected", "created_at")
    list_filter = ("status",)
    nothing_yet = "Nothing was imported yet. Press “Import numbers” above the do-not-call list."
    page_template = "admin/calls/donotcallimport/page.html"
    start_icon, becomes = "phone_disabled", "on the list"

    def counts(self, row: DoNotCallImport) -> list[tuple[str, int]]:
        return [("Added", row.added), ("On the list already", row.known), ("No number or no date", row.rejected)]

    def came_from(self, _row: DoNotCallImport) -> str:
        return reverse("admin:calls_donotcall_changelist")

    def choose(self, request: HttpRequest, row: DoNotCallImport) -> HttpResponse:
        """Which columns count."""
        form = ColumnsForm(row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._take(request, row, form):
            return HttpResponseRedirect(request.path)
        shown = do_not_call_imports.preview(row, now=timezone.now())
        preview = [(each.row, self.shown_cells(request, each.cells), each.why) for each in shown]
        status = 422 if form.errors else 200
        return self.page(request, row, status=status, form=form, headers=row.headers, preview=preview)

    def _take(self, request: HttpRequest, row: DoNotCallImport, form: ColumnsForm) -> bool:
        """Notes the choice, and starts if that was asked for; False when it cannot be, and the form says why."""
        try:
            do_not_call_imports.choose(row, **form.cleaned_data)
            if "_start" in request.POST:
                do_not_call_imports.start(row, now=timezone.now())
                self.log_change(request, row, f"Started the import of {row.total} rows.")
        except Refused as error:
            form.add_error(None, str(error))
            return False
        return True


def uploaded(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """The page that takes a table, for whoever may import; then on to the import's own."""
    form = NumbersForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = do_not_call_imports.upload(**data, created_by_id=request.user.pk)
        except TableError as error:
            form.add_error("file", str(error))
        else:
            return HttpResponseRedirect(reverse("admin:calls_donotcallimport_change", args=[made.pk]))
    context |= {"title": "Import do-not-call numbers", "form": form}
    status = 422 if form.errors else 200
    return TemplateResponse(request, "admin/calls/donotcall/upload.html", context, status=status)
