"""What a stream process shows at /metrics: how fast turns are answered, how busy it is, what it has lost or refused.

Filled by ``live`` and ``records``; tasks are counted when somebody asks. Labels are fixed words, never anything of a
caller.
"""

from prometheus_client import Counter, Gauge, Histogram

from streaming.conversation.events import WriteTurn

_SECONDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0)

LIVE_CALLS = Gauge("parley_live_calls", "Calls whose stream this process carries")
TASKS = Gauge("parley_tasks", "Tasks of the event loop that carries the calls")
LOOP_LAG = Gauge("parley_loop_lag_seconds", "How late the event loop runs, 95th percentile of the last seconds")
TURN = Histogram(
    "parley_turn_seconds",
    "From the caller's last sound: response is the first sound of the answer, the others its parts",
    ["part"],
    buckets=_SECONDS,
)
TURNS = Counter("parley_turns", "Turns written", ["role", "kind"])
INTERRUPTED = Counter("parley_interrupted_turns", "Turns of the agent that the caller broke off")
DROPPED_AUDIO = Counter("parley_stt_dropped_seconds", "Caller audio that speech-to-text was too slow for")
REFUSED = Counter("parley_refused_streams", "Sockets that were not taken", ["reason"])
FAILED = Counter("parley_provider_failures", "Provider calls that failed during live calls", ["stage", "kind"])
OUT_OF_SERVICE = Gauge(
    "parley_provider_out_of_service",
    "1 while calls leave a model of an account alone, 0.5 while it is tried again, 0 while it serves",
    ["stage", "provider", "account", "model"],
)
MOVED = Counter("parley_provider_changes", "Stages of live calls that went on with a further choice", ["stage"])


def timings(turn: WriteTurn) -> dict[str, int | None]:
    """The parts of the time from the caller's last sound to the first sound of the answer, in ms; None: unknown."""
    text_ms = turn.stt_final_ms if turn.stt_final_ms is not None else turn.decided_ms
    return {
        "response_ms": _between(turn.speech_end_ms, turn.first_heard_ms),
        "decision_ms": _between(turn.speech_end_ms, turn.decided_ms),
        "stt_ms": _between(turn.speech_end_ms, turn.stt_final_ms),
        "llm_ms": _between(text_ms, turn.llm_first_ms),
        "tts_ms": _between(turn.llm_first_ms, turn.tts_first_ms),
    }


def _between(earlier: int | None, later: int | None) -> int | None:
    return None if earlier is None or later is None else max(0, later - earlier)


def observe(turn: WriteTurn) -> None:
    """Counts a turn."""
    TURNS.labels(turn.role, turn.kind).inc()
    if turn.role == "agent" and turn.interrupted:
        INTERRUPTED.inc()
    for name, value_ms in timings(turn).items():
        if value_ms is not None and turn.role == "agent":
            TURN.labels(name.removesuffix("_ms")).observe(value_ms / 1000)
