"""The manners of a call over real sockets: every scene of turn-taking, measured on what the simulated phone heard.

``tests/streaming/conversation`` holds the same in virtual time; ``docs/turn-taking.md`` tells which test holds what.
All scenes are played once, most of them at the same time, by callers of the sandbox (espeak-ng's voice, and a human one
where its prompts fit) against web and stream servers of their own. The machine's own lateness is allowed for.
"""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.grammar import scenario
from tests.integration.house import house
from tests.integration.stream.scenes import (
    FINISHES,
    PAUSE_MS,
    SCENARIO,
    Act,
    Scene,
    Step,
    Turn,
    human,
    length_ms,
    play,
    says,
    words_said,
)

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]

GREETING = "Hello, this is the front desk of Rowan Dental. How can I help you?"
REPROMPTS = ["Are you still there?", "I cannot hear you. Please call us again later."]
GOODBYE = "Thank you for calling Rowan Dental. We look forward to seeing you. Goodbye!"
STORY = next(rule["say"] for rule in scenario(SCENARIO)["brain"]["rules"] if rule["id"] == "story")
ASKS_NUMBER = "Gladly. What is your customer number?"
TUESDAY = "Tuesday is possible. Shall I book Tuesday for you?"
PRESSED = "Done, I have pressed it for you."
ASKS_FOR_STORY = "tell me about the practice please"

LISTENING = ("okay", "right", "i see", "yeah", "okay", "i see", "right", "yeah", "okay", "right")
CHUNKS = {"0123": "zero one two three", "8390": "eight three nine zero", "7192": "seven one nine two"}
BEGINS = {"wait_agent_starts": {"timeout_ms": 20_000}}
HANGS_UP = {"wait_hangup": {"timeout_ms": 20_000}}
DEAF = Scene((FINISHES, {"say": "tuesday"}, FINISHES, {"say": "agreed"}, FINISHES))
ECHO = Scene(({"echo": {"level_db": -20}}, FINISHES, {"say": "story"}, FINISHES, {"say": "tuesday"}, FINISHES))


def listening() -> Iterator[Step]:
    """Ten times the caller only shows that it listens."""
    for word in LISTENING:
        yield {"silence": 700}
        yield says(word)


def number() -> Iterator[Step]:
    """Twelve digits in three pieces."""
    for digits, text in CHUNKS.items():
        yield human(*(f"digits/{digit}" for digit in digits), text=text)
        yield {"silence": 900}


def scenes() -> dict[str, Scene]:
    """All but those that are played alone, the longest first."""
    return {
        "number": Scene((FINISHES, {"say": "book"}, FINISHES, *number(), FINISHES)),
        "yes": Scene(
            (FINISHES, {"say": "tuesday"}, FINISHES, {"say": "agreed"}, FINISHES, {"say": "goodbye"}, HANGS_UP)
        ),
        "listening": Scene((FINISHES, {"say": "story"}, BEGINS, *listening(), FINISHES)),
        "listening_too": Scene((FINISHES, {"say": "story"}, BEGINS, {"silence": 700}, *listening(), FINISHES)),
        "cough": Scene((FINISHES, {"say": "story"}, BEGINS, {"silence": 2500}, says("ahem", pace=250), FINISHES)),
        "stop": Scene(
            (
                *(FINISHES, {"say": "story"}, {"interrupt": {"after_ms": 4000, "say": "wait_stop"}}),
                *(FINISHES, {"say": "goodbye"}, HANGS_UP),
            )
        ),
        "dropped_agent": Scene(
            (FINISHES, {"say": "story"}, {"silence": 6000}, FINISHES, {"say": "tuesday"}, FINISHES),
            {"drop_after_ms": 11_500, "reconnect": "same_stream"},
        ),
        "mute": Scene(({"comfort_noise": {"ms": 60_000, "level_dbfs": -50}},)),
        "dropped_caller": Scene(
            ({"silence": 6000}, {"say": "book"}, {"silence": 3000}, FINISHES, {"say": "tuesday"}, FINISHES),
            {"drop_after_ms": 7500, "reconnect": "new_stream"},
        ),
        "unacknowledged": Scene(
            (FINISHES, {"say": "tuesday"}, FINISHES, {"say": "goodbye"}, HANGS_UP),
            {"checkpoints_unanswered": 1},
        ),
        "tool_talk": Scene((FINISHES, {"say": "press"}, {"silence": 1000}, {"say": "tuesday"}, {"silence": 9000})),
        "tool": Scene((FINISHES, {"say": "press"}, {"silence": 11_000})),
        "swallowed": Scene(
            (FINISHES, {"say": "tuesday"}, {"interrupt": {"after_ms": 720, "say": "wait_stop"}}, FINISHES)
        ),
        "long_stall": Scene(
            ({"silence": 6000}, {"say": "book"}, {"silence": 5000}), {"media_stall_at_ms": 7000, "media_stall_ms": 2000}
        ),
        "short_stall": Scene(
            ({"silence": 6000}, {"say": "book"}, FINISHES), {"media_stall_at_ms": 7000, "media_stall_ms": 100}
        ),
        "hello": Scene(
            (BEGINS, {"silence": 600}, human("hello", text="hello"), FINISHES, {"say": "tuesday"}, FINISHES)
        ),
        "stall_unheard": Scene(({"silence": 6500},), {"media_stall_at_ms": 1500, "media_stall_ms": 2000}),
    }


async def perform(folder: Path, scenes: dict[str, Scene], *, deaf: bool = False) -> dict[str, Act]:
    """Plays the scenes at once, and before them, where that is asked for, the one whose recogniser dies."""
    async with house(folder) as built:
        await asyncio.to_thread(built.speak_to, SCENARIO)
        await asyncio.to_thread(
            built.republish,
            greeting=GREETING,
            disclosure="",
            recording_notice="",
            reprompts=REPROMPTS,
            reprompt_after_s=4,
            goodbye="Goodbye.",
            can_press_keys=True,
            # The sandbox's recogniser shares this machine: a final text that is late here is none that does not come.
            turn_overrides={"stt_final_ms": 1500},
        )
        await built.stop("stream")
        await built.serve("stream", module="tests.integration.stream.slow_keys")
        await built.control.request("PATCH", "providers/latencies", {"profile": "typical"})
        acts = {}
        if deaf:  # alone, for a fault hits whoever comes first; from now on the greeting is kept
            await built.control.request("POST", "providers/faults", {"kind": "drop", "stage": "stt"})
            acts = await play(built, {"deaf": DEAF})
        acts |= await play(built, scenes)
        assert built.rows("SELECT reason, count FROM calls_edgerefusal") == [], (
            "a line was refused: is the machine busy?"
        )
        assert "Traceback" not in built.log("stream") + built.log("web")
    return acts


@pytest.fixture(scope="module")
def acts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Act]:
    """All scenes but the echo's, played."""
    return asyncio.run(perform(tmp_path_factory.mktemp("turn-taking"), scenes(), deaf=True))


def agent_turns(act: Act) -> list[Turn]:
    return [turn for turn in act.turns if turn.role == "agent"]


def callers_words(act: Act) -> list[str]:
    """What the caller said, without capitals and stops, turn by turn."""
    return [text.lower().rstrip(".?") for text in act.texts("caller")]


def test_a_number_in_three_pieces_with_pauses_of_900_ms_is_one_turn(acts: dict[str, Act]) -> None:
    act = acts["number"]
    pieces = [line for line in act.lines if line["text"] in CHUNKS.values()]
    for before, after in itertools.pairwise(pieces):
        assert after["onset_ms"] - before["speech_end_ms"] >= 900
    assert len(callers_words(act)) == 2, "the request, and the number as a whole"
    assert callers_words(act)[1].replace(".", "") == " ".join(CHUNKS.values())
    assert act.texts("agent")[-1].startswith("Thank you, I have written that down.")


def test_a_yes_is_answered_at_once(acts: dict[str, Act]) -> None:
    act = acts["yes"]
    assert callers_words(act)[1] == "yes"
    assert act.answer_ms(act.line("yes")) < 1100 + act.late_ms


def test_twenty_backchannels_cancel_nothing_start_no_turn_and_pause_the_voice_for_700_ms_at_most(
    acts: dict[str, Act],
) -> None:
    played = [acts["listening"], acts["listening_too"]]
    said = [line for act in played for line in act.lines if line["text"] != ASKS_FOR_STORY]
    assert len(said) == 20
    assert sum(line["over_agent"] for line in said) >= 18
    for act in played:
        assert act.texts("agent") == [GREETING, STORY]
        assert not any(turn.interrupted for turn in act.turns)
        assert [turn.text for turn in act.turns if turn.role == "caller" and turn.end_reason != "backchannel"] == [
            "Tell me about the practice please."
        ]
        assert act.pauses
        assert max(act.pauses) <= 700 + act.late_ms


def test_a_cough_pauses_the_voice_which_goes_on_with_the_same_sentence_within_two_seconds(acts: dict[str, Act]) -> None:
    act = acts["cough"]
    assert len(act.pauses) == 1
    assert act.pauses[0] <= 2000
    assert act.texts("agent") == [GREETING, STORY]
    assert callers_words(act) == [ASKS_FOR_STORY]
    told = [(start, end) for start, end in act.agent() if start > act.line(ASKS_FOR_STORY)["speech_end_ms"]]
    assert sum(end - start for start, end in told) > 0.95 * length_ms(STORY) - PAUSE_MS, "nothing is left out"


def test_wait_stop_silences_the_agent_within_200_ms_and_it_knows_how_far_it_was_heard(acts: dict[str, Act]) -> None:
    act = acts["stop"]
    stop = act.line("wait stop")
    assert stop["over_agent"]
    assert act.silenced_ms(stop) <= 200 + act.late_ms
    story = next(turn for turn in agent_turns(act) if turn.text == STORY)
    assert story.interrupted
    played = act.played_ms(act.line(ASKS_FOR_STORY)["speech_end_ms"], stop["speech_end_ms"])
    assert abs(len(story.heard.split()) - words_said(STORY, played)) <= 1
    assert STORY.startswith(story.heard)
    assert act.texts("agent")[-2:] == ["All right, I am listening.", GOODBYE]


def test_a_mute_caller_behind_comfort_noise_is_asked_twice_and_then_hung_up_on(acts: dict[str, Act]) -> None:
    act = acts["mute"]
    assert act.texts("agent") == [GREETING, *REPROMPTS, "Goodbye."]
    assert act.status == ("ended", "silence")
    spoken_ms = sum(length_ms(text) for text in act.texts("agent"))
    assert act.hung_up_ms < 3 * 4000 + spoken_ms + 3000 + act.late_ms


def test_a_first_checkpoint_that_is_never_acknowledged_keeps_nobody_waiting(acts: dict[str, Act]) -> None:
    act = acts["unacknowledged"]
    assert act.texts("agent") == [GREETING, TUESDAY, GOODBYE]
    assert act.answer_ms(act.line("i mean on tuesday please")) < 1500 + act.late_ms
    assert act.status == ("ended", "agent_ended")
    assert act.hung_up_ms - act.agent()[-1][1] < 2500 + act.late_ms


def test_a_clear_that_swallows_checkpoints_holds_nothing_up(acts: dict[str, Act]) -> None:
    act = acts["swallowed"]
    assert any(clear["checkpoints"] for clear in act.cleared), "no checkpoint was swallowed"
    assert act.texts("agent")[-1] == "All right, I am listening."
    assert act.answer_ms(act.line("wait stop")) < 1500 + act.late_ms


def test_a_recogniser_that_dies_in_mid_call_leaves_no_silence_over_three_seconds(acts: dict[str, Act]) -> None:
    act = acts["deaf"]
    assert "stt_failed" in act.events
    assert callers_words(act) == ["i mean on tuesday please", "yes"]
    assert act.texts("agent")[1:] == [TUESDAY, "Very well, it is booked. Is there anything else?"]
    assert max(act.silences()) < 3000 + act.late_ms


def test_a_tool_of_six_seconds_is_bridged_and_then_gives_its_result(acts: dict[str, Act]) -> None:
    act = acts["tool"]
    assert next(turn.heard for turn in act.turns if turn.kind == "filler") == "One moment, please."
    assert act.answer_ms(act.line("please press four for me")) < 3500 + act.late_ms
    assert act.texts("agent") == [GREETING, PRESSED]
    assert [pressed["digits"] for pressed in act.report["digits_from_agent"]] == ["4"]


def test_a_caller_may_talk_while_the_tool_runs(acts: dict[str, Act]) -> None:
    act = acts["tool_talk"]
    assert callers_words(act) == ["please press four for me", "i mean on tuesday please"]
    assert act.texts("agent")[-1] == TUESDAY
    assert [pressed["digits"] for pressed in act.report["digits_from_agent"]] == ["4"]


def test_hello_over_the_greeting_neither_stops_it_nor_is_answered(acts: dict[str, Act]) -> None:
    act = acts["hello"]
    assert act.line("hello")["over_agent"]
    assert act.texts("agent") == [GREETING, TUESDAY]
    assert [turn.end_reason for turn in act.turns if turn.text == "Hello."] == ["backchannel"]


def test_the_goodbye_is_heard_to_its_end_before_the_hang_up(acts: dict[str, Act]) -> None:
    act = acts["yes"]
    assert act.texts("agent")[-1] == GOODBYE
    assert act.status == ("ended", "agent_ended")
    last_ms = act.line("no thank you goodbye")["speech_end_ms"]
    assert act.played_ms(last_ms, act.hung_up_ms) > length_ms(GOODBYE) - 100
    assert act.cleared == []


def test_a_stall_of_100_ms_in_mid_sentence_changes_nothing(acts: dict[str, Act]) -> None:
    act = acts["short_stall"]
    assert callers_words(act) == ["i would like to book an appointment please"]
    assert act.answer_ms(act.lines[0]) < 1500 + act.late_ms


def test_a_stall_of_two_seconds_in_mid_sentence_costs_no_word(acts: dict[str, Act]) -> None:
    act = acts["long_stall"]
    assert callers_words(act) == ["i would like to book an appointment please"]
    assert act.texts("agent") == [GREETING, ASKS_NUMBER]
    assert act.answer_ms(act.lines[0]) < 1500 + act.late_ms


def test_a_stall_of_two_seconds_under_the_agents_voice_is_not_noticed(acts: dict[str, Act]) -> None:
    act = acts["stall_unheard"]
    assert act.texts("agent") == [GREETING]
    assert act.cleared == []


def test_a_stream_lost_while_the_agent_speaks_goes_on_where_it_was(acts: dict[str, Act]) -> None:
    act = acts["dropped_agent"]
    assert len(act.streams[0]["connections"]) == 2
    assert "stream_resumed" in act.events
    assert act.texts("agent")[-2:] == ["Sorry, I lost you for a moment. Please go on.", TUESDAY]
    assert GREETING not in act.texts("agent")[1:]
    assert max(act.silences()) < 3000 + act.late_ms


def test_a_stream_lost_while_the_caller_speaks_goes_on_where_it_was(acts: dict[str, Act]) -> None:
    act = acts["dropped_caller"]
    assert len(act.streams[0]["connections"]) == 2
    assert GREETING not in act.texts("agent")[1:]
    assert callers_words(act)[0].startswith("i would")
    assert act.texts("agent")[-1] == TUESDAY
    assert max(act.silences()) < 4000 + act.late_ms


@pytest.mark.slow  # on a busy machine the echo comes later than any room's, when the agent listens again: played alone
def test_the_agents_own_echo_20_db_down_neither_pauses_it_nor_starts_a_turn(tmp_path: Path) -> None:
    act = asyncio.run(perform(tmp_path, {"echo": ECHO}))["echo"]
    assert callers_words(act) == [ASKS_FOR_STORY, "i mean on tuesday please"]
    assert act.texts("agent") == [GREETING, STORY, TUESDAY]
    assert act.cleared == []
