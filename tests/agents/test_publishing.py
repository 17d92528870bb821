import pytest
from django.core.exceptions import ValidationError

from agents import changes, drafts, services, starters
from agents.models import Agent, AgentVersion, ProviderAccount, Voice
from agents.models.version import ImmutableVersionError
from agents.spec import AgentSpec, StageSpec, TurnTaking
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

STAGE = StageSpec(account_id="1", provider="openai", model="m")


@pytest.fixture
def agent():
    return factories.AgentFactory(
        llm_options={"reasoning_effort": "none"},
        turn_preset="relaxed",
        turn_overrides={"max_wait_ms": 3000},
        reprompt_after_s=5,
        max_call_s=120,
        can_end_call=False,
        fallback_number="+15551234567",
    )


def problems_of(agent: Agent) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        services.build_spec(agent)
    return caught.value.message_dict


def test_a_published_version_does_not_follow_the_draft(agent):
    version = services.publish(agent=agent, user=None, note="first")
    agent.greeting = "Something else."
    agent.save()
    version.refresh_from_db()
    assert version.spec.greeting == "Hello, this is {{business}}."
    assert (version.number, version.note) == (1, "first")


def test_a_published_version_can_be_neither_changed_nor_deleted(agent):
    version = services.publish(agent=agent, user=None)
    version.note = "forged"
    with pytest.raises(ImmutableVersionError):
        version.save()
    with pytest.raises(ImmutableVersionError):
        version.delete()
    every = AgentVersion.objects.filter(pk=version.pk)
    with pytest.raises(ImmutableVersionError):
        every.update(config={})
    with pytest.raises(ImmutableVersionError):
        every.bulk_update([version], ["note"])
    with pytest.raises(ImmutableVersionError):
        every.delete()
    assert every.get().note == ""


def test_a_version_outlives_the_user_who_published_it(agent):
    user = factories.UserFactory()
    version = services.publish(agent=agent, user=user)
    user.delete()
    assert AgentVersion.objects.get(pk=version.pk).published_by is None


def test_versions_are_numbered_per_agent_and_the_newest_is_live(agent):
    other = factories.AgentFactory()
    numbers = [services.publish(agent=one, user=None).number for one in (agent, other, agent, agent)]
    assert numbers == [1, 1, 2, 3]
    agent.refresh_from_db()
    assert agent.published_version.number == 3


def test_a_draft_that_cannot_be_published_changes_nothing(agent):
    services.publish(agent=agent, user=None)
    agent.greeting = "Hello {{nobody_knows}}"
    agent.save()
    with pytest.raises(ValidationError):
        services.publish(agent=agent, user=None)
    agent.refresh_from_db()
    assert agent.published_version.number == 1
    assert agent.versions.count() == 1


def test_all_problems_of_a_draft_are_told_at_once(agent):
    agent.language = "English"
    agent.system_prompt = " "
    agent.greeting = "{{x}}"
    agent.fallback_number = "555"
    agent.turn_overrides = {"max_wait_ms": 1}
    agent.extraction = [{"name": "A B", "type": "text"}]
    agent.reprompts = ["x"] * 6
    agent.voice = None
    agent.llm_options = {"nested": {}}
    agent.variables = {"date": "x"}
    assert set(problems_of(agent)) == {
        "language", "system_prompt", "greeting", "fallback_number", "turn_overrides", "extraction", "reprompts",
        "voice", "llm_options", "variables",
    }  # fmt: skip


def test_malformed_stored_json_is_a_problem_not_a_crash(agent):
    agent.variables, agent.reprompts, agent.extraction, agent.llm_options = ["x"], {"a": 1}, "x", ["x"]
    assert set(problems_of(agent)) >= {"variables", "reprompts", "extraction", "llm_options"}


@pytest.mark.parametrize(
    ("stage", "provider", "options"),
    [
        ("stt", "openai", {"keyword": "Parley"}),
        ("tts", "elevenlabs", {"stabilty": 1}),
        ("tts", "elevenlabs", {"transport": "http", "auto_mode": True}),
    ],
)
def test_an_option_that_nobody_would_read_is_refused(agent, stage, provider, options):
    account = factories.ProviderAccountFactory(provider=provider)
    setattr(agent, f"{stage}_account", account)
    setattr(agent, f"{stage}_options", options)
    (problem,) = problems_of(agent)[f"{stage}_options"]
    assert problem.startswith(f"There is no option {list(options)[-1]}; there are: ")


@pytest.mark.parametrize(("stage", "provider"), [("llm", "elevenlabs"), ("stt", "openai_compatible")])
def test_an_account_that_cannot_serve_its_stage_is_refused(agent, stage, provider):
    account = factories.ProviderAccountFactory(provider=provider, base_url="http://127.0.0.1:1/v1")
    setattr(agent, f"{stage}_account", account)
    (problem,) = problems_of(agent)[f"{stage}_account"]
    assert "offers no" in problem


def test_a_voice_of_another_account_is_refused(agent):
    agent.voice = factories.VoiceFactory()
    assert "is no voice of" in problems_of(agent)["voice"][0]


@pytest.mark.parametrize("codec", Agent.Codec.values)
def test_every_codec_can_be_published(agent, codec):
    agent.codec = codec
    assert services.build_spec(agent).codec == codec


def test_an_agent_that_only_listens_needs_no_words_and_no_voice():
    agent = factories.AgentFactory(mode="listen_only", system_prompt="", greeting="")
    agent.voice = None
    assert services.build_spec(agent).mode == "listen_only"


def test_a_caller_who_speaks_first_needs_no_greeting(agent):
    agent.greeting = ""
    assert "greeting" in problems_of(agent)
    agent.speaks_first = "caller"
    assert services.build_spec(agent).greeting == ""


def test_the_draft_knows_what_publishing_would_change(agent):
    services.publish(agent=agent, user=None)
    assert not changes.has_unpublished_changes(agent)
    old = services.published_spec(agent)
    agent.system_prompt += "\nBe brief."
    agent.max_call_s = 300
    agent.llm_account = factories.ProviderAccountFactory(name="Second")
    assert changes.has_unpublished_changes(agent)
    names = {str(account.pk): account.name for account in ProviderAccount.objects.all()}
    found = {one.label: one for one in changes.compare(old, services.build_spec(agent), account_names=names)}
    assert set(found) == {"Instructions", "Longest call", "Language model: account"}
    assert [(line.sign, line.text) for line in found["Instructions"].lines] == [
        (" ", "You answer the phone of {{business}}."),
        ("+", "Be brief."),
    ]
    assert (found["Longest call"].before, found["Longest call"].after) == ("120 s", "300 s")
    assert found["Language model: account"].after == "Second"


def test_lines_that_look_like_a_diff_header_are_shown():
    old, new = (
        AgentSpec(name="A", system_prompt=text, stt=STAGE, llm=STAGE, tts=STAGE) for text in ("-- x\nend", "++ y\nend")
    )
    (change,) = changes.compare(old, new)
    assert [(line.sign, line.text) for line in change.lines] == [("-", "-- x"), ("+", "++ y"), (" ", "end")]


def test_the_numbers_of_turn_taking_bear_the_names_of_the_form():
    old, new = (
        AgentSpec(
            name="A", system_prompt="-", stt=STAGE, llm=STAGE, tts=STAGE, turn_taking=TurnTaking(max_wait_ms=each)
        )
        for each in (1600, 2000)
    )
    (change,) = changes.compare(old, new)
    assert (change.label, change.before, change.after) == ("Turn-taking: longest wait (ms)", "1600", "2000")


def test_a_draft_that_cannot_be_published_counts_as_changed(agent):
    services.publish(agent=agent, user=None)
    agent.greeting = ""
    assert changes.has_unpublished_changes(agent)


def test_a_version_from_before_a_setting_existed_is_not_taken_for_a_change(agent):
    version = services.publish(agent=agent, user=None)
    config = {key: value for key, value in version.config.items() if key != "plivo_record"}
    AgentVersion._base_manager.filter(pk=version.pk).update(config=config)
    assert not changes.has_unpublished_changes(Agent.objects.get(pk=agent.pk))


def test_going_back_publishes_the_old_content_anew_and_restores_the_draft(agent):
    first = services.publish(agent=agent, user=None)
    agent.system_prompt, agent.turn_preset, agent.turn_overrides = "Other.", "quick", {}
    agent.reprompts, agent.extraction, agent.variables = [], [], {}
    agent.greeting, agent.can_end_call, agent.max_call_s, agent.llm_options = "Hi.", True, 900, {}
    agent.llm_account = factories.ProviderAccountFactory()
    agent.voice = factories.VoiceFactory()
    agent.tts_account = agent.voice.account
    agent.save()
    services.publish(agent=agent, user=None)

    third = services.restore(version=first, user=None)

    assert (third.number, third.config) == (3, first.config)
    restored = Agent.objects.get(pk=agent.pk)
    assert restored.published_version == third
    assert services.build_spec(restored) == first.spec
    assert not changes.has_unpublished_changes(restored)
    assert (restored.turn_preset, restored.turn_overrides) == ("relaxed", {"max_wait_ms": 3000})


def test_going_back_brings_a_deleted_voice_back_by_its_id(agent):
    first = services.publish(agent=agent, user=None)
    gone = agent.voice
    agent.voice = factories.VoiceFactory(account=gone.account)
    agent.save()
    gone.delete()
    services.restore(version=first, user=None)
    assert Agent.objects.get(pk=agent.pk).voice.external_id == first.spec.voice_id


def test_going_back_to_a_deleted_account_is_refused_and_changes_nothing(agent):
    first = services.publish(agent=agent, user=None)
    old = agent.llm_account
    agent.llm_account = factories.ProviderAccountFactory()
    agent.save()
    old.delete()
    with pytest.raises(ValidationError, match="was deleted"):
        services.restore(version=first, user=None)
    assert agent.versions.count() == 1
    assert Agent.objects.get(pk=agent.pk).llm_account != old


def test_publishing_and_going_back_stand_in_the_history(agent):
    first = services.publish(agent=agent, user=None)
    services.restore(version=first, user=None)
    reasons = [record.history_change_reason for record in agent.history.all()]
    assert reasons[:3] == ["Published version 2", "Back to version 1", "Published version 1"]


def test_what_deserves_a_look_is_said_without_standing_in_the_way(agent, settings):
    agent.llm_account = factories.ProviderAccountFactory(name="Empty", api_key="", key_hint="")
    agent.tts_account.test_ok, agent.tts_account.test_message = False, "out of credit"
    agent.disclosure = agent.recording_notice = ""
    agent.llm_model = "gpt-5-mini"
    agent.variables["city"] = "Oslo"
    text = "\n".join(drafts.warnings(agent))
    for words in (
        "Empty has no API key", "out of credit", "talk to an AI", "without saying so", "2026-12-11", "is not used",
    ):  # fmt: skip
        assert words in text
    services.build_spec(agent)
    settings.OPENAI_API_KEY = "sk-env"
    assert "no API key" not in "\n".join(drafts.warnings(agent))


def test_the_starters_are_published_once_and_edits_are_kept():
    first = starters.install()
    assert [agent.name for agent in first] == ["Front desk", "Appointment reminder"]
    assert all(agent.published_version.number == 1 for agent in first)
    Agent.objects.filter(name="Front desk").update(greeting="My own.")
    starters.install()
    assert Agent.objects.get(name="Front desk").greeting == "My own."
    assert AgentVersion.objects.count() == 2
    assert not changes.has_unpublished_changes(first[1])


def test_the_starters_use_an_account_that_is_there_already():
    account = factories.ElevenLabsAccountFactory(name="Ours")
    agent = starters.install()[0]
    assert agent.tts_account == account


def test_the_sandbox_agent_is_served_by_the_sandbox_alone_and_follows_its_address():
    starters.install_sandbox("http://127.0.0.1:9000/")
    agent = starters.install_sandbox("http://127.0.0.1:9001")
    assert Agent.objects.count() == 1
    assert Voice.objects.count() == 1
    spec = agent.published_version.spec
    for stage in (spec.stt, spec.llm, spec.tts):
        config = services.stage_config(stage, language=spec.language, voice_id=spec.voice_id)
        assert config.base_url.startswith("http://127.0.0.1:9001")
        assert config.api_key == "demo-front_desk"
        assert ProviderAccount.objects.get(pk=stage.account_id).is_sandbox
    assert [field.name for field in spec.extraction] == ["reason", "day", "name"]
    assert (spec.llm.model, spec.stt.model, spec.tts.model) == (
        "demo-script",
        "scribe_v2_realtime",
        "eleven_flash_v2_5",
    )
