"""Older states of what operators edit can be read by whoever may look, and written back by nobody."""

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from agents import accounts, services
from agents.history import ReadOnlyHistoryAdmin
from agents.models import ProviderAccount
from calls.models import PhoneNumber, WebhookEndpoint
from tests import factories
from tests.agents.admin.test_agents import filled, page_of
from tests.conftest import LOST_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

KEY = "sk-canary-5f2c9e7a-0123456789"


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    return client


def first_state(row) -> str:
    name = f"admin:{row._meta.app_label}_{row._meta.model_name}_simple_history"
    return reverse(name, args=[row.pk, row.history.earliest().pk])


def everything(row) -> dict:
    return type(row).objects.values().get(pk=row.pk)


def test_every_model_with_a_history_is_one_of_those_that_are_only_read():
    with_history = {
        model: model_admin
        for model, model_admin in admin.site._registry.items()
        if hasattr(model._meta, "simple_history_manager_attribute")
    }
    assert len(with_history) == 10
    for model, model_admin in with_history.items():
        assert isinstance(model_admin, ReadOnlyHistoryAdmin), model


def rows_and_forms():
    account = factories.PlivoAccountFactory()
    yield account, {"name": "Other", "auth_id": account.auth_id, "api_url": "https://evil.example", "auth_token": KEY}
    provider = factories.ProviderAccountFactory()
    yield provider, {"name": "Other", "provider": "openai", "base_url": "https://evil.example", "new_key": KEY}
    number = PhoneNumber.objects.get_or_create(number="+15550001111", plivo_account=account)[0]
    yield number, {"alias": "Other", "agent": ""}
    hooks = WebhookEndpoint.objects.get_or_create(name="CRM", url="https://crm.example", events=["call.ended"])[0]
    yield hooks, {"name": "Other", "url": "https://evil.example", "events": ["opt_out.added"], "whole_numbers": "on"}
    agent = factories.AgentFactory()
    yield agent, filled(staff("agents.view_agent", "agents.change_agent"), page_of(agent), greeting="Other.")


@pytest.mark.parametrize("may_change", [False, True])
def test_an_older_state_is_shown_and_what_is_posted_to_it_changes_nothing(may_change):
    for row, form in rows_and_forms():
        app, model = row._meta.app_label, row._meta.model_name
        granted = [f"{app}.change_{model}"] if may_change else []
        client = staff(f"{app}.view_{model}", *granted)
        page = client.get(first_state(row))
        assert page.status_code == 200, model
        assert "This is how it was." in page.content.decode()
        assert "Revert" not in page.content.decode()
        assert '<fieldset class="flex flex-col gap-6" disabled>' in page.content.decode()
        before = everything(row), row.history.count()
        assert client.post(first_state(row), form).status_code == 405, model
        assert (everything(row), row.history.count()) == before


def test_a_state_before_there_was_a_key_does_not_take_the_key_to_another_address():
    account = factories.ProviderAccountFactory(api_key="", key_hint="")
    accounts.set_key(account, KEY)
    account.save()
    client = staff("agents.view_provideraccount", "agents.change_provideraccount")
    form = {"name": account.name, "provider": "openai", "base_url": "https://evil.example/v1", "new_key": ""}
    client.post(first_state(account), form)
    row = ProviderAccount.objects.get()
    assert (row.base_url, row.key_hint) == ("", KEY[-4:])


def test_an_older_state_does_not_bring_back_the_version_that_was_published_then():
    agent = factories.AgentVersionFactory().agent
    agent.refresh_from_db()
    agent.save()
    then = agent.history.first()
    newer = services.publish(agent=agent, user=None)
    client = staff("agents.view_agent", "agents.change_agent")
    form = filled(client, page_of(agent))
    client.post(reverse("admin:agents_agent_simple_history", args=[agent.pk, then.pk]), form)
    agent.refresh_from_db()
    assert agent.published_version == newer


@pytest.mark.parametrize("made", [factories.ProviderAccountFactory, factories.PlivoAccountFactory])
def test_with_a_lost_encryption_key_an_older_state_says_what_to_do(admin_page, settings, made):
    row = made()
    settings.ENCRYPTION_KEYS = LOST_KEYS
    response = admin_page.get(first_state(row), follow=True)
    assert response.status_code == 200
    assert "put the old key back, or enter the secret again" in response.content.decode()
    assert response.redirect_chain[-1][0].endswith("/history/")


def test_the_history_takes_an_empty_choice_for_nothing_and_not_for_a_deleted_row(admin_page):
    agent = factories.AgentFactory()
    voice = agent.voice
    agent.voice = None
    agent.save()
    agent.voice = voice
    agent.save()
    html = admin_page.get(reverse("admin:agents_agent_history", args=[agent.pk])).content.decode()
    assert html.count(str(voice)) == 2
    assert "Deleted voice" not in html
