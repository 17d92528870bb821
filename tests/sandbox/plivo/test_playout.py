import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.plivo.playout import Playout

pytestmark = pytest.mark.pure


def queue(limit=480_000, sample_bytes=1):
    return Playout(rate=8000, sample_bytes=sample_bytes, limit=limit)


def test_audio_plays_at_its_arrival_and_then_without_a_hole():
    playout = queue()
    playout.play(1000, b"a" * 160)
    playout.play(1010, b"b" * 160)
    assert playout.played() == [(1000, 1320)]
    assert playout.read(1000, 1160) == [(1000, b"a" * 160)]
    assert playout.read(1155, 1165) == [(1155, b"a" * 5), (1160, b"b" * 5)]
    assert playout.gaps == []


def test_a_queue_that_runs_dry_leaves_a_gap_that_counts_as_an_underrun_only_when_it_is_short():
    playout = queue()
    playout.play(0, b"a" * 160)
    playout.play(400, b"b" * 160)
    playout.play(400 + 160 + 8000, b"c" * 160)
    report = playout.report()
    assert [(gap["start_ms"], gap["ms"]) for gap in report["gaps"]] == [(20.0, 30.0), (70.0, 1000.0)]
    assert report["underruns"] == 1


def test_a_checkpoint_is_reached_at_the_very_sample_at_which_its_audio_has_drained():
    playout = queue()
    playout.play(100, b"a" * 333)
    marker = playout.checkpoint(120, "turn-1")
    assert marker.position == 433
    assert playout.reached(432) == []
    assert [found.name for found in playout.reached(433)] == ["turn-1"]


def test_a_checkpoint_on_an_empty_queue_is_reached_at_once():
    assert queue().checkpoint(77, "now").position == 77


def test_clearing_keeps_what_was_heard_and_drops_the_rest_with_its_checkpoints():
    playout = queue()
    playout.play(0, b"a" * 800)
    playout.checkpoint(0, "never")
    cleared = playout.clear(300)
    assert cleared.samples == 500
    assert cleared.names == ("never",)
    assert playout.played() == [(0, 300)]
    assert playout.reached(10_000) == []
    playout.play(310, b"b" * 10)
    assert playout.played() == [(0, 300), (310, 320)]
    assert playout.report()["underruns"] == 0


def test_clearing_an_empty_queue_clears_nothing():
    playout = queue()
    playout.play(0, b"a" * 100)
    assert playout.clear(5000).samples == 0
    assert playout.played() == [(0, 100)]


def test_a_full_queue_drops_the_newest_and_says_so():
    playout = queue(limit=1000)
    assert playout.play(0, b"a" * 900)
    assert not playout.play(0, b"b" * 200)
    assert playout.play(100, b"c" * 200)
    assert playout.report()["samples_overflowed"] == 200
    assert playout.played() == [(0, 1100)]


def test_two_byte_samples_are_counted_as_samples():
    playout = queue(sample_bytes=2)
    playout.play(0, b"ab" * 100)
    playout.clear(40)
    assert playout.read(30, 60) == [(30, b"ab" * 10)]


steps = st.lists(
    st.tuples(st.sampled_from(["play", "clear", "checkpoint"]), st.integers(0, 400), st.integers(1, 600)), max_size=40
)


@given(steps)
def test_nothing_is_lost_or_heard_twice_and_the_past_does_not_change(actions):
    playout = queue(limit=2000)
    now, heard_until, heard = 0, 0, []
    sent = 0
    for action, wait, size in actions:
        now += wait
        heard += playout.read(heard_until, now)
        heard_until = now
        if action == "play":
            playout.play(now, bytes([size % 256]) * size)
            sent += size
        elif action == "clear":
            playout.clear(now)
        else:
            playout.checkpoint(now, str(size))
        assert all(left[1] < right[0] for left, right in zip(playout.played(), playout.played()[1:], strict=False))
    heard += playout.read(heard_until, now + 100_000)
    report = playout.report()
    total = report["samples_played"] + report["samples_cleared"] + report["samples_overflowed"]
    assert total == sent == report["samples_received"]
    assert sum(len(data) for _, data in heard) == report["samples_played"]
    rendered = dict(playout_bytes(playout))
    assert all(rendered[at + index] == value for at, data in heard for index, value in enumerate(data))


def playout_bytes(playout):
    for chunk in playout.chunks:
        yield from enumerate(chunk.data, chunk.start)
