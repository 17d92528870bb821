"""The recogniser on the committed clips, in each of the phone's formats: the bar is nine lines of ten understood."""

import time

import pytest

from sandbox import audio, voice
from sandbox.alaw import alaw_decode, alaw_encode
from sandbox.brain import Brain
from sandbox.grammar import UnknownScenarioError, has_grammar, in_grammar, scenario
from sandbox.recogniser import Listener
from sandbox.resampling import convert_rate
from tests.sandbox.clips import VOICES, encoded, pieces, spoken

pytestmark = pytest.mark.sandbox

SCENARIOS = ("front_desk", "appointment_reminder")


def lines(name: str) -> dict[str, str]:
    return {line["id"]: line["text"] for line in scenario(name)["caller"]["lines"]}


def heard(name: str, data: bytes, encoding: str, rate: int) -> str:
    listener = Listener(name, encoding=encoding, rate=rate)
    try:
        for piece in pieces(data, rate * (1 if encoding == "mulaw" else 2) // 1000):
            listener.feed(piece)
        return listener.commit().text
    finally:
        listener.close()


def meaning(name: str, text: str) -> tuple[list[str], str, str]:
    """What the brain makes of a first line: rule and slots. Words that change neither do not count."""
    dialogue = Brain(name).replay([text])
    return dialogue.rules, dialogue.slots.get("when", ""), dialogue.slots.get("name", "")


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize(
    ("encoding", "rate"),
    [
        ("mulaw", 8000),
        pytest.param("l16", 8000, marks=pytest.mark.slow),
        pytest.param("l16", 16000, marks=pytest.mark.slow),
    ],
)
def test_nine_of_ten_lines_are_understood(name: str, encoding: str, rate: int) -> None:
    said = [(speaker, identity, text) for speaker in VOICES for identity, text in lines(name).items()]
    wrong = []
    for speaker, identity, text in said:
        got = heard(name, encoded(spoken(name, speaker, identity), encoding, rate), encoding, rate)
        if not got or meaning(name, got) != meaning(name, text):
            wrong.append((speaker, text, got))
    assert len(wrong) <= len(said) / 10, wrong


@pytest.mark.parametrize(("encoding", "rate"), [("mulaw", 8000), ("l16", 8000), ("l16", 16000), ("l16", 24000)])
def test_the_demonstration_s_own_voices_are_understood_to_the_last_line(encoding: str, rate: int) -> None:
    for name in SCENARIOS:
        speaker = scenario(name)["caller"]["voice"]
        wrong = []
        for identity, text in lines(name).items():
            got = heard(name, encoded(spoken(name, speaker, identity), encoding, rate), encoding, rate)
            if meaning(name, got) != meaning(name, text):
                wrong.append((text, got))
        assert wrong == []


def test_a_soft_voice_is_understood_too() -> None:
    for identity, text in lines("front_desk").items():
        soft = (spoken("front_desk", "en-us+f2", identity) * 0.3).astype("int16")
        assert meaning("front_desk", heard("front_desk", audio.mulaw_encode(soft), "mulaw", 8000)) == meaning(
            "front_desk", text
        )


def test_decoding_costs_far_less_than_the_audio_lasts() -> None:
    data = encoded(spoken("front_desk", "en-us+f2", "book"), "mulaw", 8000)
    heard("front_desk", data, "mulaw", 8000)  # the decoder is loaded now
    begun = time.process_time()
    heard("front_desk", data, "mulaw", 8000)
    assert time.process_time() - begun < len(data) / 8000 / 2


def test_one_listener_hears_several_utterances_and_keeps_none_of_the_last() -> None:
    listener = Listener("front_desk", encoding="mulaw", rate=8000)
    got = []
    for identity in ("book", "day", "name"):
        listener.feed(encoded(spoken("front_desk", "en-us+f2", identity), "mulaw", 8000))
        got.append(listener.commit().text)
        assert listener.partial() == ""
    listener.close()
    assert got == [lines("front_desk")[identity] for identity in ("book", "day", "name")]


def test_words_come_with_their_places_in_the_audio() -> None:
    listener = Listener("front_desk", encoding="mulaw", rate=8000)
    listener.feed(encoded(spoken("front_desk", "en-us+f2", "day"), "mulaw", 8000))
    words = listener.commit().words
    listener.close()
    assert [word.text for word in words] == ["tuesday", "morning", "please"]
    assert words[0].start == pytest.approx(0.6, abs=0.25)  # 600 ms of line noise come first
    assert all(word.start < word.end for word in words)


@pytest.mark.parametrize("data", [b"", b"\xff" * 16000, audio.mulaw_encode(audio.noise(2000, 8000, level_dbfs=-55))])
def test_silence_and_line_noise_are_nothing(data: bytes) -> None:
    assert heard("front_desk", data, "mulaw", 8000) == ""


def test_most_of_what_is_outside_the_grammar_is_not_taken_for_something_else() -> None:
    outside = (
        "the weather is very nice in paris today",
        "how far is the moon from the earth",
        "my favourite colour is a dark kind of green",
        "the committee has published its yearly report",
        "nobody could have known about these mountains",
        "our grandfather used to repair old bicycles",
    )
    taken = 0
    for text in outside:
        said = voice.say(text, "en-us", 130)
        samples = convert_rate(said.samples, said.rate, 8000)
        taken += bool(heard("front_desk", audio.mulaw_encode(samples), "mulaw", 8000))
    assert taken <= len(outside) // 2


def test_every_line_of_the_callers_is_in_its_grammar() -> None:
    for name in SCENARIOS:
        assert all(in_grammar(name, text) for text in lines(name).values())
    assert not in_grammar("front_desk", "yes i will")


def test_an_unknown_scenario_is_refused() -> None:
    assert has_grammar("front_desk")
    assert not has_grammar("voicemail")
    for name in ("nothing", "../front_desk"):
        assert not has_grammar(name)
        with pytest.raises(UnknownScenarioError):
            Listener(name, encoding="mulaw", rate=8000)


def test_alaw_survives_a_round_trip() -> None:
    every = bytes(range(256))
    assert alaw_encode(alaw_decode(every)) == every
    assert abs(int(alaw_decode(alaw_encode(alaw_decode(every)[:1]))[0]) - int(alaw_decode(every)[0])) == 0
