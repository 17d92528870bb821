"""Noise around the caller, a shorter piece of what ``make bars BARS=noise`` measures."""

import pytest

from agents.spec import TurnTaking
from benchmarks.noise import disturbed, on_the_line, speaks_up, windows
from benchmarks.noises import KINDS
from streaming.audio.detectors import SILERO_FILES
from streaming.audio.models import model_file
from streaming.conversation.events import SpeechWindow
from streaming.conversation.utterance import CallerSpeech, Change
from tests.streaming.audio.speech import PROMPTS, on_a_line, prompt

pytestmark = [
    pytest.mark.pure,
    pytest.mark.skipif(model_file(*SILERO_FILES) is None, reason="needs the Silero model of requirements-models.txt"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_15_db_under_the_caller_neither_pauses_the_agent_nor_makes_it_give_up_a_reply(kind: str) -> None:
    found = disturbed(windows(on_the_line(KINDS[kind](15, 3), speech_dbfs=-26.0)))
    assert (found.pauses, found.cancelled, found.silent_ms) == (0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_who_speaks_up_in_noise_silences_the_agent_at_once(kind: str) -> None:
    assert 0 < speaks_up(KINDS[kind](8, 1), speech_dbfs=-26.0) < 200


def test_it_is_the_loudness_that_keeps_voices_behind_the_caller_apart() -> None:
    line = windows(on_the_line(KINDS["babble"](15, 3), speech_dbfs=-26.0))
    assert disturbed([SpeechWindow(window.probability) for window in line]).pauses


@pytest.mark.parametrize("name", PROMPTS)
def test_that_a_caller_must_be_loud_costs_no_time(name: str) -> None:
    numbers = TurnTaking()
    heard = windows(on_a_line(prompt(name)))
    speech = CallerSpeech(threshold=numbers.speech_threshold, start_windows=numbers.start_windows)
    for window in heard:  # so loud is this caller
        speech.feed(window.probability, 0, window.power)
    speech.learn()
    again = CallerSpeech(threshold=numbers.speech_threshold, start_windows=numbers.start_windows)
    again.floor, again.expects_loud = speech.floor, True
    alone = CallerSpeech(threshold=numbers.speech_threshold, start_windows=numbers.start_windows)
    onsets = [
        next(at for at, window in enumerate(heard) if each.feed(window.probability, at, power(window)) is Change.ONSET)
        for each, power in ((again, lambda window: window.power), (alone, lambda _: 1.0))
    ]
    assert onsets[0] == onsets[1]
