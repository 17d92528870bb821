"""Text cut for the voice, text heard, and speech seen by the VAD."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import WordTiming
from agents.spec import TurnTaking
from streaming.conversation.history import History
from streaming.conversation.interruption import Verdict, judge
from streaming.conversation.languages import language, normalise
from streaming.conversation.reply import Reply, Segment
from streaming.conversation.segmenter import LONG_CHARS, Segmenter
from streaming.conversation.speakable import speakable
from streaming.conversation.timers import Timer, Timers
from streaming.conversation.utterance import CallerSpeech, Change

pytestmark = pytest.mark.pure


def cut(text, *, step=1, language_tag="en"):
    segmenter = Segmenter(language_tag=language_tag)
    pieces = [piece for at in range(0, len(text), step) for piece in segmenter.feed(text[at : at + step])]
    return pieces + segmenter.flush()


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        (
            "Good afternoon to you, how can I help? Tell me about your plans, please.",
            ["Good afternoon to you,", "how can I help? Tell me about your plans, please."],
        ),
        (
            "Dr. Smith has time at 3.5 or 4 p.m. on Monday. Would that suit you?",
            ["Dr. Smith has time at 3.5 or 4 p.m. on Monday.", "Would that suit you?"],
        ),
        (
            "Please see example.com/menu.html for it. Anything else?",
            ["Please see example.com/menu.html for it.", "Anything else?"],
        ),
        (
            "Write to jane.doe@example.org about it. Anything else?",
            ["Write to jane.doe@example.org about it.", "Anything else?"],
        ),
        ("It costs 1,250.50 dollars in total. Is that fine?", ["It costs 1,250.50 dollars in total.", "Is that fine?"]),
        ("Your number is 415, 555, 2671 as I see. Correct?", ["Your number is 415, 555, 2671 as I see.", "Correct?"]),
        ("It is number No. 5 on our list. No. It is not.", ["It is number No. 5 on our list.", "No. It is not."]),
        ("…", []),
        ("**", []),
        ("Yes.", ["Yes."]),
    ],
)
def test_the_first_clause_comes_early_and_sentences_stay_whole(text, pieces):
    assert cut(text) == pieces


def test_german_ordinals_do_not_end_a_sentence():
    assert cut("Am 3. Mai um 19 Uhr ist etwas frei. Passt das?", language_tag="de-DE")[0].endswith("frei.")


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Great** choice, *really*!", "Great choice, really!"),
        ("# Menu\n- soup\n- salad", "Menu, soup, salad"),
        ("See [our site](https://example.com/x).", "See our site."),
        ("Done \N{PARTY POPPER}\N{GRINNING FACE}!", "Done !"),
        ("`code` and ~~old~~ | new", "code and old new"),
        ("mail john_doe@example.com __now__", "mail john_doe@example.com now"),
        ("नमस्ते, क्\u200dया हाल है?", "नमस्ते, क्\u200dया हाल है?"),
    ],
)
def test_markdown_and_pictures_are_not_spoken(text, spoken):
    assert speakable(text) == spoken


words = st.sampled_from(
    ["Sure", "Dr.", "3.5", "a.m.", "e.g.", "**bold**", "table,", "yes.", "415,", "\n", "why?", "No.", "x" * 30]
)


@given(st.lists(words, max_size=60).map(" ".join), st.integers(1, 40))
def test_pieces_do_not_depend_on_how_the_stream_is_chopped(text, step):
    assert cut(text, step=step) == cut(text)


@given(st.text(max_size=400), st.integers(1, 50))
def test_no_letter_is_lost_or_doubled_and_every_piece_can_be_spoken(text, step):
    text = text.replace("[", "").replace("]", "").replace("_", "")
    pieces = cut(text, step=step)
    assert all(any(char.isalnum() for char in piece) for piece in pieces)
    assert all("*" not in piece for piece in pieces)
    assert all(len(piece) <= LONG_CHARS + 60 for piece in pieces if " " in piece)
    letters = [char for char in text if char.isalpha()]
    assert [char for piece in pieces for char in piece if char.isalpha()] == letters


# --- heard text ------------------------------------------------------------------------------------------------------

SENTENCE = "We have a table by the window."


def segment(*, timed):
    part = Segment(SENTENCE)
    part.duration_ms, part.complete = 3000, True
    if timed:
        part.words = tuple(WordTiming(word, at * 400, at * 400 + 400) for at, word in enumerate(SENTENCE.split()))
    return part


@pytest.mark.parametrize(("offset", "heard"), [(0, ""), (150, ""), (250, "We"), (1000, "We have a"), (3000, SENTENCE)])
def test_words_count_as_heard_from_their_middle_on(offset, heard):
    assert segment(timed=True).heard_text(offset) == heard


@pytest.mark.parametrize(
    ("offset", "heard"), [(0, ""), (1000, "We have a"), (1500, "We have a table"), (3000, SENTENCE)]
)
def test_without_timings_the_heard_words_follow_the_share_of_the_time(offset, heard):
    assert segment(timed=False).heard_text(offset) == heard


def test_timings_of_other_words_than_the_written_ones_are_scaled():
    part = Segment("It costs $1,250 today.")
    part.duration_ms, part.complete = 3000, True
    spoken = ["It", "costs", "one", "thousand", "two", "hundred", "fifty", "dollars", "today"]
    part.words = tuple(WordTiming(word, at * 300, at * 300 + 300) for at, word in enumerate(spoken))
    assert part.heard_text(2500) == "It costs $1,250 today."
    assert part.heard_text(600) == "It"


@given(st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=20), st.booleans(), st.data())
def test_more_playback_is_never_less_text(written, timed, data):
    part = Segment(" ".join(written))
    part.duration_ms, part.complete = 100 * len(part.text), True
    if timed:
        part.words = tuple(WordTiming(word, 90 * at, 90 * at + 80) for at, word in enumerate(written))
    earlier = data.draw(st.integers(0, part.duration_ms))
    later = data.draw(st.integers(earlier, part.duration_ms))
    assert part.heard_text(later).startswith(part.heard_text(earlier))
    assert part.heard_text(part.duration_ms) == part.text


def test_after_a_pause_the_playback_clock_runs_on_from_the_interrupted_word():
    reply = Reply(generation=1, kind="speech", by_model=True, now_ms=0)
    reply.segments += [segment(timed=False), segment(timed=False)]
    reply.sent(0, 1000, 1000)
    reply.sent(1, 4000, 3600)
    reply.paused_ms, reply.position = 2000, (0, 1000)
    assert reply.playing_at(9_000) == (0, 1000)
    reply.resumed(10_000)
    assert reply.playing_at(10_000) == (0, 800)
    assert reply.playing_at(12_300) == (1, 100)


def test_what_was_never_heard_leaves_the_context_and_the_callers_words_become_one_message():
    history = History(system_prompt="S")
    history.caller_said("A table.")
    reply = Reply(generation=1, kind="speech", by_model=True, now_ms=0)
    reply.segments.append(Segment("Gladly."))
    history.agent_says(reply)
    reply.over_ms = 5
    history.caller_said("For two.")
    assert [(m.role, m.content) for m in history.messages()] == [("system", "S"), ("user", "A table. For two.")]


# --- interruption ----------------------------------------------------------------------------------------------------


def verdict(text, *, speech_ms=300, tag="en", **context):
    return judge(text, speech_ms=speech_ms, turn_taking=TurnTaking(), rules=language(tag), **context)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Verdict.NOTHING),
        ("...", Verdict.NOTHING),
        ("Uh-huh.", Verdict.BACKCHANNEL),
        ("yeah okay I see", Verdict.BACKCHANNEL),
        ("no problem", Verdict.BACKCHANNEL),
        ("um", Verdict.BACKCHANNEL),
        ("right, I", Verdict.UNDECIDED),
        ("Tuesday", Verdict.UNDECIDED),
        ("um Tuesday", Verdict.UNDECIDED),
        ("on Tuesday", Verdict.INTERRUPTION),
        ("stop", Verdict.INTERRUPTION),
        ("yeah wait", Verdict.INTERRUPTION),
        ("hold on", Verdict.INTERRUPTION),
    ],
)
def test_words_over_the_voice_are_judged(text, expected):
    assert verdict(text) is expected


def test_the_place_in_the_conversation_changes_the_verdict():
    assert verdict("hello") is Verdict.UNDECIDED
    assert verdict("hello", opening=True) is Verdict.BACKCHANNEL
    assert verdict("bye bye", closing=True) is Verdict.BACKCHANNEL
    assert verdict("thank you, bye", closing=True, speech_ms=2000) is Verdict.BACKCHANNEL
    assert verdict("yes") is Verdict.BACKCHANNEL
    assert verdict("yes", nearly_done=True) is Verdict.INTERRUPTION
    assert verdict("um", nearly_done=True) is Verdict.BACKCHANNEL
    assert verdict("yes", speech_ms=900) is Verdict.INTERRUPTION


def test_normalised_texts_are_equal_when_the_words_are():
    assert normalise("  I\u2019d like: A TABLE, please! ") == "i'd like a table please"
    assert normalise("हाँ, जी।") == "हाँ जी"


# --- speech ----------------------------------------------------------------------------------------------------------


def changes(probabilities, **options):
    speech = CallerSpeech(threshold=0.5, start_windows=options.get("start_windows", 3))
    found = []
    for index, probability in enumerate(probabilities):
        change = speech.feed(probability, (index + 1) * 32)
        if change is not None:
            found.append((index, change))
    return found, speech


def test_speech_starts_after_three_windows_and_its_onset_is_the_first_of_them():
    found, speech = changes([0, 0, 0.9, 0.9, 0.9])
    assert found == [(4, Change.ONSET)]
    assert speech.onset_ms == 64


def test_single_clicks_are_no_speech():
    assert changes([0.9, 0.9, 0, 0.9, 0, 0.9, 0.9, 0])[0] == []


def test_a_gap_within_a_word_is_no_pause():
    found, _ = changes([0.9] * 5 + [0.1] * 2 + [0.9] * 5)
    assert found == [(2, Change.ONSET)]


def test_silence_counts_from_the_end_of_the_last_speech_window():
    found, speech = changes([0.9] * 5 + [0.1] * 10)
    assert found[-1] == (7, Change.PAUSE)
    assert speech.end_ms == 160


def test_speech_that_has_begun_ends_at_a_lower_probability():
    assert changes([0.9] * 3 + [0.4] * 20)[0] == [(2, Change.ONSET)]
    assert changes([0.4] * 20)[0] == []


def test_timers_give_the_earliest_first_and_each_once():
    timers = Timers()
    timers.set(Timer.COMMIT, 200)
    timers.set(Timer.DECIDE, 100)
    timers.set(Timer.FINAL, 300)
    timers.clear(Timer.FINAL)
    assert timers.next_ms == 100
    assert timers.pop_due(50) is None
    assert [timers.pop_due(500), timers.pop_due(500), timers.pop_due(500)] == [Timer.DECIDE, Timer.COMMIT, None]
    assert timers.next_ms is None
