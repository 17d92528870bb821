import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from agents import accounts, services
from agents.models import ProviderAccount, Voice
from agents.spec import StageSpec
from tests import factories
from tests.conftest import LOST_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

KEY = "sk-canary-0123456789"


def stage_of(account: ProviderAccount, **changes) -> StageSpec:
    return StageSpec(**({"account_id": str(account.pk), "provider": account.provider, "model": "m"} | changes))


class Vendor(ThreadingHTTPServer):
    """Answers every GET with ``answer`` after ``delay_s``, and notes what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        self.status, self.answer, self.delay_s = 200, {}, 0.0
        self.seen: list[tuple[str, dict[str, str]]] = []
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                vendor.seen.append((self.path, {name.title(): value for name, value in self.headers.items()}))
                time.sleep(vendor.delay_s)
                body = json.dumps(vendor.answer).encode()
                self.send_response(vendor.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # a caller whose patience ran out
                    self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = json.dumps({"error": {"message": "no such model", "code": "model_not_found"}}).encode()
                self.send_response(404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def own_server(vendor):
    """An OpenAI-compatible account at a server that answers."""
    vendor.answer = {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "us"}]}
    return factories.ProviderAccountFactory(
        name="Own", provider="openai_compatible", base_url=f"{vendor.url}/v1", api_key=KEY
    )


def test_an_account_s_own_key_and_address_come_before_the_installation_s(settings):
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "sk-env", "https://proxy.example/v1"
    bare = factories.ProviderAccountFactory(api_key="", key_hint="")
    own = factories.ProviderAccountFactory(base_url="https://eu.example/v1/", api_key=KEY)
    config = services.stage_config(stage_of(bare), language="de-DE")
    assert (config.api_key, config.base_url, config.language) == ("sk-env", "https://proxy.example/v1", "de-DE")
    config = services.stage_config(stage_of(own), language="en-US", voice_id="v", voice_settings={"speed": 1.1})
    assert (config.api_key, config.base_url) == (KEY, "https://eu.example/v1")
    assert (config.voice_id, config.voice_settings, config.account_id) == ("v", {"speed": 1.1}, str(own.pk))


def test_the_installation_s_key_is_never_sent_to_an_account_s_own_address(settings):
    settings.OPENAI_API_KEY = settings.ELEVENLABS_API_KEY = "sk-env"
    for provider in ("openai", "elevenlabs", "openai_compatible"):
        account = factories.ProviderAccountFactory(
            provider=provider, base_url="https://evil.example", api_key="", key_hint=""
        )
        try:
            assert services.stage_config(stage_of(account), language="en-US").api_key == ""
        except services.AccountError as error:
            assert "no API key" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("account", "change", "words"),
    [
        ({"api_key": "", "key_hint": ""}, {}, "has no API key"),
        ({"provider": "openai_compatible"}, {}, "has no base URL"),
        ({}, {"provider": "elevenlabs"}, "of another provider"),
        ({}, {"account_id": "8a3b0c2e-0000-4000-8000-000000000000"}, "was deleted"),
    ],
)
def test_an_account_that_cannot_be_used_says_why(account, change, words):
    row = factories.ProviderAccountFactory(**account)
    with pytest.raises(services.AccountError, match=words):
        services.stage_config(stage_of(row, **change), language="en-US")


def test_a_server_of_one_s_own_needs_no_key():
    account = factories.ProviderAccountFactory(
        provider="openai_compatible", base_url="http://127.0.0.1:1/v1", api_key="", key_hint=""
    )
    assert services.stage_config(stage_of(account), language="en-US").api_key == ""


def test_a_key_that_cannot_be_decrypted_is_an_account_s_error_and_can_be_entered_again(settings):
    account = factories.ProviderAccountFactory()
    settings.ENCRYPTION_KEYS = LOST_KEYS
    with pytest.raises(services.AccountError, match="enter the API key again"):
        services.stage_config(stage_of(account), language="en-US")
    row = ProviderAccount.objects.defer("api_key").get(pk=account.pk)
    assert not services.test_account(row).ok
    accounts.set_key(row, KEY)
    row.save()
    assert services.stage_config(stage_of(account), language="en-US").api_key == KEY


@pytest.mark.parametrize("key", ["“quoted-by-a-mail”", "kéy-0123456789", "with blanks in it"])
@pytest.mark.parametrize("provider", ["openai", "elevenlabs"])
def test_what_can_be_no_key_is_never_sent_and_said_to_be_none(settings, provider, key):
    settings.OPENAI_API_KEY = settings.ELEVENLABS_API_KEY = key
    account = factories.ProviderAccountFactory(provider=provider, api_key="", key_hint="")
    result = accounts.test_account(account)
    assert not result.ok
    assert "special characters: correct it in the environment." in result.message
    with pytest.raises(accounts.AccountError, match="special characters"):
        accounts.stage_config(stage_of(account), language="en-US")


def test_the_hint_gives_away_four_characters_of_a_long_key_and_none_of_a_short_one():
    account = ProviderAccount(name="x", provider="openai")
    hints = []
    for key in (KEY, "short", ""):
        accounts.set_key(account, key)
        hints.append(account.key_hint)
    assert hints == ["6789", "set", ""]


def test_a_connection_test_really_connects_and_stores_what_it_found(own_server, vendor):
    ok, message = services.test_account(own_server)
    assert ok, message
    assert "Language model" in message
    assert [path for path, _ in vendor.seen] == ["/v1/models"]
    assert vendor.seen[0][1]["Authorization"] == f"Bearer {KEY}"
    own_server.refresh_from_db()
    assert (own_server.test_ok, own_server.test_message) == (True, message)
    assert own_server.tested_at is not None


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}}, "valid key"),
        (403, {"error": {"message": "no", "code": "x"}}, "permissions"),
        (429, {"error": {"message": "quota", "code": "insufficient_quota"}}, "top it up"),
        (500, {"error": {"message": "boom"}}, "status page"),
        (200, {"nothing": "here"}, "protocol"),
    ],
)
def test_a_failed_test_says_what_to_do_and_never_the_key(own_server, vendor, status, answer, words):
    vendor.status, vendor.answer = status, answer
    ok, message = services.test_account(own_server)
    assert not ok
    assert words in message
    assert KEY not in message
    own_server.refresh_from_db()
    assert own_server.test_ok is False


def test_a_server_that_is_not_there_is_told_from_one_that_does_not_answer(own_server, vendor):
    vendor.delay_s = 2
    began = time.monotonic()
    assert "did not answer in time" in services.test_account(own_server).message
    assert time.monotonic() - began < accounts.TEST_DEADLINE_S
    ProviderAccount.objects.filter(pk=own_server.pk).update(base_url="http://127.0.0.1:1/v1")
    own_server.refresh_from_db()
    assert "could not connect" in services.test_account(own_server).message


def test_the_test_asks_for_the_model_that_an_agent_uses(own_server, vendor):
    factories.AgentFactory(llm_account=own_server, llm_model="gone")
    ok, message = services.test_account(own_server)
    assert not ok
    assert "does not know this model" in message


def test_voices_are_fetched_renamed_and_never_lost(vendor):
    account = factories.ElevenLabsAccountFactory(base_url=vendor.url)
    kept = factories.VoiceFactory(account=account, external_id="old", name="Old")
    known = factories.VoiceFactory(account=account, external_id="v1", name="Was", settings={"speed": 0.9})
    vendor.answer = {
        "voices": [{"voice_id": "v1", "name": "Is", "category": "x"}, {"voice_id": "v2", "name": "New"}],
        "has_more": False,
        "total_count": 2,
    }
    assert services.sync_voices(account) == 2
    known.refresh_from_db()
    assert (known.name, known.settings) == ("Is", {"speed": 0.9})
    assert known.synced_at is not None
    assert Voice.objects.filter(pk=kept.pk).exists()
    assert account.voices.count() == 3


def test_voices_that_cannot_be_fetched_are_an_account_s_error(vendor):
    vendor.status, vendor.answer = 401, {"detail": {"status": "invalid_api_key", "message": "no"}}
    account = factories.ElevenLabsAccountFactory(base_url=vendor.url)
    with pytest.raises(services.AccountError, match="valid key"):
        services.sync_voices(account)
    with pytest.raises(services.AccountError, match="by their ids"):
        services.sync_voices(factories.ProviderAccountFactory(provider="openai_compatible"))


def test_openai_s_voices_are_there_without_asking():
    account = factories.ProviderAccountFactory()
    assert services.sync_voices(account) == len(accounts.OPENAI_VOICES)
    assert account.voices.filter(external_id="marin", name="Marin").exists()
