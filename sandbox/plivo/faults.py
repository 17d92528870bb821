"""The fault menu: everything that a network, a proxy or Plivo itself may do wrong, each with a switch.

Set for all calls through /control/faults or for one call when it is made; a call keeps the faults that it began with.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal


class BadFaultError(ValueError):
    """No such fault, or not that value; the message says which are possible."""


Signature = Literal["good", "missing", "wrong", "no_nonce", "list", "list_spaced"]


@dataclasses.dataclass(frozen=True)
class Faults:
    """Every switch, off. Times in ms, counts in pieces."""

    # --- REST ---
    rest_scope: Literal["make_call", "all"] = "make_call"
    rest_500: int = 0  # the next n requests; the SDK posts again by itself
    rest_500_call_proceeds: bool = False  # the answer is 500, yet the phone rings
    rest_429: int = 0
    rest_403: int = 0
    rest_lost_percent: int = 0  # the phone rings, and the connection breaks before the answer
    rest_5xx_percent: int = 0  # 503; of every second one the phone rings all the same
    rest_slow_ms: int = 0  # the call proceeds while the client waits
    # --- webhooks; events: Ring, StartApp, Hangup, MachineDetection, Record, stream, or all ---
    webhook_signature: Signature = "good"
    webhook_duplicates: Mapping[str, int] = dataclasses.field(default_factory=dict)
    webhook_delay_ms: Mapping[str, int] = dataclasses.field(default_factory=dict)  # later than what follows it
    webhook_lost: tuple[str, ...] = ()
    hangup_before_answer_reply: bool = False
    answer_before_post_reply: bool = False
    different_call_uuid: bool = False  # CallUUID is not the request_uuid
    numbers_with_plus: bool = False
    unanswered_status: Literal["specific", "completed"] = "specific"
    rest_hangup_code: Literal[1000, 4000] = 1000
    recording_before_hangup: bool | None = None  # None: by chance
    machine_false: bool = False  # send Machine=false for a human
    # --- stream: handshake ---
    handshake_signature: Signature = "good"
    handshake_url: Literal["http", "https", "wss", "websocket"] = "http"
    connect_fails: int = 0  # the first n attempts never reach the server
    connect_delay_ms: int = 0
    # --- stream: frames ---
    start_delay_ms: int = 0
    no_start: bool = False
    start_call_id: str = ""  # another call's id in start
    sequence_from: Literal[0, 1] = 1
    sequence_as_string: bool = False
    extra_headers_form: Literal["semicolon", "comma", "json", "empty"] = "semicolon"
    played_name: Literal["playedStream", "played"] = "playedStream"
    unknown_event: bool = False
    error_event: bool = False
    send_stop: bool = False
    media_stall_at_ms: int = 0
    media_stall_ms: int = 0  # nothing for so long, then all of it at once
    media_gap_at_ms: int = 0
    media_gap_frames: int = 0  # so many frames never come
    checkpoints_unanswered: int = 0  # the first n checkpoints are never acknowledged
    cleared_markers: Literal["drop", "late_ack"] = "drop"
    clear_delay_ms: int = 0
    mismatch: Literal["ignore", "garble"] = "ignore"
    overflow: Literal["drop_newest", "silent_drop"] = "drop_newest"
    # --- stream: life ---
    stream_events: Literal["A", "B"] = "A"
    stream_status_json: bool = False
    degraded: bool = False
    drop_after_ms: int = 0
    drop_mode: Literal["abrupt", "close"] = "abrupt"
    reconnect: Literal["none", "same_stream", "new_stream"] = "none"
    reconnect_delay_ms: int = 500
    close_abrupt: bool = False  # at the end of the call: no close frame


_HINTS = typing.get_type_hints(Faults)


def _check(name: str, value: Any) -> Any:
    if name not in _HINTS:
        message = f"no fault {name!r}; there are: {', '.join(sorted(_HINTS))}"
        raise BadFaultError(message)
    hint = _HINTS[name]
    origin = typing.get_origin(hint)
    if origin is Literal:
        good = value in typing.get_args(hint) and not isinstance(value, bool)
    elif origin is types.UnionType:
        good = value is None or isinstance(value, bool)
    elif origin is tuple:
        good = isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)
        value = tuple(value) if good else value
    elif hint in (bool, str):
        good = isinstance(value, hint)
    elif hint is int:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    else:
        good = isinstance(value, Mapping) and all(isinstance(item, int) and item >= 0 for item in value.values())
    if not good:
        message = f"{name} cannot be {value!r}; it is {hint}"
        raise BadFaultError(message)
    return value


def merged(faults: Faults, changes: Mapping[str, Any]) -> Faults:
    """`faults` with `changes`; a value of None goes back to the default. Raises BadFaultError."""
    defaults = Faults()
    values: dict[str, Any] = {
        name: getattr(defaults, name, None) if value is None and name in _HINTS else _check(name, value)
        for name, value in changes.items()
    }
    return dataclasses.replace(faults, **values)


def for_event(table: Mapping[str, int], event: str) -> int:
    """The figure for one webhook event, `all` counting for each."""
    return table.get(event, table.get("all", 0))
