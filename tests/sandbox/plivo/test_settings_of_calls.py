import pytest

from sandbox.clips import load_clip
from sandbox.config import Account, ConfigError, SandboxConfig, parse_account
from sandbox.plivo.behaviour import BadBehaviourError, Behaviours, parse_behaviour
from sandbox.plivo.callback_url import parse_callback_url
from sandbox.plivo.faults import BadFaultError, Faults, merged
from sandbox.plivo.scenario import BadScenarioError, load_scenario, parse_caller, scenario_names

pytestmark = pytest.mark.pure


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_can_be_played_in_each_of_its_voices(name):
    script = load_scenario(name)
    assert script.steps
    for voice in script.voices:
        for line in script.lines:
            assert load_clip(name, voice, line).size > 1000


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([{"dance": {}}], "unknown action"),
        ([{"say": {}}], "needs clip or wav"),
        ([{"say": {"wav": "UklGRg=="}}], "no WAV file"),
        ([{"silence": -1}], "negative"),
        ([{"silence": {"ms": "long"}}], "cannot be"),
        ([{"press": "12x"}], "press can only"),
        ([{"say": {"clip": "a", "loud": True}}], "has no loud"),
        ([{"hangup": 3}], "takes a mapping"),
        ([{"say": "a", "hangup": {}}], "not one action"),
        ("say", "a list"),
    ],
)
def test_a_wrong_script_is_refused_with_the_step_that_is_wrong(steps, said):
    with pytest.raises(BadScenarioError, match=said):
        parse_caller({"steps": steps})


@pytest.mark.parametrize(
    "change",
    [
        {"unheard_of": 1},
        {"rest_500": -1},
        {"rest_500": True},
        {"webhook_signature": "forged"},
        {"webhook_lost": "Ring"},
        {"webhook_duplicates": {"Ring": "twice"}},
        {"sequence_from": True},
        {"send_stop": 1},
    ],
)
def test_a_wrong_fault_is_refused(change):
    with pytest.raises(BadFaultError):
        merged(Faults(), change)


def test_none_switches_a_fault_off():
    faults = merged(Faults(), {"rest_500": 2, "recording_before_hangup": True, "webhook_lost": ["Ring"]})
    assert faults.webhook_lost == ("Ring",)
    assert merged(faults, {"rest_500": None, "recording_before_hangup": None, "webhook_lost": None}) == Faults()


def test_behaviours_are_used_one_after_the_other_and_the_last_one_stays():
    plans = Behaviours()
    plans.set("15551", [parse_behaviour({"kind": "busy"}), parse_behaviour({"kind": "human"})])
    plans.set("*", [parse_behaviour({"kind": "rejected"})])
    assert [plans.next_for("15551").kind for _ in range(3)] == ["busy", "human", "human"]
    assert plans.next_for("15552").kind == "rejected"


@pytest.mark.parametrize("given", [{"kind": "ghost"}, {"ring_ms": -1}, {"colour": "red"}, {"scenario": "none"}, []])
def test_a_wrong_behaviour_is_refused(given):
    with pytest.raises(BadBehaviourError):
        parse_behaviour(given)


def test_the_fragment_of_a_callback_url_is_read_and_cut_off():
    callback = parse_callback_url("http://p/a/?x=1#ct=500&rt=1000&tt=9000&rc=3&rp=4xx,5xx")
    assert callback.url == "http://p/a/?x=1"
    assert (callback.connect_ms, callback.read_ms, callback.total_ms, callback.retries) == (500, 1000, 9000, 3)
    assert callback.retried("5xx")
    assert not callback.retried("rt")


def test_a_fragment_out_of_range_leaves_the_defaults():
    callback = parse_callback_url("http://p/#ct=1&rc=99&rp=never&er=moon")
    assert (callback.connect_ms, callback.retries, callback.policy) == (2000, 1, {"ct", "rt"})


def test_accounts_are_read_from_the_command_line():
    account = parse_account("MA123456789012345678:old+new=15550001,15550002")
    assert account.tokens == ("old", "new")
    assert account.numbers == ("15550001", "15550002")
    sub = parse_account("SA123456789012345678:t@MA123456789012345678")
    assert sub.parent == "MA123456789012345678"


@pytest.mark.parametrize("auth_id", ["MA1", "XX123456789012345678", "ma123456789012345678"])
def test_an_auth_id_that_plivos_sdk_would_refuse_is_refused(auth_id):
    with pytest.raises(ConfigError):
        Account(auth_id=auth_id, tokens=("t",))


def test_unknown_parts_are_refused():
    with pytest.raises(ConfigError, match="telegraph"):
        SandboxConfig(parts=frozenset({"telegraph"}))
