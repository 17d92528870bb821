"""Serves recordings to people who may listen: one byte range at a time, never from a public folder."""

import datetime
import re
import uuid
from collections.abc import Iterator
from typing import IO

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from calls.models import CallEvent, Recording

ONE_LISTENING = datetime.timedelta(minutes=10)
BLOCK = 64 * 1024  # bytes
RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class UnsatisfiableRangeError(Exception):
    """The range asked for lies outside the file: answered by 416."""


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """The first and last byte asked for, or None for the whole file (RFC 9110 §14).

    A header that is malformed, or asks for several ranges, is ignored, as the RFC allows.

    Args:
        header: of the request; may be empty.
        size: of the file, bytes.

    Raises:
        UnsatisfiableRangeError: it begins behind the end.
    """
    match = RANGE.fullmatch(header.strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last[:20]), size)
        if length == 0:
            raise UnsatisfiableRangeError
        return size - length, size - 1
    start = int(first[:20])
    end = min(int(last[:20]), size - 1) if last else size - 1
    if last and int(last[:20]) < start:
        return None
    if start >= size:
        raise UnsatisfiableRangeError
    return start, end


@require_safe
@login_required(login_url="admin:login")
def recording_audio(request: HttpRequest, recording_id: uuid.UUID) -> HttpResponseBase:
    """The audio file, whole or in part; ``?download=1`` offers it for saving. Who listened is on the timeline."""
    if not request.user.has_perm("calls.listen_call"):
        raise PermissionDenied("You may not listen to recordings: ask for the permission 'Can listen'.")
    recording = get_object_or_404(Recording.objects.select_related("call"), pk=recording_id, status="ready")
    try:
        span = parse_range(request.headers.get("Range", ""), recording.size)
    except UnsatisfiableRangeError:
        return _with_headers(HttpResponse(status=416, headers={"Content-Range": f"bytes */{recording.size}"}))
    suffix = str(recording.file).rpartition(".")[-1]
    content_type = "audio/wav" if suffix == "wav" else "audio/mpeg"
    download = "download" in request.GET
    if request.method == "GET":
        _audit(recording, request, download=download)
    file = recording.file.open("rb")
    if span is None:
        response: HttpResponseBase = FileResponse(
            file, content_type=content_type, filename=f"{recording.call.public_id}.{suffix}", as_attachment=download
        )
    else:
        first, last = span
        response = StreamingHttpResponse(_slice(file, first, last - first + 1), status=206, content_type=content_type)
        response.headers["Content-Range"] = f"bytes {first}-{last}/{recording.size}"
        response.headers["Content-Length"] = str(last - first + 1)
    return _with_headers(response)


def _slice(file: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    with file:
        file.seek(start)
        while length and (block := file.read(min(BLOCK, length))):
            length -= len(block)
            yield block


def _with_headers(response: HttpResponseBase) -> HttpResponseBase:
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _audit(recording: Recording, request: HttpRequest, *, download: bool) -> None:
    """Once per listener and while: a browser asks for one file in many ranges, and begins anywhere."""
    now = timezone.now()
    entry = {
        "call": recording.call,
        "kind": "recording_downloaded" if download else "recording_played",
        "data": {"user": request.user.pk, "recording": str(recording.pk)},
    }
    with transaction.atomic():
        Recording.objects.select_for_update().only("pk").get(pk=recording.pk)  # its ranges come at once
        if not CallEvent.objects.filter(**entry, at__gt=now - ONE_LISTENING).exists():
            CallEvent.objects.create(**entry, at=now)
