"""What processes tell each other of the providers through Redis, and what an account's page shows of it."""

import time

import pytest
import redis
from django.urls import reverse

from agents import health
from agents.providers.board import Board
from agents.providers.errors import ErrorKind, ProviderError
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db, pytest.mark.usefixtures("private_redis")]


@pytest.fixture
def account():
    return factories.ProviderAccountFactory(name="Main")


class Process:
    """A stream process with a board, and the account that its calls use."""

    def __init__(self, name, account):
        self.name = name
        self.account = account
        self.board = Board(clock=time.time)
        self.config = self.of("gpt-6-luna")
        self.board.order("llm", [self.config])

    def of(self, model, key="k"):
        return factories.provider_config(model=model, api_key=key, account_id=str(self.account.pk))

    def fails(self, kind, count=1, config=None):
        for _ in range(count):
            error = ProviderError(kind, provider="openai", stage="llm", detail="You exceeded your current quota")
            self.board.failed(error, config or self.config)

    def exchange(self):
        self.board.learn(health.exchange(process_id=self.name, standings=self.board.standings()))


def test_a_process_learns_from_another_that_a_service_rests_and_that_it_serves_again(account):
    one, other = Process("1", account), Process("2", account)
    both = [one.config, one.of("second")]
    one.fails(ErrorKind.OUT_OF_CREDIT)
    one.exchange()
    other.exchange()
    assert other.board.order("llm", both) == (1, 0)
    one.board.worked("llm", one.config)
    one.exchange()
    other.exchange()
    assert other.board.order("llm", both) == (0, 1)


def test_failures_of_several_processes_add_up(account):
    processes = [Process(str(number), account) for number in range(3)]
    for process in processes:
        process.exchange()  # as it does once a second
        process.fails(ErrorKind.SERVER_ERROR)
        process.exchange()
    assert health.states(account)[0].state == "open"


def test_a_process_that_has_ended_or_died_is_heard_no_more(account, private_redis):
    one, other = Process("1", account), Process("2", account)
    one.exchange()
    health.withdraw("1")
    assert health.exchange(process_id="2", standings=other.board.standings()) == []
    one.exchange()
    private_redis.delete(health.KNOWN + "1")  # its lifetime is over
    assert health.exchange(process_id="2", standings=[]) == []
    assert private_redis.smembers(health.PROCESSES) == {b"2"}


def test_what_a_process_of_another_version_says_stops_nobody(account, private_redis):
    one, other = Process("1", account), Process("2", account)
    one.fails(ErrorKind.OUT_OF_CREDIT)
    one.exchange()
    private_redis.sadd(health.PROCESSES, "old")
    private_redis.set(health.KNOWN + "old", b'[{"service": "of tomorrow"}]')
    other.exchange()
    assert other.board.order("llm", [other.config, other.of("second")]) == (1, 0)


def test_without_redis_a_process_goes_by_its_own_calls(account, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    one = Process("1", account)
    one.fails(ErrorKind.OUT_OF_CREDIT)
    with pytest.raises(redis.RedisError):
        one.exchange()
    assert one.board.order("llm", [one.config, one.of("second")]) == (1, 0)


def test_a_new_key_is_what_counts_on_the_page(account):
    one = Process("1", account)
    one.fails(ErrorKind.UNAUTHORISED)
    corrected = one.of("gpt-6-luna", key="new")
    one.board.order("llm", [corrected])
    one.fails(ErrorKind.SERVER_ERROR, config=corrected)
    one.board.worked("llm", corrected)
    one.exchange()
    (state,) = health.states(account)
    assert state.state == "closed"


def page(admin_page, account):
    url = reverse("admin:agents_provideraccount_change", args=[account.pk])
    return " ".join(admin_page.get(url).content.decode().split())


def test_the_accounts_page_says_what_rests_since_when_why_and_what_to_do(admin_page, account):
    process = Process("1", account)
    process.fails(ErrorKind.OUT_OF_CREDIT)
    process.board.order("llm", [process.of("gpt-5.4-mini")])
    process.exchange()
    shown = page(admin_page, account)
    for words in (
        "Out of use", "Language model, gpt-6-luna", "You exceeded your current quota", "top it up at the provider",
        "In use", "Language model, gpt-5.4-mini",
    ):  # fmt: skip
        assert words in shown
    other = factories.ProviderAccountFactory(name="Other")
    assert "On calls" not in page(admin_page, other), "no call has used it"


def test_the_accounts_page_works_without_redis(admin_page, account, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "Redis does not answer" in page(admin_page, account)
