"""Nobody is rung whom nobody could talk to: no process, no room, no provider."""

import time

import pytest
from django.utils import timezone

from agents.crypto import UndecryptableError
from agents.health import exchange
from agents.providers.base import ProviderConfig
from agents.providers.board import Board
from agents.providers.errors import ErrorKind, ProviderError
from calls.admission import StreamLoad, publish_load
from calls.campaigns import dialler, readiness
from calls.models import Call
from tests import factories

pytestmark = [
    pytest.mark.db,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("private_redis", "from_noon"),
]


def publish(process="p1", **load):
    publish_load(process_id=process, load=StreamLoad(**{"live_calls": 0} | load), ttl_s=5)


def taken(campaign) -> int:
    return len(dialler._take(timezone.now, [campaign], room=16)[0])


@pytest.fixture
def campaign(make):
    made = make.campaign(make.people(6), concurrency=50, week=[[[0, 1440]]] * 7)
    made.people.update(next_due=timezone.now())
    return made


def test_without_a_stream_process_nobody_is_called(campaign):
    assert readiness.trouble(campaign) == "no stream process is running, or all are full"
    assert taken(campaign) == 0


def test_no_more_are_called_than_could_be_talked_to_at_once(campaign):
    publish(live_calls=7, max_calls=10)
    factories.CallFactory(direction="outbound", status="ringing", to_number="+14155559999")
    assert taken(campaign) == 2
    assert taken(campaign) == 0, "those two may be picked up"
    assert readiness.trouble(campaign) == ""


@pytest.mark.parametrize("load", [{"draining": True}, {"lag_ms": 900.0}, {"live_calls": 4, "max_calls": 4}])
def test_a_process_that_takes_none_is_as_good_as_none(campaign, load):
    publish(**load)
    assert taken(campaign) == 0


def test_a_process_without_a_limit_takes_all(campaign):
    publish()
    assert taken(campaign) == 6


def test_without_redis_nobody_is_called(campaign, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert taken(campaign) == 0
    assert readiness.trouble(campaign) == "Redis does not answer"


def rests(stage, choice):
    """Some process has found that a model does not serve."""
    config = ProviderConfig(
        provider=choice.provider, base_url="", api_key="k", model=choice.model, account_id=choice.account_id
    )
    board = Board(clock=time.time)
    for _ in range(10):
        board.order(stage, [config])
        board.failed(ProviderError(ErrorKind.SERVER_ERROR, provider=choice.provider, stage=stage), config)
    exchange(process_id="p1", standings=board.standings())


@pytest.mark.parametrize(
    ("stage", "words"), [("stt", "speech-to-text"), ("llm", "the language model"), ("tts", "the voice")]
)
def test_while_no_provider_serves_a_stage_nobody_is_rung_to_hear_an_apology(campaign, stage, words):
    publish()
    rests(stage, campaign.agent.published_version.spec.choices(stage)[0])
    assert readiness.obstacle(campaign) == f"{words} cannot be had from any provider"
    assert readiness.trouble(campaign) == f"{words} cannot be had from any provider"


def test_the_dialler_leaves_such_a_campaign_alone_and_places_the_others(campaign, make, monkeypatch):
    publish()
    monkeypatch.setattr(readiness, "obstacle", lambda each: "the voice" if each == campaign else "")
    other = make.campaign(make.people(2), week=[[[0, 1440]]] * 7)
    other.people.update(next_due=timezone.now())
    placed = []
    assert dialler.work(clock=timezone.now, shift=dialler.Shift(0.5), place=placed.append) == 2
    assert {call.campaign for call in Call.objects.filter(pk__in=placed)} == {other}


def test_a_single_call_waits_until_somebody_could_talk_and_one_that_plivo_reads_out_does_not(campaign, monkeypatch):
    now = timezone.now()
    fields = {"direction": "outbound", "status": "claimed", "deadline_at": now}
    asked = factories.CallFactory(agent_version=campaign.agent.published_version, to_number="+14155559998", **fields)
    code = factories.CallFactory(agent_version=None, to_number="+14155559997", **fields)
    assert dialler._take(timezone.now, [], room=5)[0] == [code.pk]
    publish(max_calls=1)
    assert dialler._take(timezone.now, [], room=5)[0] == [code.pk, asked.pk]
    monkeypatch.setattr(readiness, "voiceless", lambda _version: "the voice")
    assert dialler._take(timezone.now, [], room=5)[0] == [code.pk]


def test_a_round_takes_no_more_calls_that_lie_than_there_are_threads(campaign):
    publish()
    now = timezone.now()
    for version in [None] * 4 + [campaign.agent.published_version] * 4:
        factories.CallFactory(agent_version=version, direction="outbound", status="claimed", deadline_at=now)
    assert [len(dialler._take(timezone.now, [], room=room)[0]) for room in (0, 3, 6, 8)] == [0, 3, 6, 8]


def test_a_campaign_whose_account_cannot_be_read_calls_nobody_and_says_why(campaign, monkeypatch):
    def unreadable(_account):
        raise UndecryptableError("another key")

    publish()
    monkeypatch.setattr(readiness, "auth_token", unreadable)
    assert "cannot be read" in readiness.obstacle(campaign)


def test_a_round_ends_in_time_though_thousands_are_only_moved_on(campaign, monkeypatch):
    publish()
    monkeypatch.setattr(dialler, "TAKE_S", 0.0)
    assert dialler._take(timezone.now, [campaign], room=16) == ([], True)
