"""Whatever happens, in whatever order: the core never raises, never sticks, never speaks twice, ends once."""

from collections.abc import Iterable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.providers.base import Message, ToolCall, WordTiming
from agents.providers.errors import ErrorKind
from streaming.conversation import events
from streaming.conversation.events import Action, Event
from streaming.conversation.machine import Conversation
from streaming.conversation.plan import ConversationPlan

pytestmark = pytest.mark.pure

WORDS = [
    "",
    " ",
    "yes",
    "uh-huh",
    "stop",
    "I would like a table for four.",
    "my number is",
    "four one five",
    "bye",
    "@",
]
texts = st.sampled_from(WORDS) | st.text(max_size=12)
generations = st.integers(0, 8)
segments = st.integers(-1, 3)
kinds = st.sampled_from(ErrorKind)
tools = st.builds(
    ToolCall,
    id=st.sampled_from(["a", "b"]),
    name=st.sampled_from(["lookup", "end_call"]),
    arguments=st.sampled_from(["{}", "not json", "[1]", '{"goodbye": "Bye now."}', '{"goodbye": 5}', ""]),
)
timings = st.lists(st.builds(WordTiming, st.sampled_from(WORDS), st.integers(0, 900), st.integers(0, 900)), max_size=3)

any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(events.Started, resumed=st.booleans()),
    st.builds(events.SpeechWindow, st.sampled_from([0.0, 0.4, 0.95])),
    st.builds(events.TranscriptPartial, texts),
    st.builds(events.TranscriptFinal, texts, st.integers(0, 6)),
    st.builds(events.TurnProbability, st.floats(0, 1)),
    st.builds(events.TranscriberFailed, kinds, st.booleans()),
    st.builds(events.ReplyText, generations, texts),
    st.builds(events.ReplyTool, generations, tools),
    st.builds(events.ReplyDone, generations, st.sampled_from(["stop", "length", "tool_calls", "content_filter", ""])),
    st.builds(events.ReplyFailed, generations, kinds),
    st.builds(
        events.SegmentAudio, generations, segments, st.integers(0, 5000), timings.map(tuple), complete=st.booleans()
    ),
    st.builds(events.VoiceFailed, generations, segments, kinds, fatal=st.booleans()),
    st.builds(events.SegmentSent, generations, segments, st.integers(0, 100_000)),
    st.builds(events.SegmentHeard, generations, segments),
    st.builds(events.VoicePaused, generations, segments, st.integers(-5, 6000)),
    st.builds(events.Dtmf, st.sampled_from(["1", "#", "*", "12", "", "x"])),
    st.builds(events.Typed, texts),
    st.builds(events.ToolResult, generations, st.sampled_from(["a", "b", "c"]), texts),
    st.builds(events.EndRequested, st.just("operator"), st.booleans()),
    st.just(events.Tick()),
)
#: Mostly the everyday events, so that sequences get somewhere before somebody hangs up.
everyday: st.SearchStrategy[Event] = st.one_of(
    st.builds(events.SpeechWindow, st.sampled_from([0.0, 0.95])),
    st.builds(events.TranscriptPartial, st.sampled_from(WORDS)),
    st.builds(events.TranscriptFinal, st.sampled_from(WORDS), st.integers(0, 4)),
    st.builds(events.ReplyText, st.integers(1, 4), st.sampled_from(["Sure. ", "How many people will it be? ", ""])),
    st.builds(events.ReplyTool, st.integers(1, 4), tools),
    st.builds(events.ReplyDone, st.integers(1, 4), st.just("stop")),
    st.builds(events.SegmentSent, st.integers(1, 4), st.integers(0, 1), st.integers(0, 20_000)),
    st.builds(events.SegmentHeard, st.integers(1, 4), st.integers(0, 1)),
    st.builds(events.ToolResult, st.integers(1, 4), st.sampled_from(["a", "b"]), st.just("42")),
    st.just(events.Tick()),
)
gaps = st.one_of(st.just(32), st.integers(0, 400), st.integers(0, 20_000), st.just(10_000_000))
plans = st.builds(
    ConversationPlan,
    mode=st.sampled_from(["conversation", "conversation", "listen_only"]),
    language=st.sampled_from(["en-US", "de", "xx"]),
    system_prompt=st.sampled_from(["", "You are Anna."]),
    speaks_first=st.sampled_from(["agent", "caller"]),
    opening=st.sampled_from([(), ("Hello.", "How can I help?"), ("…",)]),
    opening_interruptible=st.booleans(),
    interruptible=st.booleans(),
    reprompts=st.sampled_from([(), ("Are you there?",), ("", "Still there?")]),
    wrap_up=st.sampled_from(["", "Our time is up."]),
    goodbye=st.sampled_from(["", "Goodbye."]),
    apology=st.sampled_from(["", "I am sorry."]),
    may_end_call=st.booleans(),
    history=st.sampled_from([(), (Message(role="user", content="hello"),)]),
)


class Watcher:
    """Checks every rule of the contract on the actions as they come."""

    def __init__(self, plan: ConversationPlan) -> None:
        self.conversation = Conversation(plan)
        self.started: set[int] = set()
        self.spoken: dict[int, int] = {}
        self.live: set[int] = set()
        self.newest = 0
        self.released: int | None = None
        self.commits = 0
        self.ends = 0
        self.hung_up = False

    def give(self, event: Event, now_ms: int) -> list[Action]:
        before = self.conversation.over
        actions = self.conversation.handle(event, now_ms)
        assert not (before and actions), "nothing after the end"
        for action in actions:
            assert self.ends == 0, "nothing after EndCall"
            self._check(action, event)
        if not self.conversation.over:
            wake = self.conversation.wake_at_ms
            assert wake is None or wake > now_ms or type(event) is events.SpeechWindow, "what is due was done"
        else:
            assert self.conversation.wake_at_ms is None
        return actions

    def _check(self, action: Action, event: Event) -> None:
        match action:
            case events.StartReply(generation=generation):
                self._new(generation)
                self.live.add(generation)
                assert action.messages == () or action.messages[-1].role in {"user", "tool", "system", "assistant"}
            case events.Speak(generation=generation, segment=segment, text=text):
                if generation not in self.spoken and generation not in self.live:
                    self._new(generation)
                self.live.add(generation)
                assert segment == self.spoken.get(generation, -1) + 1, "segments count up from 0"
                self.spoken[generation] = segment
                assert any(char.isalnum() for char in text)
            case events.HoldVoice(generation=generation):
                assert generation == self.released
                self.released = None
            case events.ReleaseVoice(generation=generation):
                assert generation in self.live
                assert self.released not in self.live, "one released generation at a time"
                self.released = generation
            case events.CancelGeneration(generation=generation):
                assert generation in self.started
                self.live.discard(generation)
            case events.Commit(commit=number):
                assert number == self.commits + 1, "each commit once"
                self.commits = number
            case events.RunTool(generation=generation):
                assert generation in self.live or generation in self.started
            case events.EndCall():
                self.ends += 1
            case events.WriteTurn():
                assert action.ended_ms >= action.started_ms >= 0
                if action.role == "agent" and action.end_reason == "finished":
                    self.live.discard(self.released or 0)
            case events.PauseVoice() | events.ResumeVoice():
                assert self.released is not None

    def _new(self, generation: int) -> None:
        assert generation > self.newest, "generations only grow"
        self.newest = generation
        self.started.add(generation)


def run(plan: ConversationPlan, script: Iterable[tuple[Event, int]]) -> Watcher:
    watcher = Watcher(plan)
    now = 0
    for event, gap in script:
        now += gap
        watcher.give(event, now)
        # A tool-only reply ends without a turn: it frees the floor silently.
        floor = watcher.conversation._voice.floor
        if floor is None or floor.generation != watcher.released:
            watcher.released = None
    return watcher


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, script=st.lists(st.tuples(any_event, gaps), max_size=60), begin=st.booleans())
def test_no_order_of_events_breaks_the_rules(plan, script, begin):
    run(plan, ([(events.Started(), 0)] if begin else []) + script)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, script=st.lists(st.tuples(everyday | everyday | any_event, gaps), max_size=80))
def test_no_everyday_order_of_events_breaks_the_rules(plan, script):
    run(plan, [(events.Started(), 0), *script])


def test_of_two_replies_that_have_stalled_the_first_may_end_the_call():
    """After a pause of the process, both are overdue in the same moment."""
    hangs_up = events.ReplyTool(1, ToolCall(id="a", name="end_call", arguments="{}"))
    asked = [(events.Started(), 0), (events.Dtmf("#"), 32), (events.Tick(), 1968), (hangs_up, 32)]
    watcher = run(ConversationPlan(speaks_first="agent", may_end_call=True), [*asked, (events.Tick(), 100_000)])
    assert watcher.ends == 1


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, script=st.lists(st.tuples(everyday | any_event, gaps), max_size=40), noise=st.booleans())
def test_a_call_left_alone_always_ends_by_itself(plan, script, noise):
    """Providers and caller fall silent for ever (or the line hums): ticks alone end the call, without a busy loop."""
    watcher = run(plan, [(events.Started(), 0), *script])
    conversation = watcher.conversation
    now = sum(gap for _, gap in script)
    ticks = 0
    while not conversation.over:
        wake = conversation.wake_at_ms
        assert wake is not None, "a live call always has a next deadline"
        now = max(now, wake)
        ticks += 1
        assert ticks < 5000, "no busy loop"
        watcher.give(events.SpeechWindow(0.9 if noise else 0.0), now)
        watcher.give(events.Tick(), now)
    assert watcher.ends <= 1
    assert watcher.ends == 1
    assert watcher.live - {watcher.released} == set(), "every generation was cancelled or played"


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans, script=st.lists(st.tuples(everyday | any_event, gaps), max_size=40))
def test_after_a_hang_up_only_records_follow_and_then_nothing(plan, script):
    watcher = run(plan, [(events.Started(), 0), *script])
    now = sum(gap for _, gap in script)
    over = watcher.conversation.over
    actions = watcher.give(events.HungUp("caller_hung_up"), now)
    assert all(isinstance(action, events.WriteTurn | events.Note) for action in actions)
    assert bool(actions) is not over
    assert watcher.conversation.over
    assert watcher.give(events.Typed("hello?"), now + 1) == []
