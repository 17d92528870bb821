"""What takes over when a provider fails: part of the draft, of the published version, and of what a call is given."""

import pytest
from django.core.exceptions import ValidationError
from django.db.models import ProtectedError
from django.utils import timezone

from agents import accounts, changes, drafts, services
from agents.models import Agent, FurtherChoice, ProviderAccount
from agents.spec import FurtherSpec
from calls import live_calls
from calls.models import CallEvent
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture
def agent():
    return factories.AgentFactory(llm_options={"reasoning_effort": "none"})


@pytest.fixture
def voice():
    return factories.VoiceFactory(settings={"speed": 1.1})


@pytest.fixture
def further(agent, voice):
    """Two models, the second written down first, and a voice."""
    last = factories.FurtherChoiceFactory(agent=agent, position=1, model="last")
    factories.FurtherChoiceFactory(agent=agent, position=0, model="next", options={"reasoning_effort": "none"})
    spoken = {"stage": "tts", "account": voice.account, "voice": voice, "model": "eleven_multilingual_v2"}
    factories.FurtherChoiceFactory(agent=agent, position=2, **spoken)
    return last


def test_they_are_frozen_in_their_order_and_the_draft_goes_on_without_the_version(agent, further, voice):
    version = services.publish(agent=agent, user=None)
    assert [choice.model for choice in version.spec.llm_further] == ["next", "last"]
    assert version.spec.llm_further[0].options == {"reasoning_effort": "none"}
    assert version.spec.tts_further == (
        FurtherSpec(
            account_id=str(voice.account_id),
            provider="elevenlabs",
            model="eleven_multilingual_v2",
            voice_id=voice.external_id,
            voice_settings={"speed": 1.1},
        ),
    )
    further.delete()
    version.refresh_from_db()
    assert len(version.spec.llm_further) == 2


def test_the_first_choice_leads_them_with_its_own_voice(agent, further):
    spec = services.build_spec(agent)
    first, second = spec.choices("tts")
    assert (first.account_id, first.model, first.voice_id) == (spec.tts.account_id, spec.tts.model, spec.voice_id)
    assert second == spec.tts_further[0]
    assert [choice.voice_id for choice in spec.choices("llm")] == ["", "", ""]
    assert spec.choices("llm")[0].options == {"reasoning_effort": "none"}


def test_changing_them_is_an_unpublished_change_told_by_names(agent, further):
    services.publish(agent=agent, user=None)
    agent = Agent.objects.get(pk=agent.pk)
    assert not changes.has_unpublished_changes(agent)
    old = services.published_spec(agent)
    further.delete()
    assert changes.has_unpublished_changes(agent)
    names = {str(account.pk): account.name for account in ProviderAccount.objects.all()}
    (change,) = changes.compare(old, services.build_spec(agent), account_names=names)
    assert change.label == "Language model, if that fails"
    assert [line.text for line in change.lines if line.sign == "-"] == [f"{further.account.name}, last"]


def test_a_version_from_before_there_were_any_has_none(agent):
    version = services.publish(agent=agent, user=None)
    old = {key: value for key, value in version.config.items() if not key.endswith("_further")}
    type(version)._base_manager.filter(pk=version.pk).update(config=old)
    version.refresh_from_db()
    assert [len(version.spec.choices(stage)) for stage in ("stt", "llm", "tts")] == [1, 1, 1]


def test_going_back_brings_them_back_save_those_whose_account_is_gone(agent, further, voice):
    first = services.publish(agent=agent, user=None)
    gone, kept = further.account, FurtherChoice.objects.get(model="next").account
    FurtherChoice.objects.all().delete()
    gone.delete()
    services.publish(agent=agent, user=None)
    services.restore(version=first, user=None)
    restored = drafts.build_spec(Agent.objects.get(pk=agent.pk))
    assert [choice.account_id for choice in restored.llm_further] == [str(kept.pk)]
    assert restored.tts_further == first.spec.tts_further


def test_an_account_or_a_voice_that_takes_over_somewhere_cannot_be_deleted(further, voice):
    for row in (further.account, voice):
        with pytest.raises(ProtectedError):
            row.delete()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"stage": "stt", "account__provider": "openai_compatible", "account__base_url": "http://127.0.0.1:1"},
            "offers no speech-to-text",
        ),
        ({"stage": "tts"}, "Choose a voice"),
        ({"options": {"nested": {}}}, "Options have a name"),
    ],
)
def test_one_that_cannot_serve_stands_in_the_way_of_publishing_only(agent, fields, words):
    factories.FurtherChoiceFactory(agent=agent, **fields)
    with pytest.raises(ValidationError) as caught:
        services.build_spec(agent)
    (problem,) = caught.value.error_dict[drafts.FURTHER]
    assert words in problem.message
    assert problem.message.startswith("Choice 2 for the ")
    assert problem.code != drafts.WRONG


def test_there_are_no_more_than_a_caller_would_wait_for(agent):
    for _ in range(drafts.MAX_FURTHER + 1):
        factories.FurtherChoiceFactory(agent=agent)
    with pytest.raises(ValidationError, match="At most 4"):
        services.build_spec(agent)


def test_one_without_a_key_is_warned_of_in_its_own_words(agent, settings):
    settings.OPENAI_API_KEY = ""
    account = factories.ProviderAccountFactory(name="Second", api_key="", key_hint="")
    factories.FurtherChoiceFactory(agent=agent, account=account)
    assert "Second has no API key yet: no call could move on to it." in drafts.warnings(agent)


def test_a_test_of_their_account_uses_their_model(further):
    assert accounts._asked_for(further.account, "llm") == {"model": "last"}


# --- what a call is given --------------------------------------------------------------------------------------------


def begin(agent):
    version = services.publish(agent=agent, user=None)
    call = factories.CallFactory(phone_number__agent=agent, agent=agent, agent_version=version)
    live_calls.claim(call_id=call.pk, session="s")
    return call, live_calls.stream_started(call_id=call.pk, stream_id="1", session="s", now=timezone.now())


def test_a_call_is_given_their_keys_when_it_starts(agent, further, voice):
    _, context = begin(agent)
    assert [config.model for config in context.llm_further] == ["next", "last"]
    assert [config.api_key for config in context.llm_further] == ["sk-test-0123456789"] * 2
    (spoken,) = context.tts_further
    assert (spoken.voice_id, spoken.voice_settings, spoken.language) == (voice.external_id, {"speed": 1.1}, "en-US")
    assert context.stt_further == ()


def test_a_choice_whose_account_cannot_be_used_is_left_out_and_the_call_goes_on(agent, further):
    ProviderAccount.objects.filter(pk=agent.llm_account_id).update(api_key="", key_hint="")
    call, context = begin(agent)
    assert context.llm.model == "next"
    assert [config.model for config in context.llm_further] == ["last"]
    event = CallEvent.objects.get(call=call, kind="choice_left_out")
    assert event.data["stage"] == "llm"
    assert "has no API key" in event.data["problem"]


def test_a_call_of_which_no_choice_can_be_used_is_told_what_is_wrong_with_the_first(agent, further):
    ProviderAccount.objects.update(api_key="", key_hint="")
    with pytest.raises(services.AccountError, match="has no API key"):
        begin(agent)


def test_a_call_that_may_come_to_a_scripted_model_is_labelled_so(agent, further):
    ProviderAccount.objects.filter(pk=further.account_id).update(is_sandbox=True)
    _, context = begin(agent)
    assert context.is_sandbox
