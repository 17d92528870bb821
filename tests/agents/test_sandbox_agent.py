"""The agent of the demonstration against the sandbox that it is made for: real sockets, the vendors' own SDKs."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from agents import services, starters
from agents.models import ProviderAccount
from sandbox.testing import running_sandbox

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db]


@pytest.fixture
def box_url(settings) -> Iterator[str]:
    """A sandbox in a thread of its own: the connection test blocks, as it does in a request."""
    settings.PROVIDER_CLOCK_SCALE = 1.0
    ready, over, urls = threading.Event(), threading.Event(), []

    async def serve() -> None:
        async with running_sandbox(time_scale=0.1) as box:
            urls.append(box.url)
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield urls[0]
    over.set()
    thread.join()


def test_the_sandbox_agent_s_accounts_pass_their_connection_test_and_list_their_voices(box_url):
    agent = starters.install_sandbox(box_url)
    for account in ProviderAccount.objects.all():
        ok, message = services.test_account(account)
        assert ok, message
    assert services.sync_voices(agent.tts_account) > 1
    assert agent.tts_account.voices.filter(external_id=agent.voice.external_id, synced_at__isnull=False).exists()


def test_a_voice_that_the_account_does_not_have_fails_the_test_in_words(box_url):
    agent = starters.install_sandbox(box_url)
    agent.voice.external_id = "nobody"
    agent.voice.save()
    ok, message = services.test_account(agent.tts_account)
    assert not ok
    assert "does not know this model or voice" in message
    assert "Speech-to-text: Connected" in message
