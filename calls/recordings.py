"""Recordings in Storage, and Plivo's own: noted when its callback comes, fetched, checked and stored afterwards.

The webhooks call ``note_plivo_recording``, the post-call task fetches; ours are in ``recording_parts``. A file is READY
only when it is whole in Storage, with its length and hash beside it.
"""

import datetime
import hashlib
import tempfile
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import IO
from urllib.parse import urlsplit

import httpx
import structlog
from django.conf import settings
from django.core.files import File
from django.db.models import Q

from agents.crypto import UndecryptableError
from calls.models import Call, PlivoAccount, Recording
from calls.telephony.accounts import auth_token

log = structlog.get_logger(__name__)

FETCH_DELAYS_S = (5, 30, 120, 600, 3600, 6 * 3600)  # Plivo states no delay between callback and file
MAX_PLIVO_BYTES = 512 * 1024 * 1024  # 24 h, Plivo's longest call, as MP3 at 32 kbit/s stays below it
PLIVO_MEDIA_HOSTS = {"media.plivo.com", "api.plivo.com"}


class FetchError(Exception):
    """A recording could not be fetched; ``permanent`` when trying again cannot help."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def note_plivo_recording(*, call: Call, recording_id: str, url: str, duration_ms: str, now: datetime.datetime) -> None:
    """Takes over what a recording callback says; the file is due to be fetched at once.

    Args:
        duration_ms: as Plivo sends it: text such as "7560.00000", or -1 in the callback of a beginning recording.
    """
    duration = _milliseconds(duration_ms)
    if not recording_id or not url or duration < 0:
        return
    Recording.objects.get_or_create(
        call=call,
        source=Recording.Source.PLIVO,
        defaults={
            "status": Recording.Status.PENDING,
            "plivo_recording_id": recording_id[:64],
            "plivo_url": url[:500],
            "duration_ms": duration,
            "next_attempt_at": now,
        },
    )


def due_plivo_recordings(now: datetime.datetime) -> list[str]:
    """Ids of Plivo recordings that are to be fetched now."""
    due = Recording.objects.filter(status=Recording.Status.PENDING, next_attempt_at__lte=now)
    return [str(pk) for pk in due.values_list("pk", flat=True)[:100]]


def fetch_plivo_recording(*, recording_id: str, now: datetime.datetime) -> bool:
    """Fetches one recording from Plivo, checks and stores it; True when it is ready now.

    A failure is written to the row, with the time of the next attempt; nothing is raised.
    """
    recording = Recording.objects.select_related("call__plivo_account").filter(pk=recording_id).first()
    if recording is None or recording.call.plivo_account is None:
        return False
    attempts = recording.attempts + 1
    later = now + datetime.timedelta(seconds=FETCH_DELAYS_S[min(attempts, len(FETCH_DELAYS_S)) - 1])
    claimed = Recording.objects.filter(
        Q(next_attempt_at__lte=now), pk=recording.pk, status=Recording.Status.PENDING, attempts=recording.attempts
    ).update(attempts=attempts, next_attempt_at=later)
    if not claimed:
        return False  # another worker has it
    try:
        _download(recording, recording.call.plivo_account)
    except FetchError as error:
        failure, permanent = str(error), error.permanent
    except UndecryptableError:
        failure, permanent = "The Plivo account's token cannot be decrypted: enter it again", True
    except Exception as error:
        log.exception("recording_not_fetched", recording=str(recording.pk))
        failure, permanent = f"It could not be stored ({type(error).__name__}): look at the worker's log", False
    else:
        return True
    gave_up = permanent or attempts >= len(FETCH_DELAYS_S)
    Recording.objects.filter(pk=recording.pk).update(
        error=failure[:300], status=Recording.Status.FAILED if gave_up else Recording.Status.PENDING
    )
    return False


def _download(recording: Recording, account: PlivoAccount) -> None:
    """Raises FetchError."""
    url = recording.plivo_url
    _check_host(url, account)
    suffix = ".wav" if urlsplit(url).path.endswith(".wav") else ".mp3"
    auth = httpx.BasicAuth(account.auth_id, auth_token(account))
    with tempfile.TemporaryFile() as file:
        try:
            with (
                httpx.Client(timeout=30, follow_redirects=False, trust_env=False) as client,
                client.stream("GET", url, auth=auth) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    permanent = response.status_code in {401, 403, 410}
                    raise FetchError(f"Plivo answered {response.status_code} for the recording", permanent=permanent)
                received = _copy(response.iter_bytes(), file)
                stated = response.headers.get("content-length")
        except httpx.HTTPError as error:
            raise FetchError(f"Plivo's media server: {type(error).__name__}") from error
        if stated is not None and stated.isdigit() and int(stated) != received:
            raise FetchError(f"Only {received} of {stated} bytes arrived")
        file.seek(0)
        _check_audio(file.read(4))
        file.seek(0)
        name, size, digest = store(recording, file, suffix=suffix)
    Recording.objects.filter(pk=recording.pk).update(
        status=Recording.Status.READY, file=name, size=size, sha256=digest, error="", next_attempt_at=None
    )


def _check_host(url: str, account: PlivoAccount) -> None:
    """The account's key goes to Plivo's hosts (or the configured sandbox) and to no other, whatever a callback says."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname in PLIVO_MEDIA_HOSTS:
        return
    ours = urlsplit(account.api_url or settings.PLIVO_API_URL)
    if (parts.scheme, parts.netloc) == (ours.scheme, ours.netloc) and parts.hostname not in PLIVO_MEDIA_HOSTS:
        return
    raise FetchError("The recording's address is not one of Plivo's", permanent=True)


def _check_audio(head: bytes) -> None:
    is_mp3 = head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0)
    if not (is_mp3 or head == b"RIFF"):
        raise FetchError("What came is neither WAV nor MP3")


def _copy(chunks: Iterator[bytes], target: IO[bytes]) -> int:
    received = 0
    for chunk in chunks:
        received += len(chunk)
        if received > MAX_PLIVO_BYTES:
            raise FetchError("The recording is larger than any call can be", permanent=True)
        target.write(chunk)
    return received


def store(recording: Recording, source: IO[bytes], *, suffix: str) -> tuple[str, int, str]:
    """Saves under an opaque name by date; returns (name, bytes, SHA-256 hex)."""
    digest = hashlib.sha256()
    size = 0
    while block := source.read(1 << 20):
        digest.update(block)
        size += len(block)
    source.seek(0)
    day = recording.created_at.strftime("%Y/%m/%d")
    name = recording.file.storage.save(f"recordings/{day}/{recording.pk}{suffix}", File(source))
    return name, size, digest.hexdigest()


def _milliseconds(text: str) -> int:
    try:
        return int(Decimal(text))
    except (InvalidOperation, ValueError):
        return 0
