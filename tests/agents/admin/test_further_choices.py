"""The tab of an agent's page where an operator says what takes over when a provider fails."""

import pytest
from django.test import Client
from django.urls import reverse

from agents.admin.agents import PUBLISH
from agents.models import AgentVersion, FurtherChoice
from tests import factories
from tests.agents.admin.test_agents import filled, page_of

pytestmark = [pytest.mark.db, pytest.mark.django_db]
ROW = "further_choices-0-"


@pytest.fixture
def agent():
    return factories.AgentFactory()


@pytest.fixture
def account():
    return factories.ProviderAccountFactory(name="Second")


def added(client, agent, **fields):
    """The page's form with one new row."""
    row = {"stage": "llm", "model": "gpt-5.4-mini", "options": "reasoning_effort = none", "position": "0"} | fields
    typed = {f"{ROW}{name}": str(value) for name, value in row.items()}
    return filled(client, page_of(agent), **{"further_choices-TOTAL_FORMS": "1"} | typed)


def test_a_choice_is_added_changed_and_taken_out(admin_page, agent, account):
    page = admin_page.get(page_of(agent)).content.decode()
    assert "If a provider fails" in page
    assert admin_page.post(page_of(agent), added(admin_page, agent, account=account.pk)).status_code == 302
    choice = FurtherChoice.objects.get()
    assert (choice.agent, choice.account, choice.options) == (agent, account, {"reasoning_effort": "none"})
    data = filled(admin_page, page_of(agent), **{f"{ROW}model": "other"})
    assert admin_page.post(page_of(agent), data).status_code == 302
    choice.refresh_from_db()
    assert choice.model == "other"
    data = filled(admin_page, page_of(agent), **{f"{ROW}DELETE": "on"})
    assert admin_page.post(page_of(agent), data).status_code == 302
    assert not FurtherChoice.objects.exists()
    assert [record.history_type for record in FurtherChoice.history.all()] == ["-", "~", "+"]


def test_a_new_choice_takes_over_after_those_that_are_there(admin_page, agent, account):
    for position in (0, 4):
        factories.FurtherChoiceFactory(agent=agent, position=position, model=f"old {position}")
    rows = {"stage": "llm", "account": str(account.pk), "position": "0"}
    typed = {
        f"further_choices-{row}-{name}": value
        for row, model in ((2, "new"), (3, "newer"))
        for name, value in (rows | {"model": model}).items()
    }
    data = filled(admin_page, page_of(agent), **{"further_choices-TOTAL_FORMS": "4"} | typed)
    assert admin_page.post(page_of(agent), data).status_code == 302
    assert [choice.model for choice in agent.further_choices.all()] == ["old 0", "old 4", "new", "newer"]


def test_saving_and_publishing_in_one_go_publishes_the_choice_that_was_just_added(admin_page, agent, account):
    data = added(admin_page, agent, account=account.pk) | {PUBLISH: ""}
    assert admin_page.post(page_of(agent), data).status_code == 302
    assert [choice.model for choice in AgentVersion.objects.get().spec.llm_further] == ["gpt-5.4-mini"]


def test_the_history_of_the_agent_says_that_they_changed(admin_page, agent, account):
    admin_page.post(page_of(agent), filled(admin_page, page_of(agent)))
    assert agent.history.latest().history_change_reason is None
    admin_page.post(page_of(agent), added(admin_page, agent, account=account.pk))
    assert "takes over" in agent.history.latest().history_change_reason
    history = admin_page.get(reverse("admin:agents_agent_history", args=[agent.pk])).content.decode()
    assert "takes over" in history


@pytest.mark.parametrize(
    ("stage", "provider", "voice", "field", "words"),
    [
        ("stt", "openai_compatible", "", "account", "offers no speech-to-text"),
        ("tts", "openai", "", "voice", "Choose a voice"),
        ("tts", "openai", "other", "voice", "is no voice of"),
        ("llm", "openai", "other", "voice", "leave this empty"),
    ],
)
def test_what_does_not_fit_together_is_refused_beside_its_field(
    admin_page, agent, stage, provider, voice, field, words
):
    account = factories.ProviderAccountFactory(provider=provider, base_url="http://127.0.0.1:1/v1")
    chosen = factories.VoiceFactory().pk if voice else ""
    data = added(admin_page, agent, account=account.pk, stage=stage, voice=chosen)
    response = admin_page.post(page_of(agent), data)
    assert response.status_code == 200
    (form,) = response.context["inline_admin_formsets"][0].formset.forms
    assert words in " ".join(form.errors[field])
    assert not FurtherChoice.objects.exists()


@pytest.mark.parametrize("may_change", [True, False])
def test_whoever_may_change_the_agent_may_change_them_and_nobody_else(agent, account, may_change):
    boss, client = Client(), Client()
    boss.force_login(factories.UserFactory(permissions=["agents.view_agent", "agents.change_agent"]))
    client.force_login(
        factories.UserFactory(permissions=["agents.view_agent", *["agents.change_agent"][: 1 if may_change else 0]])
    )
    data = added(boss, agent, account=account.pk)
    assert client.get(page_of(agent)).status_code == 200
    assert client.post(page_of(agent), data).status_code == (302 if may_change else 403)
    assert FurtherChoice.objects.exists() is may_change


def test_the_form_of_a_new_agent_takes_them_too(admin_page, account):
    url = reverse("admin:agents_agent_add")
    draft = factories.AgentFactory()
    data = filled(admin_page, page_of(draft), name="New", **{"further_choices-TOTAL_FORMS": "1"})
    row = {"stage": "llm", "account": str(account.pk), "model": "m", "position": "0"}
    data |= {f"{ROW}{name}": value for name, value in row.items()}
    assert admin_page.post(url, data).status_code == 302
    assert FurtherChoice.objects.get().agent.name == "New"
