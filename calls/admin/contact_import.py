"""An import of people on its page: what its columns mean."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.admin.contacts import countries
from calls.admin.table_import import TableImportAdmin
from calls.campaigns import imports
from calls.campaigns.imports import Preview
from calls.campaigns.people import FIELDS, IGNORED, VARIABLE, Meaning, faults, variable_name
from calls.campaigns.table_imports import Refused
from calls.campaigns.tables import Form, TableError
from calls.models import ContactImport

EXAMPLES = 3
MEANINGS = [(IGNORED, "Leave out"), *FIELDS.items(), (VARIABLE, "Variable in what the agent says")]
DELIMITERS = {",": "Comma", ";": "Semicolon", "\t": "Tab", "|": "Bar"}
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with a mark",
    "utf-16": "UTF-16",
    "utf-32": "UTF-32",
    "cp1252": "Windows, western languages",
}


class ColumnsForm(forms.Form):
    """How the table is written, and a meaning for each of its columns (``columns`` of them)."""

    encoding = forms.ChoiceField(
        required=False, label="Characters", choices=list(ENCODINGS.items()), widget=UnfoldAdminSelectWidget()
    )
    delimiter = forms.ChoiceField(
        required=False, label="Between cells", choices=list(DELIMITERS.items()), widget=UnfoldAdminSelectWidget()
    )
    country = forms.ChoiceField(
        required=False, label="Country of numbers without a country code", widget=UnfoldAdminSelectWidget()
    )

    def __init__(self, contact_import: ContactImport, headers: list[str], data: Any = None) -> None:
        initial = {"encoding": contact_import.encoding, "delimiter": contact_import.delimiter}
        super().__init__(data, initial={**initial, "country": contact_import.country})
        self.fields["country"].choices = countries("All have one")  # type: ignore[attr-defined]
        self._count = len(headers)
        self._import = contact_import
        if contact_import.kind != "csv":
            del self.fields["encoding"], self.fields["delimiter"]
        meanings = imports.meanings_of(contact_import)
        for at, (header, meaning) in enumerate(zip(headers, meanings, strict=True)):
            self.fields[f"meaning_{at}"] = forms.ChoiceField(
                required=False,
                label=f"Meaning of {header}",
                choices=MEANINGS,
                initial=meaning.field,
                widget=UnfoldAdminSelectWidget(attrs={"aria-label": f"Meaning of {header}"}),
            )
            self.fields[f"variable_{at}"] = forms.CharField(
                required=False,
                max_length=40,
                label=f"Name of the variable of {header}",
                initial=meaning.variable or variable_name(header),
                widget=UnfoldAdminTextInputWidget(attrs={"aria-label": f"Name of the variable of {header}"}),
            )

    def how(self) -> Form:
        """How the file is to be read."""
        data = self.cleaned_data
        return Form(self._import.kind, data.get("encoding", ""), data.get("delimiter", ""))

    def meanings(self) -> list[Meaning]:
        """One for each column."""
        data = self.cleaned_data
        found = []
        for at in range(self._count):
            field = data[f"meaning_{at}"]
            found.append(Meaning(field, data[f"variable_{at}"].strip() if field == VARIABLE else ""))
        return found

    def columns(self, preview: Preview) -> list[dict[str, Any]]:
        """For the page: each column's header, its first values, and its two fields."""
        return [
            {
                "header": header,
                "examples": [cells[at] for _, cells, _ in preview.rows[:EXAMPLES] if cells[at]],
                "meaning": self[f"meaning_{at}"],
                "variable": self[f"variable_{at}"],
            }
            for at, header in enumerate(preview.headers)
        ]


@admin.register(ContactImport)
class ContactImportAdmin(TableImportAdmin):
    """Imports of all lists."""

    list_display = ("file_name", "contact_list", "show_status", "show_progress", "added", "rejected", "created_at")
    list_filter = ("status", "contact_list")
    list_select_related = ("contact_list",)
    nothing_yet = "Nothing was imported yet. Open a list under Contact lists and press “Import people”."
    page_template = "admin/calls/contactimport/page.html"
    start_icon, becomes = "group_add", "imported"

    def counts(self, row: ContactImport) -> list[tuple[str, int]]:
        return [
            ("Added", row.added),
            ("In the list already", row.known),
            ("Cannot be called", row.rejected),
            ("Added, but on the do-not-call list", row.suppressed),
        ]

    def came_from(self, row: ContactImport) -> str:
        return reverse("admin:calls_contactlist_change", args=[row.contact_list_id])

    def choose(self, request: HttpRequest, row: ContactImport) -> HttpResponse:
        """What the columns mean."""
        shown = imports.preview(row)
        form = ColumnsForm(row, shown.headers, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._take(request, row, form):
            return HttpResponseRedirect(request.path)
        preview = [(number, self.shown_cells(request, cells), why) for number, cells, why in shown.rows]
        context: dict[str, Any] = {"form": form, "columns": form.columns(shown), "preview": preview}
        context["headers"] = shown.headers
        context["faults"] = [] if form.errors else faults(imports.meanings_of(row))
        return self.page(request, row, status=422 if form.errors else 200, **context)

    def _take(self, request: HttpRequest, row: ContactImport, form: ColumnsForm) -> bool:
        """Notes the choice, and starts if that was asked for; False when it cannot be, and the form says why."""
        try:
            imports.choose(row, form=form.how(), country=form.cleaned_data["country"], meanings=form.meanings())
            if "_start" in request.POST:
                imports.start(row, now=timezone.now())
                self.log_change(request, row, f"Started the import of {row.total} rows.")
        except (Refused, TableError) as error:
            form.add_error(None, str(error))
            return False
        return True
