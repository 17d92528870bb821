"""The "Talk to it" page: for whom it is, what it says, and the way back."""

import pytest
from django.test import Client
from django.urls import reverse

from agents import services
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def page_of(agent, *permissions: str, query: str = "") -> tuple[int, str]:
    client = Client()
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    response = client.get(reverse("talk_to_agent", args=[agent.pk]) + query)
    return response.status_code, response.content.decode()


def test_it_is_for_those_who_may_talk_to_agents():
    agent = factories.AgentFactory()
    assert Client().get(reverse("talk_to_agent", args=[agent.pk])).status_code == 302
    assert page_of(agent, "agents.view_agent")[0] == 403
    assert page_of(agent, "agents.talk_to_agent")[0] == 200


def test_it_says_which_version_is_talked_to_and_leads_back_to_the_agent():
    agent = factories.AgentFactory()
    services.publish(agent=agent, user=None)
    may = ("agents.talk_to_agent", "agents.view_agent")
    html = page_of(agent, *may)[1]
    assert "The published version" in html
    assert f'href="{reverse("admin:agents_agent_change", args=[agent.pk])}">Back to the agent</a>' in html
    assert "The draft, as it was last saved." in page_of(agent, *may, query="?draft=1")[1]


def test_who_may_not_see_agents_is_offered_no_way_back_to_one():
    assert "Back to the agent" not in page_of(factories.AgentFactory(), "agents.talk_to_agent")[1]


def test_its_controls_have_labels():
    html = page_of(factories.AgentFactory(), "agents.talk_to_agent")[1]
    for expected in ('<label for="text">', '<label for="level">', "<legend>Keypad (during a call)</legend>"):
        assert expected in html


SHOWN, HIDDEN = '<p id="sandbox" class="talk-note">', '<p id="sandbox" class="talk-note" hidden>'


@pytest.mark.parametrize(
    ("published_on_sandbox", "query", "expected"),
    [(True, "", SHOWN), (True, "?draft=1", HIDDEN), (False, "", HIDDEN), (False, "?draft=1", SHOWN)],
)
def test_it_is_marked_as_sandbox_by_the_accounts_of_what_will_answer(published_on_sandbox, query, expected):
    scripted = factories.ProviderAccountFactory(is_sandbox=True)
    agent = factories.AgentFactory()
    real = agent.llm_account
    agent.llm_account = scripted if published_on_sandbox else real
    agent.save()
    services.publish(agent=agent, user=None)
    agent.llm_account = real if published_on_sandbox else scripted
    agent.save()
    assert expected in page_of(agent, "agents.talk_to_agent", query=query)[1]
