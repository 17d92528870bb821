"""Recordings in Storage, and Plivo's own: expected from the call's end on, noted, fetched, checked and stored.

The webhooks call ``note_plivo_recording``, the sweeper looks for what no webhook has announced, the post-call task
fetches; ours are in ``recording_parts``. A file is READY only when it is whole in Storage, with its length and hash
beside it.
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
from django.db.models import Q, QuerySet

from agents.crypto import UndecryptableError
from calls.models import Call, PlivoAccount, Recording
from calls.telephony.accounts import auth_token, client_for
from calls.telephony.base import CarrierError, CarrierRecording

log = structlog.get_logger(__name__)

FETCH_DELAYS_S = (5, 30, 120, 600, 3600, 6 * 3600)  # Plivo states no delay between callback and file
LOOK_DELAYS_S = (60, 300, 1800, 6 * 3600)  # after the call's end, then after each look at Plivo's list
MAX_PLIVO_BYTES = 512 * 1024 * 1024  # 24 h, Plivo's longest call, as MP3 at 32 kbit/s stays below it
LONGEST_MS = 24 * 3600 * 1000  # Plivo's longest call
PLIVO_MEDIA_HOSTS = {"media.plivo.com", "api.plivo.com"}


class FetchError(Exception):
    """A recording could not be fetched; ``permanent`` when trying again cannot help."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


def note_plivo_recording(*, call: Call, recording_id: str, url: str, duration_ms: str, now: datetime.datetime) -> None:
    """Takes over what a recording callback, or Plivo's list, says; the file is due to be fetched at once.

    Args:
        duration_ms: as Plivo sends it: text such as "7560.00000", or -1 in the callback of a beginning recording.
    """
    duration = _milliseconds(duration_ms)
    if not recording_id or not url or duration < 0:
        return
    columns = {
        "status": Recording.Status.PENDING,
        "plivo_recording_id": recording_id[:64],
        "plivo_url": url[:500],
        "duration_ms": duration,
        "next_attempt_at": now,
    }
    row, created = Recording.objects.get_or_create(call=call, source=Recording.Source.PLIVO, defaults=columns)
    if not created:
        _unannounced().filter(pk=row.pk).update(**columns, attempts=0, error="")


def expect_plivo_recording(*, call_id: int) -> None:
    """Notes that Plivo was asked to record a call that is over now, lest a lost callback lose the recording."""
    asked = Call.objects.filter(pk=call_id, streams__gt=0, agent_version__config__plivo_record=True)
    ended_at = asked.values_list("ended_at", flat=True).first()
    if ended_at is not None:
        look_at = ended_at + datetime.timedelta(seconds=LOOK_DELAYS_S[0])
        Recording.objects.get_or_create(
            call_id=call_id,
            source=Recording.Source.PLIVO,
            defaults={"status": Recording.Status.PENDING, "next_attempt_at": look_at},
        )


def unannounced_recordings(now: datetime.datetime) -> list[Recording]:
    """Those that Plivo was asked to make, has not announced, and is to be asked about now; longest overdue first."""
    due = _unannounced().filter(status=Recording.Status.PENDING, next_attempt_at__lte=now)
    # A token that cannot be decrypted is met when its own account is asked, not by everybody's query.
    due = due.select_related("call__plivo_account").defer("call__plivo_account__auth_token")
    return list(due.order_by("next_attempt_at")[:100])


def look_for_plivo_recording(recording: Recording, *, now: datetime.datetime) -> str:
    """Asks Plivo for a recording that it has not announced; returns the kind of repair, "" when another has asked.

    After the last look the row says that there is none; a callback that comes all the same is still believed.
    """
    call, looks = recording.call, recording.attempts + 1
    last = looks >= len(LOOK_DELAYS_S)
    row = _unannounced().filter(pk=recording.pk, status=Recording.Status.PENDING)
    later = now + datetime.timedelta(seconds=LOOK_DELAYS_S[min(looks, len(LOOK_DELAYS_S) - 1)])
    if not row.filter(attempts=recording.attempts).update(attempts=looks, next_attempt_at=later):
        return ""
    error = "Plivo has no recording of this call." if last else "Plivo has not listed it yet"
    try:
        found = _listed(call)
    except CarrierError as failure:
        log.warning("plivo not asked", call=str(call.public_id), failure=failure.failure.value)
        found, error = None, f"Plivo could not be asked for it. {failure.message}"
    if found is not None:
        note_plivo_recording(
            call=call, recording_id=found.recording_id, url=found.url, duration_ms=found.duration_ms, now=now
        )
        return "recording_found"
    row.update(error=error[:300], status=Recording.Status.FAILED if last else Recording.Status.PENDING)
    return "recording_missing" if last else "recording_awaited"


def _listed(call: Call) -> CarrierRecording | None:
    """The longest recording of a call that Plivo lists. Raises CarrierError."""
    if call.plivo_account is None or not call.plivo_call_uuid:
        return None
    with client_for(call.plivo_account) as plivo:
        listed = plivo.recordings(call.plivo_call_uuid)
    whole = [item for item in listed if item.recording_id and item.url and _milliseconds(item.duration_ms) >= 0]
    return max(whole, key=lambda item: _milliseconds(item.duration_ms), default=None)


def _unannounced() -> QuerySet[Recording]:
    return Recording.objects.filter(source=Recording.Source.PLIVO, plivo_url="")


def due_plivo_recordings(now: datetime.datetime) -> list[str]:
    """Ids of Plivo recordings that are to be fetched now."""
    due = Recording.objects.filter(status=Recording.Status.PENDING, next_attempt_at__lte=now).exclude(plivo_url="")
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
        value = Decimal(text)
    except InvalidOperation:
        return 0
    return int(value) if value.is_finite() and abs(value) <= LONGEST_MS else 0
