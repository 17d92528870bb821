"""Over the agent's voice only what is loud enough to be the caller counts, for the voice detector and for the STT."""

import pytest

from streaming.conversation import events
from streaming.conversation.utterance import CallerSpeech, Change
from tests.streaming.conversation.scenario import LONG, plan
from tests.streaming.simulator import Noise, Say, Simulation, brain

pytestmark = pytest.mark.pure

QUIET = plan(opening=())
SOFT, USUAL = 10 ** (-45 / 10), 10 ** (-22 / 10)


def heard(*windows, expects_loud=True):
    """The changes that (probability, power) windows bring, each with its number."""
    speech = CallerSpeech(threshold=0.5, start_windows=3)
    speech.expects_loud = expects_loud
    found = [(n, speech.feed(*window, power=power)) for n, (*window, power) in enumerate(_timed(windows))]
    return [(n, change) for n, change in found if change is not None], speech


def _timed(windows):
    return [(probability, (n + 1) * 32, power) for n, (probability, power) in enumerate(windows)]


def test_a_burst_begins_with_its_soft_windows_once_two_of_them_are_loud():
    found, speech = heard(*[(0.9, SOFT)] * 3, *[(0.9, USUAL)] * 2)
    assert found == [(3, Change.LOUD), (4, Change.ONSET)]
    assert speech.onset_ms == 0
    assert speech.loud


def test_soft_speech_begins_no_burst_over_the_agents_voice_and_a_usual_one_without_it():
    assert heard(*[(0.9, SOFT)] * 50)[0] == []
    found, speech = heard(*[(0.9, SOFT)] * 50, expects_loud=False)
    assert found == [(2, Change.ONSET)]
    assert not speech.loud


def test_a_burst_that_becomes_loud_says_so_once():
    found, _ = heard(*[(0.9, SOFT)] * 4, *[(0.9, USUAL)] * 4, expects_loud=False)
    assert found == [(2, Change.ONSET), (5, Change.LOUD)]


def test_a_long_soft_noise_does_not_lend_its_length_to_the_word_after_it():
    _, speech = heard(*[(0.9, SOFT)] * 100, *[(0.9, USUAL)] * 2)
    assert 102 * 32 - speech.onset_ms == 8 * 32


def test_noise_that_was_soft_makes_deaf_only_to_what_is_soft():
    _, speech = heard(*[(0.9, SOFT)] * 10, expects_loud=False)
    assert speech.cut(noise=True) is Change.PAUSE
    assert [speech.feed(0.9, 400 + n * 32, SOFT) for n in range(5)] == [None] * 5
    assert [speech.feed(0.9, 600 + n * 32, USUAL) for n in range(3)] == [None, None, Change.ONSET]


@pytest.mark.parametrize(("level_db", "floor_db"), [(-16, -24), (-22, -30), (-28, -34), (-38, -41)])
def test_how_loud_somebody_must_be_follows_the_caller(level_db, floor_db):
    _, speech = heard(*[(0.9, 10 ** (level_db / 10))] * 20, expects_loud=False)
    speech.learn()
    assert speech.floor == pytest.approx(10 ** (floor_db / 10))


@pytest.mark.parametrize(
    ("caller_db", "agent_db", "floor_db"),
    [
        (None, -25, -34),  # its echo is softer than whatever counts
        (None, -12, -29),
        (-16, -12, -24),  # nor does a loud caller have to be louder
        (-26, -12, -29),
        (-30, -12, -33),  # nobody has to be louder than they are
    ],
)
def test_the_agents_echo_is_not_loud_enough_to_be_the_caller(caller_db, agent_db, floor_db):
    _, speech = heard(*[] if caller_db is None else [(0.9, 10 ** (caller_db / 10))] * 20, expects_loud=False)
    speech.learn()
    speech.agent_speaks(10 ** (agent_db / 10))
    assert speech.floor == pytest.approx(10 ** (floor_db / 10))


def test_what_gave_no_words_teaches_nothing_of_the_callers_level():
    _, speech = heard(*[(0.9, USUAL)] * 20, expects_loud=False)
    before = speech.floor
    speech.forget()
    speech.learn()
    assert speech.floor == before


def talk(*script, **options):
    script = [Say("What tables do you have?", at=1000), *script]
    return Simulation(QUIET, script=script, model=brain(("what tables", LONG)), **options).run(until_ms=24_000)


def test_voices_behind_the_caller_neither_pause_the_agent_nor_are_written_down():
    call = talk(Say("I told her we would be late.", into=3000, dbfs=-37))
    assert call.actions(events.PauseVoice) == []
    assert call.said_by("caller") == ["What tables do you have?"]
    assert call.said_by("agent")[0] == LONG


def test_a_soft_caller_stops_the_agent_from_the_second_turn_on():
    call = Simulation(
        QUIET,
        script=[
            Say("What tables do you have?", at=1000, dbfs=-38),
            Say("I would rather sit outside.", into=3000, dbfs=-38),
        ],
        model=brain(("what tables", LONG)),
    ).run(until_ms=12_000)
    assert next(turn for turn in call.turns if turn.role == "agent").interrupted


def test_a_voice_paused_by_a_bang_in_soft_noise_goes_on_although_the_noise_does():
    call = talk(Noise(100, into=2000), Noise(6000, pause=0, dbfs=-45))
    (paused, _), (resumed, _) = call.actions(events.PauseVoice)[0], call.actions(events.ResumeVoice)[0]
    assert resumed - paused <= 800


def test_the_stt_hears_the_caller_again_when_the_agent_has_finished():
    call = talk(Say("All right, the garden then.", after=450, dbfs=-36))
    assert call.said_by("caller")[1] == "All right, the garden then."
