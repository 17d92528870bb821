"""What the pages of a campaign share: who may see it, and how a page or a table of it is answered."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.core.handlers.asgi import ASGIRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin

from calls.campaigns.exports import csv_lines, xlsx_file
from calls.models import Campaign

BLOCK = 64 * 1024  # bytes
CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class CampaignPages(ModelAdmin):
    """Of the admin of campaigns, for the classes that add pages to it."""

    def seen(self, request: HttpRequest, pk: Any) -> Campaign:
        """The campaign, for those who may see it."""
        campaign = get_object_or_404(
            Campaign.objects.select_related("agent__published_version", "agent_version"), pk=pk
        )
        if not self.has_view_permission(request, campaign):
            raise PermissionDenied
        return campaign

    def page(
        self, request: HttpRequest, campaign: Campaign, name: str, *, status: int = 200, **context: Any
    ) -> HttpResponse:
        """A page of it beside its form."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts, "campaign": campaign}
        template = f"admin/calls/campaign/{name}.html"
        return TemplateResponse(request, template, {**shared, **context}, status=status)


def download(request: HttpRequest, table: Iterable[Sequence[str]], *, name: str, kind: str) -> HttpResponseBase:
    """The table as a file called ``name``, "csv" or "xlsx", made or read on as it is sent.

    Raises:
        TooManyRows: as ``xlsx_file``.
        Http404: of any other kind.
    """
    if kind not in CONTENT_TYPES:
        raise Http404
    blocks = _blocks(xlsx_file(table)) if kind == "xlsx" else csv_lines(table)
    # Of a plain iterator Django's ASGI handler makes a list first.
    body = _in_turns(blocks) if isinstance(request, ASGIRequest) else blocks
    response = StreamingHttpResponse(body, content_type=CONTENT_TYPES[kind])
    response["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    return response


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(BLOCK):
            yield block


async def _in_turns(blocks: Iterator[bytes]) -> AsyncIterator[bytes]:
    while block := await sync_to_async(lambda: next(blocks, b""))():
        yield block
