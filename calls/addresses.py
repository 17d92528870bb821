"""The addresses at which Plivo reaches us, with the retry options that it reads from their fragment.

Plivo keeps the fragment to itself: it is neither sent nor signed. Without one it retries once, and only when it could
not connect or read; a 500 of ours would not be tried again.
"""

import uuid
from typing import Literal

from django.conf import settings

CallAddress = Literal[
    "answer", "after-stream", "ring", "hangup", "machine", "recording", "stream-status", "dial", "digits", "fallback"
]

# ct, rt: connect and read timeout (ms); rc: retries; rp: on which failures. All tries together end within 55 s. While
# an answer is awaited the caller hears nothing, so it is tried again soon; a report may take its time but must arrive.
ANSWER_OPTIONS = "#ct=1000&rt=3000&rc=2&rp=all"
REPORT_OPTIONS = "#ct=2000&rt=8000&rc=5&rp=all"
_ANSWERS = {"answer", "after-stream", "dial", "digits", "fallback"}


def application_urls() -> dict[str, str]:
    """What an application at Plivo must be set to, under the names of Plivo's API."""
    return {
        "answer_url": f"{settings.PUBLIC_URL}/plivo/answer/{ANSWER_OPTIONS}",
        "answer_method": "POST",
        "hangup_url": f"{settings.PUBLIC_URL}/plivo/hangup/{REPORT_OPTIONS}",
        "hangup_method": "POST",
        "fallback_answer_url": f"{settings.PUBLIC_URL}/plivo/fallback/{ANSWER_OPTIONS}",
        "fallback_method": "POST",
    }


def transfer_url(public_id: uuid.UUID, number: int) -> str:
    """Where Plivo tells how the call's ``number``th transfer went; a repeated report is told from one of the next."""
    return f"{settings.PUBLIC_URL}/plivo/calls/{public_id}/dial/?transfer={number}{ANSWER_OPTIONS}"


def call_url(public_id: uuid.UUID, address: CallAddress) -> str:
    """One of the addresses of a call, with the retry options that suit it."""
    options = ANSWER_OPTIONS if address in _ANSWERS else REPORT_OPTIONS
    if address == "stream-status":
        options = ""  # Plivo's list of addresses that take options leaves this one out
    return f"{settings.PUBLIC_URL}/plivo/calls/{public_id}/{address}/{options}"


def stream_url(token: str) -> str:
    """The WebSocket's address."""
    return f"{settings.STREAM_URL}/stream/{token}/"


def without_options(url: str) -> str:
    """The address without its fragment, to compare by."""
    return url.partition("#")[0]
