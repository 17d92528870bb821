import pytest
from django.urls import reverse

from agents import accounts, services
from agents.models import ProviderAccount
from tests import factories
from tests.conftest import LOST_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = reverse("admin:agents_provideraccount_changelist")
ADD = reverse("admin:agents_provideraccount_add")
KEY = "sk-canary-5f2c9e7a-0123456789"
TEST, FETCH = "agents_provideraccount_test_connection", "agents_provideraccount_fetch_voices"


@pytest.fixture
def account():
    return factories.ProviderAccountFactory(name="Main", api_key=KEY, key_hint="6789")


def page_of(account: ProviderAccount) -> str:
    return reverse("admin:agents_provideraccount_change", args=[account.pk])


def sent(**changes) -> dict[str, str]:
    return {"name": "Main", "provider": "openai", "base_url": "", "new_key": ""} | changes


def key_in_database(account: ProviderAccount) -> str:
    return str(ProviderAccount.objects.get(pk=account.pk).api_key)


def test_a_key_goes_in_and_only_its_hint_comes_out(admin_page):
    response = admin_page.post(ADD, sent(new_key=KEY) | {"_continue": "1"}, follow=True)
    account = ProviderAccount.objects.get()
    assert (account.api_key, account.key_hint) == (KEY, "6789")
    assert KEY not in response.content.decode()
    assert "ends in 6789" in response.content.decode()


def test_an_empty_field_keeps_the_key(admin_page, account):
    assert admin_page.post(page_of(account), sent(name="Renamed")).status_code == 302
    account.refresh_from_db()
    assert (account.name, account.api_key, account.key_hint) == ("Renamed", KEY, "6789")


def test_a_new_key_replaces_the_old_one_and_its_test(admin_page, account):
    ProviderAccount.objects.filter(pk=account.pk).update(test_ok=True, test_message="fine")
    admin_page.post(page_of(account), sent(new_key="sk-other-secret-4321"))
    account.refresh_from_db()
    assert (account.api_key, account.key_hint) == ("sk-other-secret-4321", "4321")
    assert (account.test_ok, account.test_message) == (None, "")


def test_the_key_is_removed_only_on_request(admin_page, account):
    assert admin_page.post(page_of(account), sent(remove_key="on")).status_code == 302
    account.refresh_from_db()
    assert (account.api_key, account.key_hint) == ("", "")


def test_a_refused_form_does_not_send_the_key_back(admin_page, account):
    response = admin_page.post(page_of(account), sent(name="", new_key="sk-new-canary-999999"))
    assert response.status_code == 200
    assert b"sk-new-canary" not in response.content
    assert key_in_database(account) == KEY


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": "https://evil.example/v1"}, "new_key"),
        ({"provider": "elevenlabs"}, "new_key"),
        ({"new_key": "a key with blanks"}, "new_key"),
        ({"new_key": "schlüssel-0123456789"}, "new_key"),
        ({"new_key": KEY, "remove_key": "on"}, "remove_key"),
        ({"base_url": "ftp://files.example", "new_key": KEY}, "base_url"),
        ({"provider": "openai_compatible", "new_key": KEY}, "base_url"),
    ],
)
def test_what_would_send_a_stored_key_elsewhere_or_makes_no_sense_is_refused(admin_page, account, changes, field):
    response = admin_page.post(page_of(account), sent(**changes))
    assert response.status_code == 200
    assert response.context["adminform"].form.errors[field]
    account.refresh_from_db()
    assert (account.base_url, account.provider, account.api_key) == ("", "openai", KEY)


def test_an_account_moves_to_another_address_with_its_key_entered_again(admin_page, account):
    data = sent(base_url="https://eu.example/v1", new_key="sk-eu-secret-1234")
    assert admin_page.post(page_of(account), data).status_code == 302
    account.refresh_from_db()
    assert (account.base_url, account.api_key) == ("https://eu.example/v1", "sk-eu-secret-1234")


@pytest.mark.django_db(transaction=True)
def test_the_button_tests_what_was_just_saved_after_the_transaction(admin_page, account, monkeypatch):
    seen = []

    def test(row: ProviderAccount) -> accounts.Finding:
        seen.append((ProviderAccount.objects.get(pk=row.pk).name, accounts.key_of(row)))
        return accounts.Finding(False, "The provider does not accept the key.")

    monkeypatch.setattr(services, "test_account", test)
    response = admin_page.post(page_of(account), sent(name="Saved") | {TEST: ""}, follow=True)
    assert seen == [("Saved", KEY)]
    assert "Saved: The provider does not accept the key." in response.content.decode()
    assert response.redirect_chain[-1][0] == page_of(account)


@pytest.mark.django_db(transaction=True)
def test_the_button_fetches_voices(admin_page, account):
    response = admin_page.post(page_of(account), sent() | {FETCH: ""}, follow=True)
    assert f"Main: {len(accounts.OPENAI_VOICES)} voices." in response.content.decode()
    assert account.voices.count() == len(accounts.OPENAI_VOICES)


def test_accounts_are_tested_from_the_list_and_a_dead_address_is_said(admin_page):
    account = factories.ProviderAccountFactory(provider="openai_compatible", base_url="http://127.0.0.1:1/v1")
    data = {"action": "test_connection_of_selected", "_selected_action": [str(account.pk)]}
    response = admin_page.post(LIST, data, follow=True)
    assert "could not connect" in response.content.decode()
    account.refresh_from_db()
    assert account.test_ok is False


def test_a_server_without_a_list_of_voices_is_said(admin_page):
    account = factories.ProviderAccountFactory(provider="openai_compatible", base_url="http://127.0.0.1:1/v1")
    data = {"action": "fetch_voices_of_selected", "_selected_action": [str(account.pk)]}
    assert "by their ids" in admin_page.post(LIST, data, follow=True).content.decode()


def test_a_lost_encryption_key_takes_no_page_away_and_the_key_can_be_entered_again(admin_page, account, settings):
    agent = factories.AgentFactory(llm_account=account)
    voice = agent.voice
    settings.ENCRYPTION_KEYS = LOST_KEYS
    for url in (
        LIST,
        page_of(account),
        reverse("admin:agents_agent_changelist"),
        reverse("admin:agents_agent_change", args=[agent.pk]),
        reverse("admin:agents_voice_changelist"),
        reverse("admin:agents_voice_change", args=[voice.pk]),
        reverse("admin:agents_provideraccount_history", args=[account.pk]),
    ):
        assert admin_page.get(url).status_code == 200, url
    assert admin_page.post(page_of(account), sent(new_key="sk-again-secret-7777")).status_code == 302
    assert key_in_database(account) == "sk-again-secret-7777"


@pytest.mark.parametrize("rows", [1, 6])
def test_the_list_takes_the_same_queries_for_any_number(admin_page, rows, django_assert_num_queries):
    factories.ProviderAccountFactory.create_batch(rows)
    admin_page.get(LIST)
    with django_assert_num_queries(5):
        admin_page.get(LIST)


def test_a_voice_is_typed_in_with_its_settings_as_lines(admin_page, account):
    data = {"name": "Mine", "account": str(account.pk), "external_id": "abc", "settings": "stability = 0.5\nmode = x"}
    assert admin_page.post(reverse("admin:agents_voice_add"), data).status_code == 302
    voice = account.voices.get()
    assert voice.settings == {"stability": 0.5, "mode": "x"}
    assert admin_page.get(reverse("admin:agents_voice_change", args=[voice.pk])).status_code == 200
