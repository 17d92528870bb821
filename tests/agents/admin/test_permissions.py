import pytest
from django.test import Client
from django.urls import reverse

from agents import services
from agents.admin.agents import PUBLISH
from agents.models import AgentVersion, ProviderAccount
from tests import factories
from tests.agents.admin.test_agents import filled, page_of

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True)]

ACCOUNTS = reverse("admin:agents_provideraccount_changelist")


def page_for(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    return client


@pytest.fixture
def account():
    return factories.ProviderAccountFactory(provider="openai_compatible", base_url="http://127.0.0.1:1/v1")


@pytest.fixture
def agent(account):
    return factories.AgentFactory(llm_account=account)


def account_page(account: ProviderAccount) -> str:
    return reverse("admin:agents_provideraccount_change", args=[account.pk])


def form_of(account: ProviderAccount) -> dict[str, str]:
    return {"name": account.name, "provider": account.provider, "base_url": account.base_url, "new_key": ""}


@pytest.mark.parametrize("model", ["agent", "agentversion", "voice", "provideraccount"])
def test_a_stranger_and_staff_without_permission_see_nothing(model):
    url = reverse(f"admin:agents_{model}_changelist")
    assert Client().get(url).status_code == 302
    assert page_for().get(url).status_code == 403


@pytest.mark.parametrize("permissions", [("agents.change_agent",), ("agents.change_agent", "agents.publish_agent")])
def test_publishing_needs_its_own_permission(agent, permissions):
    client = page_for("agents.view_agent", *permissions)
    may = "agents.publish_agent" in permissions
    assert (b"Save and publish" in client.get(page_of(agent)).content) is may
    data = filled(client, page_of(agent), greeting="Changed.")
    assert client.post(page_of(agent), data | {PUBLISH: ""}).status_code == 302
    agent.refresh_from_db()
    assert agent.greeting == "Changed."
    assert AgentVersion.objects.exists() is may


def test_who_may_publish_but_not_change_publishes_nothing(agent):
    client = page_for("agents.view_agent", "agents.publish_agent")
    data = filled(page_for("agents.view_agent", "agents.change_agent"), page_of(agent))
    assert client.post(page_of(agent), data | {PUBLISH: ""}).status_code == 403
    assert not AgentVersion.objects.exists()


@pytest.mark.parametrize(
    ("permissions", "status"),
    [
        (("agents.view_agent",), 403),
        (("agents.view_agent", "agents.change_agent"), 403),
        (("agents.view_agent", "agents.publish_agent"), 403),
        (("agents.view_agent", "agents.change_agent", "agents.publish_agent"), 302),
    ],
)
def test_going_back_needs_both_permissions(agent, permissions, status):
    version = services.publish(agent=agent, user=None)
    agent.greeting = "Newer."
    agent.save()
    services.publish(agent=agent, user=None)
    client = page_for(*permissions)
    page = client.get(reverse("admin:agents_agentversion_change", args=[version.pk]))
    assert (b"Go back to this version" in page.content) is (status == 302)
    assert client.post(reverse("admin:agents_agentversion_restore", args=[version.pk])).status_code == status
    assert AgentVersion.objects.count() == (3 if status == 302 else 2)


def test_going_back_is_protected_from_other_sites(agent):
    version = services.publish(agent=agent, user=None)
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.UserFactory(is_superuser=True))
    assert client.post(reverse("admin:agents_agentversion_restore", args=[version.pk])).status_code == 403


@pytest.mark.parametrize("may", [False, True])
def test_testing_an_account_needs_its_own_permission(account, may):
    granted = ["agents.test_provideraccount"] if may else []
    client = page_for("agents.view_provideraccount", "agents.change_provideraccount", *granted)
    assert (b"agents_provideraccount_test_connection" in client.get(account_page(account)).content) is may
    client.post(account_page(account), form_of(account) | {"agents_provideraccount_test_connection": ""})
    account.refresh_from_db()
    assert (account.tested_at is not None) is may
    ProviderAccount.objects.update(tested_at=None)
    client.post(ACCOUNTS, {"action": "test_connection_of_selected", "_selected_action": [str(account.pk)]})
    account.refresh_from_db()
    assert (account.tested_at is not None) is may


def test_who_may_not_change_an_account_is_offered_no_button_that_saves_it(account):
    may = ("agents.test_provideraccount", "agents.add_voice", "agents.change_voice")
    html = page_for("agents.view_provideraccount", *may).get(account_page(account)).content
    assert b"agents_provideraccount_test_connection" not in html
    assert b"agents_provideraccount_fetch_voices" not in html


@pytest.mark.parametrize("may", [False, True])
def test_fetching_voices_needs_the_permissions_of_voices(may):
    account = factories.ProviderAccountFactory()
    granted = ["agents.add_voice", "agents.change_voice"] if may else ["agents.view_voice"]
    client = page_for("agents.view_provideraccount", "agents.change_provideraccount", *granted)
    client.post(account_page(account), form_of(account) | {"agents_provideraccount_fetch_voices": ""})
    assert account.voices.exists() is may
    account.voices.all().delete()
    client.post(ACCOUNTS, {"action": "fetch_voices_of_selected", "_selected_action": [str(account.pk)]})
    assert account.voices.exists() is may


def test_who_may_only_look_at_accounts_gets_no_field_for_the_key(account):
    client = page_for("agents.view_provideraccount")
    response = client.get(account_page(account))
    assert response.status_code == 200
    assert b"new_key" not in response.content
    assert client.post(account_page(account), form_of(account) | {"new_key": "sk-forged-000000"}).status_code == 403


def test_who_may_only_look_at_agents_sees_drafts_and_versions(agent):
    version = services.publish(agent=agent, user=None)
    client = page_for("agents.view_agent")
    assert client.get(page_of(agent)).status_code == 200
    assert client.get(reverse("admin:agents_agentversion_change", args=[version.pk])).status_code == 200


@pytest.mark.parametrize("may", [False, True])
def test_the_way_to_talk_to_it_is_shown_to_those_who_may(agent, may):
    services.publish(agent=agent, user=None)
    client = page_for("agents.view_agent", *(["agents.talk_to_agent"] if may else []))
    assert (b"Talk to it" in client.get(page_of(agent)).content) is may


@pytest.mark.parametrize("page", ["auth_user", "auth_group"])
def test_users_and_groups_wear_the_theme_and_need_permission(page):
    for name in (f"admin:{page}_changelist", f"admin:{page}_add"):
        assert page_for().get(reverse(name)).status_code == 403
        client = Client()
        client.force_login(factories.UserFactory(is_superuser=True))
        response = client.get(reverse(name))
        assert response.status_code == 200
        assert b"unfold/css/styles.css" in response.content
