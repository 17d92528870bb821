"""One text through the voice: what it is given, and what of its timings comes back."""

from agents.providers.base import MULAW_8K, ProviderConfig, SpeechChunk, UsageReport
from streaming.voice import synthesise
from tests.streaming.fakes import CLOCKS, MS_PER_CHAR, FakeProviders, FakeTts

CONFIG = ProviderConfig(provider="fake", base_url="", api_key="", model="m", language="en-GB", voice_id="v")


async def speak(text: str) -> tuple[FakeProviders, list[SpeechChunk], list[UsageReport]]:
    world, used = FakeProviders(), list[UsageReport]()
    tts = FakeTts(world, CONFIG, MULAW_8K)
    chunks = [chunk async for chunk in synthesise(tts, text, fmt=MULAW_8K, clocks=CLOCKS, account=used.append)]
    return world, chunks, used


async def test_the_voice_is_given_words_in_its_language_and_the_timings_are_of_what_was_written() -> None:
    world, chunks, used = await speak("Pay £12.50 on 3/4/2026.")

    said = "Pay twelve pounds and fifty pence on the third of April, twenty twenty-six."
    assert world.spoken == [said]
    assert [word.text for chunk in chunks for word in chunk.words] == ["Pay", "£12.50", "on", "3/4/2026."]
    assert used[0].characters == len(said)


async def test_a_written_word_lasts_as_long_as_all_that_is_said_for_it() -> None:
    _, chunks, _ = await speak("Pay £12 now")

    times = {word.text: (word.start_ms, word.end_ms) for chunk in chunks for word in chunk.words}
    spoken = "Pay twelve pounds now"
    assert times["£12"] == (spoken.index("twelve") * MS_PER_CHAR, spoken.index(" now") * MS_PER_CHAR)


async def test_a_text_without_figures_is_spoken_as_it_stands() -> None:
    world, _, _ = await speak("Good morning, how can I help?")

    assert world.spoken == ["Good morning, how can I help?"]
