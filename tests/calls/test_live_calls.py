"""What a live call reads and writes: its context, its turns in every order of arrival, and its end."""

import datetime
import uuid

import msgspec
import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from agents import services
from agents.services import AccountError
from calls import lifecycle, live_calls, reports, summaries, suppression
from calls.models import Call, CallEvent, DoNotCall, Turn, Usage
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture
def call():
    return factories.CallFactory(caller_name="Ann", variables={"business": "Elm Dental"})


@pytest.fixture
def now():
    return timezone.now()


def start(call, now, session="s-1"):
    live_calls.claim(call_id=call.pk, session=session)
    return live_calls.stream_started(call_id=call.pk, stream_id=f"of {session}", session=session, now=now)


def end(call, now, session="s-1", *, reason=None, normal=False):
    live_calls.stream_ended(call_id=call.pk, session=session, reason=reason, normal=normal, now=now)


def turn(index, role="caller", text="Hello", started=None, **more):
    started = index * 1000 if started is None else started
    return {"index": index, "role": role, "text": text, "started_ms": started, "ended_ms": started + 500} | more


def texts(call):
    return list(Turn.objects.filter(call=call).values_list("index", "role", "text"))


def test_a_first_stream_makes_the_call_live_and_gives_it_all_it_needs(call, now):
    context = start(call, now)
    call.refresh_from_db()
    assert (call.status, call.live_at) == ("live", now)
    assert (context.call_id, context.public_id, context.plivo_call_uuid, context.session) == (
        call.pk,
        str(call.public_id),
        call.plivo_call_uuid,
        "s-1",
    )
    assert context.spec == call.agent_version.spec
    assert (context.resumed, context.history, context.next_turn_index, context.live_at) == (False, (), 0, now)
    assert context.llm.api_key == call.agent.llm_account.api_key
    assert context.tts.voice_id == call.agent.voice.external_id
    assert context.variables["business"] == "Elm Dental"
    assert context.variables["caller_number"] == call.from_number
    assert context.variables["called_number"] == call.to_number
    assert context.variables["caller_name"] == "Ann"


def test_a_second_stream_resumes_with_what_was_said_and_heard(call, now):
    start(call, now)
    live_calls.write_turns(
        {
            call.pk: [
                turn(0, "agent", "Hello, this is Rowan Dental.", heard="Hello, this is Rowan"),
                turn(1, "caller", "I need an appointment"),
                turn(2, "tool", "{}"),
                turn(3, "agent", "Never heard.", heard=""),
            ]
        }
    )
    later = now + datetime.timedelta(seconds=9)
    context = start(call, later, "s-2")
    assert (context.resumed, context.next_turn_index, context.live_at) == (True, 4, now)
    assert [(message.role, message.content) for message in context.history] == [
        ("assistant", "Hello, this is Rowan"),
        ("user", "I need an appointment"),
    ]
    assert list(CallEvent.objects.values_list("kind", "offset_ms")) == [("stream_started", 0), ("stream_resumed", 9000)]


@pytest.mark.parametrize("over", [{"status": "ended"}, {"status": "cancelled"}, {"stream_ended_at": timezone.now()}])
def test_a_stream_of_a_call_that_is_over_begins_nothing(call, now, over):
    Call.objects.filter(pk=call.pk).update(**over)
    assert start(call, now) is None
    call.refresh_from_db()
    assert call.live_at is None


def test_a_call_that_is_gone_has_no_context(now):
    assert live_calls.stream_started(call_id=0, stream_id="1", session="s", now=now) is None


def test_an_account_without_a_key_is_said_to_be_so(call, now):
    account = call.agent.llm_account
    account.api_key = ""
    account.save()
    with pytest.raises(AccountError, match="no API key"):
        start(call, now)


def test_a_listening_agent_needs_neither_model_nor_voice(call, now):
    agent = call.agent
    agent.mode = "listen_only"
    agent.save()
    account = agent.llm_account
    account.api_key = ""
    account.save()
    Call.objects.filter(pk=call.pk).update(agent_version=factories.AgentVersionFactory(agent=agent))
    context = start(call, now)
    assert context.stt.api_key
    assert context.llm.api_key == context.tts.api_key == ""


def test_a_call_over_a_scripted_provider_is_marked_so(call, now):
    account = call.agent.stt_account
    account.is_sandbox = True
    account.save()
    assert start(call, now).is_sandbox
    call.refresh_from_db()
    assert call.is_sandbox


def test_a_browser_call_can_run_on_the_draft_and_ends_with_its_stream(superuser, now):
    agent = factories.AgentFactory(greeting="A draft greets.")
    with pytest.raises(ValueError, match="not published"):
        live_calls.create_browser_call(agent=agent, user=superuser, draft=False, now=now)
    call = live_calls.create_browser_call(agent=agent, user=superuser, draft=True, now=now)
    assert (call.direction, call.status, call.agent_version) == ("browser", "answered", None)
    context = start(call, now)
    assert context.spec == services.build_spec(agent)
    assert context.spec.greeting == "A draft greets."
    end(call, now)
    call.refresh_from_db()
    assert (call.status, call.outcome, call.ended_at) == ("ended", "completed", now)


def test_a_browser_call_goes_on_with_the_draft_that_it_began_with(superuser, now):
    agent = factories.AgentFactory(greeting="A draft greets.")
    call = live_calls.create_browser_call(agent=agent, user=superuser, draft=True, now=now)
    agent.greeting = "Edited meanwhile."
    agent.save()
    assert start(call, now).spec.greeting == "A draft greets."
    assert start(call, now).spec.greeting == "A draft greets."


def test_an_incomplete_draft_makes_no_call(superuser, now):
    agent = factories.AgentFactory(system_prompt="")
    with pytest.raises(ValidationError):
        live_calls.create_browser_call(agent=agent, user=superuser, draft=True, now=now)
    assert not Call.objects.exists()


def test_a_browser_call_to_a_published_agent_keeps_its_version(superuser, now):
    version = factories.AgentVersionFactory()
    agent = version.agent
    agent.refresh_from_db()
    call = live_calls.create_browser_call(agent=agent, user=superuser, draft=False, now=now)
    assert (call.agent_version, call.draft_config) == (version, None)


def test_a_normal_end_of_the_stream_leaves_the_call_to_its_hang_up(call, now):
    start(call, now)
    end(call, now, reason="silence", normal=True)
    end(call, now + datetime.timedelta(seconds=1))
    call.refresh_from_db()
    assert (call.status, call.end_reason, call.stream_ended_at) == ("live", "silence", now)
    assert call.deadline_at > now


def test_a_drop_leaves_the_call_open(call, now):
    start(call, now)
    end(call, now)
    call.refresh_from_db()
    assert (call.status, call.stream_ended_at, call.end_reason) == ("live", None, "")


def test_the_end_of_a_call_that_is_gone_is_no_fault(now):
    live_calls.stream_ended(call_id=0, session="s", reason=None, normal=True, now=now)


def holder(call):
    return Call.objects.values_list("carried_by", flat=True).get(pk=call.pk)


def grows_silent(call):
    """No sign of life of the call's session for longer than a lease; since when."""
    seen = timezone.now() - 1.1 * live_calls.LEASE
    Call.objects.filter(pk=call.pk).update(last_seen_at=seen)
    return seen


def test_a_call_is_carried_by_one_session_until_that_lets_go_or_shows_no_life(call, now):
    assert live_calls.claim(call_id=call.pk, session="first")
    assert not live_calls.claim(call_id=call.pk, session="second")
    assert holder(call) == "first"
    assert live_calls.release(call_id=call.pk, session="first")
    assert live_calls.claim(call_id=call.pk, session="second")
    assert not live_calls.release(call_id=call.pk, session="first")
    grows_silent(call)
    assert live_calls.claim(call_id=call.pk, session="third")
    assert not live_calls.claim(call_id=call.pk, session="fourth")
    assert holder(call) == "third"


def test_a_session_that_shows_life_keeps_its_call_and_moves_its_deadline(call, now):
    other, ended = factories.CallFactory(), factories.CallFactory()
    for each in (call, other, ended):
        assert start(each, now, f"of-{each.pk}")
    held = {each.pk: f"of-{each.pk}" for each in (call, other, ended)}
    for each in (call, other):
        grows_silent(each)
    Call.objects.filter(pk=ended.pk).update(status="ended", ended_at=now, deadline_at=None)
    later = now + datetime.timedelta(seconds=30)
    assert live_calls.renew(held=held, silent={other.pk}, now=later) == set()
    for each in (call, ended):
        each.refresh_from_db()
    assert (call.last_seen_at >= now, call.deadline_at) == (True, later + lifecycle.LIVE_GRACE)
    assert ended.deadline_at is None
    assert not live_calls.claim(call_id=call.pk, session="new")
    assert live_calls.claim(call_id=other.pk, session="new")


def test_a_session_learns_that_another_has_taken_its_call_and_keeps_it_no_longer(call, now):
    start(call, now, "first")
    grows_silent(call)
    start(call, now, "second")
    seen = grows_silent(call)
    assert live_calls.renew(held={call.pk: "first"}, silent=set(), now=now) == {call.pk}
    assert Call.objects.get(pk=call.pk).last_seen_at == seen
    assert live_calls.renew(held={call.pk: "second"}, silent=set(), now=now) == set()
    assert (holder(call), Call.objects.get(pk=call.pk).last_seen_at > seen) == ("second", True)
    end(call, now, "second")
    assert live_calls.renew(held={call.pk: "second"}, silent=set(), now=now) == set()


def test_the_end_of_a_session_whose_call_another_carries_says_nothing_of_the_call(call, now):
    start(call, now, "first")
    grows_silent(call)
    start(call, now, "second")
    before = Call.objects.filter(pk=call.pk).values().get()
    end(call, now + datetime.timedelta(seconds=1), "first", reason="agent_ended", normal=True)
    assert Call.objects.filter(pk=call.pk).values().get() == before
    end(call, now + datetime.timedelta(seconds=2), "second", reason="silence", normal=True)
    call.refresh_from_db()
    assert (call.end_reason, call.carried_by) == ("silence", "")


def test_turns_written_twice_stand_once_as_they_were_last(call):
    live_calls.write_turns({call.pk: [turn(0, text="Hel"), turn(1, "agent", "Hi")]})
    live_calls.write_turns({call.pk: [turn(0, text="Hello there")]})
    assert texts(call) == [(0, "caller", "Hello there"), (1, "agent", "Hi")]


def test_two_sessions_with_the_same_index_lose_no_turn(call):
    live_calls.write_turns({call.pk: [turn(0), turn(1, "agent", "From the new stream", started=8000)]})
    late = [turn(1, "caller", "From the dropped one", started=4000)]
    live_calls.write_turns({call.pk: late})
    live_calls.write_turns({call.pk: late})  # and the journal tries again
    assert texts(call) == [
        (0, "caller", "Hello"),
        (2, "caller", "From the dropped one"),
        (1, "agent", "From the new stream"),
    ]


def test_a_turn_that_was_written_late_stands_where_it_began_for_every_reader(call, now):
    start(call, now)
    live_calls.write_turns({call.pk: [turn(0), turn(1, "agent", "Again?", started=9000, heard="Again?")]})
    live_calls.write_turns({call.pk: [turn(1, "agent", "Hi.", started=4000, heard="Hi.")]})
    live_calls.write_turns({call.pk: [turn(0, text="Beside it", started=4000)]})
    context = start(call, now, "s-2")
    said = ["Hello", "Hi.", "Beside it", "Again?"]
    assert [message.content for message in context.history] == said
    assert context.next_turn_index == 4
    assert [view.turn.text for view in reports.call_page(call).turns] == said
    lines = summaries.transcript(list(call.turns.all())).splitlines()
    assert lines == ["Caller: Hello", "Agent: Hi.", "Caller: Beside it", "Agent: Again?"]


def test_clashing_turns_within_one_batch_all_find_a_place(call):
    rows = [turn(0), turn(0, "agent", "B", started=10), turn(1, text="C", started=20), turn(2, text="D", started=30)]
    live_calls.write_turns({call.pk: rows})
    assert sorted(text for _, _, text in texts(call)) == ["B", "C", "D", "Hello"]


def test_two_tools_of_one_millisecond_that_are_written_late_and_again_both_stand(call):
    live_calls.write_turns({call.pk: [turn(0, "agent", "New", started=8000), turn(1, "caller", "Too", started=9000)]})
    late = [turn(0, "tool", "book", started=4000), turn(1, "tool", "look", started=4000)]
    for _ in range(2):
        live_calls.write_turns({call.pk: late})
        assert [text for _, _, text in texts(call)] == ["book", "look", "New", "Too"]


def test_texts_that_a_database_cannot_hold_cost_no_turn(call):
    live_calls.write_turns({call.pk: [turn(0, text="a\x00b\ud800\n", data={"k\x00": ["\x00x"]})]})
    row = Turn.objects.get()
    assert (row.text, row.data) == ("ab\n", {"k": ["x"]})


def test_events_are_taken_with_times_as_text_as_a_spill_file_holds_them(call, now):
    rows = [{"at": now.isoformat(), "offset_ms": 5, "kind": "x", "data": {}}, {"at": now, "kind": "y"}]
    live_calls.write_events({call.pk: rows})
    assert list(CallEvent.objects.order_by("id").values_list("kind", "at")) == [("x", now), ("y", now)]


def test_events_that_come_again_are_written_once_whatever_was_between(call, now):
    second = datetime.timedelta(seconds=1)
    rows = [
        {"at": now + n * second, "offset_ms": n * 1000, "kind": "tts_failed", "data": {"n": [n, 1.5], "why": None}}
        for n in range(3)
    ]
    kept = msgspec.json.decode(msgspec.json.encode(rows))  # as a file gives them back
    live_calls.write_events({call.pk: rows[:2]})
    live_calls.write_events({call.pk: kept})
    live_calls.write_events({call.pk: rows})
    assert [event.data["n"][0] for event in CallEvent.objects.order_by("at")] == [0, 1, 2]
    other = {"at": now, "offset_ms": 0, "kind": "tts_failed", "data": {"n": [7, 1.5], "why": None}}
    live_calls.write_events({call.pk: [other]})
    live_calls.write_events({factories.CallFactory().pk: rows})
    assert CallEvent.objects.count() == 7


def test_a_usage_report_replaces_the_earlier_one_of_its_key(call):
    key = uuid.uuid4()
    row = {"key": key, "stage": "llm", "provider": "openai", "model": "gpt-6-luna", "output_tokens": 5}
    live_calls.write_usage({call.pk: [row, row | {"output_tokens": 7}]})
    live_calls.write_usage({call.pk: [row | {"key": str(key), "output_tokens": 9}]})
    assert Usage.objects.get().output_tokens == 9


def test_what_several_calls_have_to_say_is_written_together(call, now):
    other = factories.CallFactory()
    live_calls.write_turns({call.pk: [turn(0)], other.pk: [turn(0, text="Moin"), turn(1, "agent", "Hi")]})
    late = {call.pk: [turn(0, "agent", "New", started=8000)], other.pk: [turn(1, "agent", "Hi there")]}
    live_calls.write_turns(late)
    assert texts(call) == [(0, "caller", "Hello"), (1, "agent", "New")]
    assert texts(other) == [(0, "caller", "Moin"), (1, "agent", "Hi there")]
    event = {"at": now, "offset_ms": 0, "kind": "x", "data": {}}
    used = {"stage": "tts", "purpose": "turn", "provider": "elevenlabs", "model": "flash"}
    for _ in range(2):
        live_calls.write_events({call.pk: [event], other.pk: [event]})
        live_calls.write_usage({each.pk: [used | {"key": str(uuid.UUID(int=each.pk))}] for each in (call, other)})
    for model in (CallEvent, Usage):
        assert sorted(model.objects.values_list("call_id", flat=True)) == sorted([call.pk, other.pk])


def test_where_one_call_is_gone_nothing_of_the_others_is_half_written(call):
    with pytest.raises(IntegrityError), transaction.atomic():
        live_calls.write_turns({call.pk: [turn(0)], call.pk + 1000: [turn(0)]})
        connection.check_constraints()  # as at the end of the transaction
    assert not Turn.objects.exists()


def test_many_calls_cost_as_many_queries_as_one(call, now, django_assert_num_queries):
    calls = [call, *factories.CallFactory.create_batch(20)]
    with django_assert_num_queries(6):  # a savepoint's two among them
        live_calls.write_turns({each.pk: [turn(0), turn(1, "agent")] for each in calls})
    assert Turn.objects.count() == 42


# --- opting out ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("direction", "number"), [("outbound", "+15552220000"), ("inbound", "+15551110000")])
def test_who_opts_out_is_on_the_list_by_the_number_of_the_other_end(now, direction, number):
    call = factories.CallFactory(direction=direction, from_number="+15551110000", to_number="+15552220000")
    for _ in range(2):
        live_calls.opt_out(call_id=call.pk, source="key", evidence="pressed 9", now=now)
    row = suppression.find(number)
    assert (row.source, row.evidence, row.call, row.since) == ("key", "pressed 9", call, now)
    assert call.events.filter(kind="opted_out").count() == 1
    assert DoNotCall.objects.count() == 1


def test_a_caller_without_a_number_cannot_be_put_on_the_list(now):
    call = factories.CallFactory(direction="inbound", from_number="anonymous")
    with pytest.raises(ValueError, match=r"E\.164"):
        live_calls.opt_out(call_id=call.pk, source="spoken", evidence="stop", now=now)
    assert not call.events.exists()


def test_whoever_we_rang_can_opt_out_whatever_the_agents_tools_are(now):
    plain = start(factories.CallFactory(), now)
    assert (plain.opt_out_key, "opt_out" in plain.spec.tools) == ("", False)
    asked = start(factories.CallFactory(direction="outbound", to_number="+15552220000"), now)
    assert (asked.opt_out_key, "opt_out" in asked.spec.tools) == ("9", True)
