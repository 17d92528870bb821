"""One import on one page: what its columns mean, how far it has come, what became of its rows."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from calls.admin.contacts import countries
from calls.admin.edge import ReadOnlyAdmin
from calls.campaigns import imports
from calls.campaigns.exports import csv_lines
from calls.campaigns.imports import Preview, Refused
from calls.campaigns.people import FIELDS, IGNORED, VARIABLE, Meaning, faults, variable_name
from calls.campaigns.tables import Form, TableError
from calls.models import ContactImport
from calls.reports import masked

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
class ContactImportAdmin(ReadOnlyAdmin, ModelAdmin):
    """Imports of all lists; each has a page of its own instead of Django's form."""

    list_display = ("file_name", "contact_list", "show_status", "show_progress", "added", "rejected", "created_at")
    list_filter = ("status", "contact_list")
    list_select_related = ("contact_list",)
    nothing_yet = "Nothing was imported yet. Open a list under Contact lists and press “Import people”."

    @display(
        description="Status",
        label={"uploaded": "warning", "running": "info", "done": "success", "failed": "danger"},
        ordering="status",
    )
    def show_status(self, contact_import: ContactImport) -> tuple[str, str]:
        return contact_import.status, contact_import.get_status_display()

    @display(description="Rows")
    def show_progress(self, contact_import: ContactImport) -> str:
        return f"{contact_import.done:,} of {contact_import.total:,}"

    def get_urls(self) -> list[URLPattern]:
        """Adds the progress and the download of what was rejected."""
        wrap = self.admin_site.admin_view
        return [
            path("<uuid:pk>/progress/", wrap(require_safe(self.progress_view)), name="calls_contactimport_progress"),
            path("<uuid:pk>/rejected/", wrap(require_safe(self.rejected_view)), name="calls_contactimport_rejected"),
            *super().get_urls(),
        ]

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """The page of one import."""
        contact_import = self.get_object(request, unquote(object_id))
        if contact_import is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, contact_import):
            raise PermissionDenied
        if contact_import.status == ContactImport.Status.UPLOADED:
            return self._choose(request, contact_import)
        return self._page(request, contact_import)

    def has_delete_permission(self, request: HttpRequest, _obj: object = None) -> bool:
        """They go with their list, which could not be deleted else."""
        return request.user.has_perm("calls.delete_contactimport")

    # --- before it runs ----------------------------------------------------------------------------------------------

    def _choose(self, request: HttpRequest, contact_import: ContactImport) -> HttpResponse:
        if request.method == "POST":
            if not request.user.has_perm("calls.add_contactimport"):
                raise PermissionDenied
            if "_discard" in request.POST:
                return self._discard(request, contact_import)
        try:
            shown = imports.preview(contact_import)
        except (TableError, OSError) as error:
            why = str(error) if isinstance(error, TableError) else "The file can no longer be read: upload it again."
            return self._page(request, contact_import, unreadable=why)
        form = ColumnsForm(contact_import, shown.headers, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid() and self._take(request, contact_import, form):
            return HttpResponseRedirect(request.path)
        context: dict[str, Any] = {"form": form, "columns": form.columns(shown), "preview": self._rows(request, shown)}
        context["faults"] = [] if form.errors else faults(imports.meanings_of(contact_import))
        context["may_import"] = request.user.has_perm("calls.add_contactimport")
        return self._page(request, contact_import, status=422 if form.errors else 200, **context)

    def _take(self, request: HttpRequest, contact_import: ContactImport, form: ColumnsForm) -> bool:
        """Notes the choice, and starts if that was asked for; False when it cannot be, and the form says why."""
        try:
            imports.choose(
                contact_import, form=form.how(), country=form.cleaned_data["country"], meanings=form.meanings()
            )
            if "_start" in request.POST:
                imports.start(contact_import, now=timezone.now())
                self.log_change(request, contact_import, f"Started the import of {contact_import.total} rows.")
        except (Refused, TableError) as error:
            form.add_error(None, str(error))
            return False
        return True

    def _discard(self, request: HttpRequest, contact_import: ContactImport) -> HttpResponse:
        list_id, name = contact_import.contact_list_id, contact_import.file_name
        imports.discard(contact_import)
        messages.success(request, f"{name} was discarded. Nobody was imported from it.")
        return HttpResponseRedirect(reverse("admin:calls_contactlist_change", args=[list_id]))

    def _rows(self, request: HttpRequest, shown: Preview) -> list[tuple[int, list[str], str]]:
        """Of whoever may not see numbers nothing that may be one is shown."""
        if request.user.has_perm("calls.view_numbers"):
            return shown.rows
        return [(number, [masked(cell) for cell in cells], why) for number, cells, why in shown.rows]

    # --- while it runs, and after ------------------------------------------------------------------------------------

    def _page(
        self, request: HttpRequest, contact_import: ContactImport, *, status: int = 200, **more: Any
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            **self._standing(contact_import),
            "title": f"Import of {contact_import.file_name}",
            "opts": self.opts,
            "may_download": request.user.has_perm("calls.view_numbers"),
            **more,
        }
        return TemplateResponse(request, "admin/calls/contactimport/page.html", context, status=status)

    def _standing(self, contact_import: ContactImport) -> dict[str, Any]:
        rejected = contact_import.rejected_rows
        reasons = imports.reasons(contact_import) if contact_import.status != ContactImport.Status.UPLOADED else []
        return {"contact_import": contact_import, "reasons": reasons, "has_rejected": rejected.exists()}

    def progress_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The part of the page that moves."""
        contact_import = self._seen(request, pk)
        context = {**self._standing(contact_import), "may_download": request.user.has_perm("calls.view_numbers")}
        return TemplateResponse(request, "admin/calls/contactimport/progress.html", context)

    def rejected_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """The rows that nobody could be called by, as they came, with the reason: to be mended and imported again."""
        contact_import = self._seen(request, pk)
        if not request.user.has_perm("calls.view_numbers"):
            raise PermissionDenied
        self.log_change(request, contact_import, "Downloaded the rejected rows.")

        def table() -> Iterator[list[str]]:
            yield [*contact_import.headers, "Row", "Why it was not imported"]
            for row in contact_import.rejected_rows.order_by("row").iterator(chunk_size=500):
                yield [*row.cells, str(row.row), row.why]

        response = StreamingHttpResponse(csv_lines(table()), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="rejected-{contact_import.pk}.csv"'
        return response

    def _seen(self, request: HttpRequest, pk: Any) -> ContactImport:
        contact_import = get_object_or_404(ContactImport, pk=pk)
        if not self.has_view_permission(request, contact_import):
            raise PermissionDenied
        return contact_import
