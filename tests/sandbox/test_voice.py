"""The sandbox's voice and its resampler."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import audio, voice
from sandbox.resampling import Resampler, convert_rate
from sandbox.speech import Format, FormatError, parse_format, render

pytestmark = pytest.mark.pure

TEXT = "Good morning, Anna. See you on Wednesday."


@pytest.mark.parametrize("chosen", voice.VOICES, ids=lambda chosen: chosen.name)
def test_every_voice_speaks_and_its_words_follow_one_another(chosen: voice.Voice) -> None:
    spoken = voice.synthesise(TEXT, chosen)
    assert 1500 < spoken.duration_ms < 6000
    assert audio.rms(spoken.samples) > 500
    assert [TEXT[word.start : word.end].strip(",.") for word in spoken.words] == TEXT.replace(",", "").replace(
        ".", ""
    ).split()
    edges = [edge for word in spoken.words for edge in (word.start_ms, word.end_ms)]
    assert edges[0] <= 100
    assert edges[-1] <= spoken.duration_ms + 1
    assert all(word.start_ms < word.end_ms for word in spoken.words)


def test_a_text_always_sounds_the_same_whatever_was_said_before() -> None:
    first = voice.say(TEXT, "en-us+f3").samples
    voice.say.cache_clear()
    voice.say("Etwas ganz anderes.", "de")
    assert np.array_equal(voice.say(TEXT, "en-us+f3").samples, first)


def test_speed_shortens() -> None:
    chosen = voice.VOICES[0]
    assert voice.synthesise(TEXT, chosen, speed=1.2).duration_ms < voice.synthesise(TEXT, chosen).duration_ms


def test_an_unknown_espeak_voice_is_refused() -> None:
    with pytest.raises(LookupError):
        voice.say(TEXT, "xx-nowhere")


def test_characters_spell_the_text_and_fill_the_audio() -> None:
    rendering = render(TEXT, voice.VOICES[0], Format("ulaw", 8000))
    assert "".join(item.character for item in rendering.characters) == TEXT
    assert sum(item.duration_ms for item in rendering.characters) == pytest.approx(rendering.duration_ms, abs=1)
    third = next(index for index, _ in enumerate(TEXT) if TEXT.startswith("Anna", index))
    word = next(word for word in voice.synthesise(TEXT, voice.VOICES[0]).words if word.start == third)
    assert rendering.characters[third].start_ms == pytest.approx(word.start_ms)


@pytest.mark.parametrize("name", ["mp3_44100_128", "ulaw_16000", "pcm_", "opus_48000_64", ""])
def test_formats_that_it_does_not_make_are_refused(name: str) -> None:
    with pytest.raises(FormatError):
        parse_format(name)


@settings(max_examples=30)
@given(
    st.sampled_from([(22050, 8000), (24000, 8000), (8000, 16000), (16000, 8000), (48000, 8000), (44100, 8000)]),
    st.lists(st.integers(1, 900), min_size=1, max_size=12),
)
def test_a_stream_in_pieces_gives_what_the_whole_gives(rates: tuple[int, int], cuts: list[int]) -> None:
    source, target = rates
    samples = audio.noise(sum(cuts) * 1000 / source, source, level_dbfs=-20)
    resampler, parts, first = Resampler(source, target), [], 0
    for cut in cuts:
        parts.append(resampler.feed(samples[first : first + cut]))
        first += cut
    joined = np.concatenate(parts)
    assert np.array_equal(joined, convert_rate(samples, source, target)[: joined.size])


@pytest.mark.parametrize(("source", "target"), [(22050, 8000), (22050, 24000), (16000, 8000), (8000, 16000)])
def test_resampling_keeps_pitch_length_and_level(source: int, target: int) -> None:
    tone = audio.tone(700, 500, source)
    out = convert_rate(tone, source, target)
    peak = np.argmax(np.abs(np.fft.rfft(out.astype(float)))) * target / out.size
    assert out.size == tone.size * target // source
    assert peak == pytest.approx(700, abs=3)
    assert audio.rms(out) == pytest.approx(audio.rms(tone), rel=0.01)
