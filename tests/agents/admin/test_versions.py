import pytest
from django.urls import reverse

from agents import services
from agents.models import Agent, AgentVersion
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture
def versions():
    agent = factories.AgentFactory()
    made = []
    for greeting in ("One.", "Two.", "Three."):
        agent.greeting = greeting
        agent.save()
        made.append(services.publish(agent=agent, user=None))
    return made


def page_of(version: AgentVersion) -> str:
    return reverse("admin:agents_agentversion_change", args=[version.pk])


def restore_url(version: AgentVersion) -> str:
    return reverse("admin:agents_agentversion_restore", args=[version.pk])


def test_a_version_is_compared_with_the_one_before_it_or_any_other(admin_page, versions):
    response = admin_page.get(page_of(versions[2]))
    (change,) = response.context["differences"]
    assert (change.before, change.after) == ("Two.", "Three.")
    response = admin_page.get(page_of(versions[2]) + "?with=1")
    (change,) = response.context["differences"]
    assert (change.before, change.after) == ("One.", "Three.")


def test_the_first_version_shows_everything_that_is_in_it(admin_page, versions):
    response = admin_page.get(page_of(versions[0]) + "?with=nonsense")
    assert response.context["other"] is None
    assert ("Greeting", "One.") in response.context["content"]
    assert b"One." in response.content


def test_nothing_of_a_version_can_be_edited_added_or_deleted(admin_page, versions):
    assert admin_page.post(page_of(versions[0]), {"note": "forged"}).status_code == 403
    assert admin_page.get(reverse("admin:agents_agentversion_add")).status_code == 403
    delete = reverse("admin:agents_agentversion_delete", args=[versions[0].pk])
    assert admin_page.post(delete, {"post": "yes"}).status_code == 403


def test_an_operator_goes_back_to_an_old_version(admin_page, versions, superuser):
    assert b"Go back to this version" in admin_page.get(page_of(versions[0])).content
    response = admin_page.post(restore_url(versions[0]), follow=True)
    assert "Version 4 is live" in response.content.decode()
    agent = Agent.objects.get()
    assert (agent.greeting, agent.published_version.number) == ("One.", 4)
    assert agent.published_version.published_by == superuser


def test_the_live_version_offers_no_way_back_to_itself(admin_page, versions):
    assert b"Go back to this version" not in admin_page.get(page_of(versions[2])).content


def test_going_back_needs_a_post(admin_page, versions):
    assert admin_page.get(restore_url(versions[0])).status_code == 405
    assert AgentVersion.objects.count() == 3


def test_a_way_back_that_is_blocked_says_why(admin_page, versions):
    agent = versions[0].agent
    old = agent.llm_account
    agent.llm_account = factories.ProviderAccountFactory()
    agent.save()
    old.delete()
    response = admin_page.post(restore_url(versions[0]), follow=True)
    assert "account of that version was deleted" in response.content.decode()
    assert AgentVersion.objects.count() == 3


@pytest.mark.parametrize("agents", [1, 5])
def test_the_list_of_versions_takes_the_same_queries_for_any_number(admin_page, agents, django_assert_num_queries):
    for _ in range(agents):
        factories.AgentVersionFactory()
    url = reverse("admin:agents_agentversion_changelist")
    admin_page.get(url)
    with django_assert_num_queries(6):
        admin_page.get(url)
