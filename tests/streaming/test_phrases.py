"""Fixed phrases as audio: found by all that decides how they sound, whole or not at all, and ready before the call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from agents import services
from agents.providers.base import L16_8K, MULAW_8K, ProviderConfig, WordTiming
from agents.providers.errors import ErrorKind, ProviderError
from agents.spec import Reprompt
from streaming import phrases, tasks
from streaming.phrases import Phrase, PhraseCache, phrase_key, prepare
from streaming.planning import constant_phrases
from streaming.threads import Worker
from tests import factories
from tests.streaming.fakes import CLOCKS, FakeProviders, context, spec, until

pytestmark = pytest.mark.db

CONFIG = ProviderConfig(provider="fake", base_url="http://a", api_key="secret", model="m", voice_id="v")
PHRASE = Phrase(b"\x01\x02\x03", (WordTiming("hi", 0, 10),))


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("test-phrases", limit=50)
    yield worker
    await worker.close()


@pytest.fixture
def cache(worker: Worker, tmp_path: Path) -> PhraseCache:
    return PhraseCache(folder=tmp_path / "phrases", worker=worker)


@pytest.mark.parametrize(
    "changed",
    [{"provider": "p"}, {"model": "n"}, {"voice_id": "w"}, {"language": "de-DE"}, {"voice_settings": {"speed": 1.1}}],
)
def test_whatever_changes_the_sound_changes_the_key(changed: dict) -> None:
    key = phrase_key("Hello.", config=CONFIG, fmt=MULAW_8K)
    assert phrase_key("Hello.", config=msgspec.structs.replace(CONFIG, **changed), fmt=MULAW_8K) != key
    assert phrase_key("Hello!", config=CONFIG, fmt=MULAW_8K) != key
    assert phrase_key("Hello.", config=CONFIG, fmt=L16_8K) != key


def test_another_key_of_the_account_changes_nothing() -> None:
    other = msgspec.structs.replace(CONFIG, api_key="new", account_id="2")
    assert phrase_key("Hello.", config=other, fmt=MULAW_8K) == phrase_key("Hello.", config=CONFIG, fmt=MULAW_8K)


async def test_a_phrase_survives_the_process(cache: PhraseCache, worker: Worker, tmp_path: Path) -> None:
    await cache.put("k", PHRASE)
    assert cache.peek("k") == PHRASE
    another = PhraseCache(folder=tmp_path / "phrases", worker=worker)
    assert another.peek("k") is None
    assert await another.get("k") == PHRASE
    assert another.peek("k") == PHRASE


async def test_a_damaged_file_counts_as_missing(cache: PhraseCache, tmp_path: Path) -> None:
    await cache.put("k", PHRASE)
    path = tmp_path / "phrases" / "k.phrase"
    path.write_bytes(path.read_bytes()[:-2])
    assert await PhraseCache(folder=tmp_path / "phrases", worker=cache._worker).get("k") is None


async def test_memory_is_bounded_and_forgets_the_oldest(cache: PhraseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "MEMORY_BYTES", 80)
    for number in range(10):
        await cache.put(str(number), Phrase(bytes(10)))
        cache.peek("0")
    assert cache.peek("0") is not None
    assert cache.peek("1") is None
    assert await cache.get("1") == Phrase(bytes(10))


async def test_the_folder_is_bounded(cache: PhraseCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrases, "MAX_FILES", 3)
    monkeypatch.setattr(phrases, "PRUNE_EVERY", 1)
    for number in range(4):
        await cache.put(str(number), PHRASE)
        await asyncio.sleep(0.01)
    assert sorted(path.stem for path in (tmp_path / "phrases").iterdir()) == ["1", "2", "3"]


async def test_preparing_speaks_each_text_once_and_opens_nothing_when_all_are_there(
    cache: PhraseCache, world: FakeProviders
) -> None:
    async def made() -> int:
        return await prepare(
            ["One.", "Two.", "One.", "..."],
            make=lambda: world.text_to_speech(CONFIG, codec=MULAW_8K),
            config=CONFIG,
            fmt=MULAW_8K,
            clocks=CLOCKS,
            cache=cache,
            account=lambda report: None,
        )

    assert await made() == 2
    assert world.spoken == ["One.", "Two."]
    assert await made() == 0
    assert len(world.ttss) == 1
    assert world.ttss[0].closed


async def test_a_voice_that_fails_leaves_no_half_phrase(cache: PhraseCache, world: FakeProviders) -> None:
    world.tts_errors = [None, ProviderError(ErrorKind.DROPPED, provider="fake", stage="tts")]
    with pytest.raises(ProviderError):
        await prepare(
            ["One.", "Two."],
            make=lambda: world.text_to_speech(CONFIG, codec=MULAW_8K),
            config=CONFIG,
            fmt=MULAW_8K,
            clocks=CLOCKS,
            cache=cache,
            account=lambda report: None,
        )
    assert await cache.get(phrase_key("One.", config=CONFIG, fmt=MULAW_8K)) is not None
    assert await cache.get(phrase_key("Two.", config=CONFIG, fmt=MULAW_8K)) is None
    assert world.ttss[0].closed


def test_texts_that_only_a_call_can_fill_are_left_to_the_call() -> None:
    agent = spec(
        greeting="Hello {{caller_number}}.",
        goodbye="Bye from {{business}}.",
        reprompt=Reprompt(texts=("Hm?",)),
        variables={"business": "Rowan"},
        apology="Sorry.",
    )
    assert constant_phrases(agent)[:3] == ("Sorry.", "Hm?", "Bye from Rowan.")


def test_what_bridges_a_fault_is_kept_as_well() -> None:
    bridges = (
        "One moment, please.",
        "Sorry, could you say that again?",
        "Sorry, I lost you for a moment. Please go on.",
    )
    assert constant_phrases(spec())[-3:] == bridges
    assert constant_phrases(spec(filler="Bear with me."))[-3] == "Bear with me."


@pytest.mark.django_db
def test_publishing_asks_for_the_phrases(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("calls.hints.hint", lambda task, version: asked.append((task, version)))
    with django_capture_on_commit_callbacks(execute=True):
        version = factories.AgentVersionFactory()
    assert asked == [(tasks.prepare_phrases.name, str(version.pk))]


@pytest.fixture
def voice_at_work(settings, tmp_path: Path, world: FakeProviders, monkeypatch: pytest.MonkeyPatch) -> FakeProviders:
    """The tasks speak with the scripted voice."""
    settings.PHRASES_DIR = tmp_path / "phrases"
    monkeypatch.setattr(
        tasks.registry,
        "text_to_speech",
        lambda config, *, pools, clocks, codec: world.text_to_speech(config, codec=codec),
    )
    return world


@pytest.mark.django_db
def test_the_phrases_of_a_version_are_kept_in_each_of_its_voices(voice_at_work: FakeProviders) -> None:
    agent = factories.AgentFactory(goodbye="Bye.", tts_model="first")
    voice = factories.VoiceFactory()
    factories.FurtherChoiceFactory(agent=agent, stage="tts", account=voice.account, voice=voice, model="second")
    version = factories.AgentVersionFactory(agent=agent)
    voice_at_work.down["tts", "first"] = ErrorKind.OUT_OF_CREDIT
    tasks.prepare_phrases(str(version.pk))
    assert ("second", "Bye.") in voice_at_work.spoken_by, "though the first voice fails"
    voice_at_work.down.clear()
    tasks.prepare_phrases(str(version.pk))
    assert ("first", "Bye.") in voice_at_work.spoken_by


@pytest.mark.django_db
def test_the_task_speaks_what_a_ringing_call_begins_with(voice_at_work: FakeProviders, tmp_path: Path) -> None:
    agent = factories.AgentFactory(
        greeting="Hello {{first_name}}, this is {{business}}.",
        variables={"business": "Rowan Dental", "first_name": ""},
        recording_notice="Recorded.",
    )
    version = factories.AgentVersionFactory(agent=agent)
    call = factories.CallFactory(
        agent_version=version, status="ringing", answered_at=None, variables={"first_name": "Anna"}
    )
    tasks.prepare_opening(call.pk)
    tasks.prepare_opening(call.pk)
    assert "Hello Anna, this is Rowan Dental." in voice_at_work.spoken
    assert voice_at_work.spoken.count("Recorded.") == 1
    config = services.choice_config(version.spec.choices("tts")[0], language=version.spec.language)
    key = phrase_key("Hello Anna, this is Rowan Dental.", config=config, fmt=MULAW_8K)
    assert (tmp_path / "phrases" / f"{key}.phrase").exists()


@pytest.mark.django_db
@pytest.mark.parametrize("why", ["over", "gone", "listens"])
def test_an_opening_that_nobody_will_hear_is_not_spoken(voice_at_work: FakeProviders, why: str) -> None:
    agent = factories.AgentFactory(mode="listen_only" if why == "listens" else "conversation")
    version = factories.AgentVersionFactory(agent=agent)
    call = factories.CallFactory(agent_version=version, status="ended" if why == "over" else "ringing")
    tasks.prepare_opening(call.pk + (why == "gone"))
    assert voice_at_work.spoken == []


@pytest.mark.django_db
def test_the_task_speaks_a_versions_phrases_into_the_shared_folder(
    voice_at_work: FakeProviders, tmp_path: Path
) -> None:
    version = factories.AgentVersionFactory()
    tasks.prepare_phrases(str(version.pk))
    assert "Hello, this is Rowan Dental." in voice_at_work.spoken
    assert len(list((tmp_path / "phrases").glob("*.phrase"))) == len(voice_at_work.spoken)
    tasks.prepare_phrases("00000000-0000-0000-0000-000000000000")


async def test_what_only_this_caller_would_hear_is_not_bought_after_the_call(ring, world: FakeProviders) -> None:
    agent = spec(greeting="Hello.", goodbye="Goodbye {{caller_name}}.", apology="Sorry.")
    call = ring(context(agent=agent, variables={"caller_name": "Anna"}))
    await call.phone.until(lambda: call.phone.heard_ms >= 100)
    call.phone.hang_up()
    await call.ended()
    await until(lambda: set(constant_phrases(agent)) <= set(world.spoken))
    assert sorted(world.spoken) == sorted(constant_phrases(agent))
