"""Placement on the recording's clock: an hour of a bad line in virtual time, and each rule by itself."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.audio.recording_clock import AFRESH_CHUNKS, AgentClock, CallerClock

pytestmark = pytest.mark.pure

MS = 8  # samples
FRAME = 160


def place(
    clock: CallerClock, chunk: int | None, timestamp_ms: int | None = None, now_ms: int | None = None
) -> int | None:
    return clock.place(FRAME, chunk=chunk, timestamp_ms=timestamp_ms, now_ms=now_ms)


def test_messages_follow_each_other_whenever_they_come() -> None:
    clock = CallerClock(8000)
    assert [place(clock, n) for n in (1, 2, 3)] == [0, 160, 320]
    assert clock.lost == 0


def test_missing_numbers_are_20_ms_each() -> None:
    clock = CallerClock(8000)
    assert [place(clock, n) for n in (7, 8, 11)] == [0, 160, 640]
    assert clock.lost == 320


def test_repeated_and_overtaken_messages_are_left_out() -> None:
    clock = CallerClock(8000)
    times = {1: 1000, 2: 1020, 4: 1060, 3: 1040, 5: 1080}
    places = [place(clock, n, times[n]) for n in (1, 2, 2, 4, 3, 5)]
    assert places == [0, 160, None, 480, None, 640]
    assert clock.refused == 2


def test_numbers_that_start_afresh_go_on_by_the_timestamp() -> None:
    clock = CallerClock(8000)
    assert place(clock, 500, 10_000) == 0
    assert place(clock, 1, 10_200) == 200 * MS
    assert place(clock, 2, 10_220) == 220 * MS


def test_without_numbers_the_timestamp_places_and_its_jitter_does_not() -> None:
    clock = CallerClock(8000)
    assert [place(clock, None, t) for t in (0, 25, 38, 60, 200)] == [0, 160, 320, 480, 200 * MS]


def test_without_anything_audio_is_kept_in_order() -> None:
    clock = CallerClock(8000)
    assert [place(clock, None) for _ in range(3)] == [0, 160, 320]


def test_time_that_the_numbers_skip_is_filled_once_it_is_certain() -> None:
    clock = CallerClock(8000)
    for n in range(1000):
        place(clock, n, n * 20 + (3000 if n >= 300 else 0))
    assert clock.lost == 3000 * MS


def test_timestamps_that_stall_and_catch_up_fill_nothing() -> None:
    clock = CallerClock(8000)
    for n in range(2000):
        place(clock, n, n * 20 + (900 if n % 100 < 90 else 0))
    assert clock.lost == 0


def test_a_number_that_leaps_by_days_is_not_believed() -> None:
    with_timestamp, with_clock = CallerClock(8000), CallerClock(8000)
    place(with_timestamp, 1, 0)
    assert place(with_timestamp, 10_000_000, 40) == 40 * MS
    place(with_clock, 1, None, 0)
    position = place(with_clock, 10_000_000, None, 40)
    assert position is not None
    assert position <= 6000 * MS


def test_timestamps_in_another_unit_cannot_blow_up_the_recording() -> None:
    clock = CallerClock(8000)
    for n in range(3000):
        place(clock, n, n * 20_000_000, n * 20)
    assert clock.end <= (3000 * 20 + 5000 + 20) * MS


@pytest.mark.parametrize("numbered", [False, True], ids=["without numbers", "with numbers"])
@pytest.mark.parametrize("jump_ms", [1500, 4000, 90_000, 1_767_612_345_678, -1500, -90_000])
def test_timestamps_whose_zero_jumps_leave_the_track_where_it_belongs(jump_ms: int, numbered: bool) -> None:
    clock = CallerClock(8000)
    rng = random.Random(jump_ms)
    refused = 0
    for n in range(2000):
        timestamp_ms = 2_000_000 + n * 20 + (jump_ms if n >= 700 else 0)
        position = place(clock, n if numbered else None, timestamp_ms, n * 20 + rng.randint(0, 15))
        if position is None:
            refused += 1
        else:
            assert abs(position - n * FRAME) <= 40 * MS, n
    assert refused < AFRESH_CHUNKS


@pytest.mark.parametrize("late_ms", [0, 2000], ids=["prompt", "in a burst after a stall"])
@pytest.mark.parametrize("lost_ms", [300, 3000, 30_000])
def test_a_real_hole_is_no_jump(lost_ms: int, late_ms: int) -> None:
    clock = CallerClock(8000)
    for n in range(1000):
        at_ms = n * 20 + (lost_ms if n >= 300 else 0)
        now_ms = max(at_ms, 6000 + lost_ms + late_ms) if n >= 300 else at_ms
        assert place(clock, None, 5_000_000 + at_ms, now_ms) == at_ms * MS


def test_numbers_and_timestamps_that_both_begin_anew_cost_a_second_at_most() -> None:
    clock = CallerClock(8000)
    places = [place(clock, n % 1000, 7_000_000 + (n % 1000) * 20, n * 20) for n in range(1500)]
    assert places[1000:].count(None) == AFRESH_CHUNKS - 1
    assert places[-1] == 1499 * FRAME


@given(
    messages=st.lists(
        st.tuples(st.none() | st.integers(0, 300), st.none() | st.integers(0, 10_000), st.integers(0, 400)), max_size=80
    )
)
def test_whatever_the_messages_say_positions_only_grow(
    messages: list[tuple[int | None, int | None, int]],
) -> None:
    clock = CallerClock(8000)
    end = 0
    for chunk, timestamp_ms, samples in messages:
        position = clock.place(samples, chunk=chunk, timestamp_ms=timestamp_ms)
        if position is not None:
            assert position >= end
            end = position + samples
        assert clock.end == end


def test_agent_audio_is_placed_where_it_was_heard() -> None:
    agent = AgentClock(8000)
    agent.arrived(1020, FRAME)  # the stream's first 20 ms ended at 1020
    assert agent.place(1500, 1600) == 500 * MS
    assert agent.place(1700, 1600) == 700 * MS
    assert agent.place(900, 80) == -100 * MS


def test_agent_audio_that_goes_on_is_joined_without_a_seam() -> None:
    agent = AgentClock(8000)
    agent.arrived(100, 100 * MS)
    assert agent.place(1000, 1603) == 8000
    assert agent.place(1200, 1600) == 9603, "1200.4 in truth"
    agent.arrived(1300, 1305 * MS)  # 5 ms earlier than ever: believed, but it does not tear the voice apart
    assert agent.place(1400, 1600) == 11203
    assert agent.place(3000, 1600) == 3005 * MS


def test_a_late_message_says_nothing_about_the_clocks() -> None:
    agent = AgentClock(8000)
    agent.arrived(20, FRAME)
    for n in range(2, 100):
        agent.arrived(n * 20 + 700, n * FRAME)
    assert abs(agent.place(5000, 160) - 5000 * MS) <= 5 * MS


@pytest.mark.parametrize("drift_ppm", [-100, 0, 100])
def test_over_an_hour_of_a_bad_line_nothing_drifts_by_20_ms(drift_ppm: int) -> None:
    """The carrier's clock drifts, the network jitters, the loop stalls and then works off bursts, messages get lost."""
    rng = random.Random(drift_ppm)
    caller, agent = CallerClock(8000), AgentClock(8000)
    scale = 1 + drift_ppm / 1e6
    busy_until = 0.0
    worst_caller = worst_agent = 0.0
    speaks_at = 1000
    chunk = 0
    while chunk < 180_000:
        chunk += 1
        if rng.random() < 0.0005:
            chunk += rng.randint(1, 60)  # lost
        true_ms = chunk * 20 * scale  # when its last sample was spoken, on our clock
        arrives = true_ms + 20 + rng.expovariate(1 / 4)
        if rng.random() < 0.0004:
            busy_until = arrives + rng.uniform(100, 4000)  # a stall; what comes meanwhile is handled in a burst
        now = max(arrives, busy_until)
        timestamp = 1_700_000_000_000 + chunk * 20 + (rng.randint(0, 400) if rng.random() < 0.01 else 0)
        if rng.random() < 0.001:
            assert caller.place(FRAME, chunk=chunk - 3, timestamp_ms=timestamp - 900) is None or chunk < 5
        position = caller.place(FRAME, chunk=chunk, timestamp_ms=timestamp, now_ms=int(now))
        if position is None:
            continue
        worst_caller = max(worst_caller, abs(position / MS - (chunk - 1) * 20))
        agent.arrived(int(now), caller.end)
        if now > speaks_at:
            placed = agent.place(int(now), 200 * MS)
            worst_agent = max(worst_agent, abs(placed / MS - (now / scale)))
            speaks_at = now + rng.uniform(200, 9000)
    assert caller.end >= 3600 * 1000 * MS
    assert worst_caller < 20
    # the agent is early by what the network always takes (20 ms here), which is no drift
    assert worst_agent < 20 + 20
