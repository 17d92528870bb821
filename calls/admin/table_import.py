"""One import of a table on one page: how far it has come, what became of its rows; each kind adds what comes before."""

from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_safe
from unfold.decorators import display

from calls.admin.edge import ReadOnlyAdmin
from calls.campaigns import table_imports
from calls.campaigns.exports import csv_lines
from calls.campaigns.tables import TableError
from calls.models import TableImport
from calls.reports import masked


class TableImportAdmin(ReadOnlyAdmin):
    """Each import has a page of its own instead of Django's form."""

    page_template: str
    start_icon: str
    becomes: str  # what the preview says of a row that nothing is wrong with

    def counts(self, row: Any) -> list[tuple[str, int]]:
        """What became of the rows, each with its heading."""
        raise NotImplementedError

    def came_from(self, row: Any) -> str:
        """The address of the page where one like this is begun."""
        raise NotImplementedError

    def choose(self, request: HttpRequest, row: Any) -> HttpResponse:
        """The page before it runs, and its form. Raises TableError and OSError: the file can no longer be read."""
        raise NotImplementedError

    @display(
        description="Status",
        label={"uploaded": "warning", "running": "info", "done": "success", "failed": "danger"},
        ordering="status",
    )
    def show_status(self, row: TableImport) -> tuple[str, str]:
        return row.status, row.get_status_display()

    @display(description="Rows")
    def show_progress(self, row: TableImport) -> str:
        return f"{row.done:,} of {row.total:,}"

    def get_urls(self) -> list[URLPattern]:
        """Adds the progress and the download of what was rejected."""
        wrap, name = self.admin_site.admin_view, f"calls_{self.opts.model_name}"
        return [
            path("<uuid:pk>/progress/", wrap(require_safe(self.progress_view)), name=f"{name}_progress"),
            path("<uuid:pk>/rejected/", wrap(require_safe(self.rejected_view)), name=f"{name}_rejected"),
            *super().get_urls(),
        ]

    def has_delete_permission(self, request: HttpRequest, _obj: object = None) -> bool:
        """Else what they belong to could not be deleted either."""
        return request.user.has_perm(f"calls.delete_{self.opts.model_name}")

    def has_import_permission(self, request: HttpRequest) -> bool:
        """To begin one."""
        return request.user.has_perm(f"calls.add_{self.opts.model_name}")

    def change_view(self, request: HttpRequest, object_id: str, *_: Any, **__: Any) -> HttpResponse:
        """The page of one import."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        if row.status != TableImport.Status.UPLOADED:
            return self.page(request, row)
        if request.method == "POST":
            if not self.has_import_permission(request):
                raise PermissionDenied
            if "_discard" in request.POST:
                return self._discard(request, row)
        try:
            return self.choose(request, row)
        except (TableError, OSError) as error:
            why = str(error) if isinstance(error, TableError) else "The file can no longer be read: upload it again."
            return self.page(request, row, unreadable=why)

    def _discard(self, request: HttpRequest, row: TableImport) -> HttpResponse:
        address, name = self.came_from(row), row.file_name
        table_imports.discard(row)
        messages.success(request, f"{name} was discarded. Nothing was imported from it.")
        return HttpResponseRedirect(address)

    def page(self, request: HttpRequest, row: TableImport, *, status: int = 200, **more: Any) -> HttpResponse:
        """The page, with what a kind adds to it."""
        context = {
            **self.admin_site.each_context(request),
            **self._standing(request, row),
            "title": f"Import of {row.file_name}",
            "opts": self.opts,
            "may_import": self.has_import_permission(request),
            "start_icon": self.start_icon,
            "becomes": self.becomes,
            **more,
        }
        return TemplateResponse(request, self.page_template, context, status=status)

    def _standing(self, request: HttpRequest, row: TableImport) -> dict[str, Any]:
        name = f"admin:calls_{self.opts.model_name}"
        return {
            "table_import": row,
            "counts": self.counts(row),
            "reasons": table_imports.reasons(row) if row.status != TableImport.Status.UPLOADED else [],
            "progress_url": reverse(f"{name}_progress", args=[row.pk]),
            "rejected_url": reverse(f"{name}_rejected", args=[row.pk]),
            "may_download": request.user.has_perm("calls.view_numbers"),
        }

    def progress_view(self, request: HttpRequest, pk: Any) -> HttpResponse:
        """The part of the page that moves."""
        row = self._seen(request, pk)
        return TemplateResponse(request, "admin/calls/table_import_progress.html", self._standing(request, row))

    def rejected_view(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """The rows that became nothing, as they came, with the reason: to be mended and imported again."""
        row = self._seen(request, pk)
        if not request.user.has_perm("calls.view_numbers"):
            raise PermissionDenied
        self.log_change(request, row, "Downloaded the rejected rows.")

        def table() -> Iterator[list[str]]:
            yield [*row.headers, "Row", "Why it was not imported"]
            for each in row.rejected_rows.order_by("row").iterator(chunk_size=500):
                yield [*each.cells, str(each.row), each.why]

        response = StreamingHttpResponse(csv_lines(table()), content_type="text/csv; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="rejected-{row.pk}.csv"'
        return response

    def shown_cells(self, request: HttpRequest, cells: list[str]) -> list[str]:
        """Of whoever may not see numbers nothing that may be one is shown."""
        return cells if request.user.has_perm("calls.view_numbers") else [masked(cell) for cell in cells]

    def _seen(self, request: HttpRequest, pk: Any) -> Any:
        row = get_object_or_404(self.model, pk=pk)
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row
