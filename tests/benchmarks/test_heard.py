"""What a simulated caller is taken to have experienced."""

import numpy as np
import pytest

from benchmarks.load.heard import Arrival, CallLog, Experience, Said, experience, lateness
from sandbox import audio
from sandbox.plivo.playout import Playout

pytestmark = pytest.mark.pure

TONE = audio.mulaw_encode(np.full(1600, 4000, np.int16))  # 200 ms
SILENCE = b"\xff" * 1600


def log(*pieces: tuple[float, bytes], said: list[Said], clears: tuple[float, ...] = ()) -> CallLog:
    """A call whose agent's pieces arrived at these ms."""
    found = CallLog(Playout(rate=8000, sample_bytes=1, limit=10**6), said=said)
    events = [*((at, data) for at, data in pieces), *((at, b"") for at in clears)]
    for at, data in sorted(events, key=lambda event: event[0]):
        position = int(at * 8)
        if not data:
            found.playout.clear(position)
            found.clears_ms.append(at)
            continue
        found.playout.play(position, data)
        last = found.playout.chunks[-1]
        found.arrivals.append(Arrival(at, last.start / 8, (last.end - last.start) / 8))
    return found


def question(onset: float, end: float) -> Said:
    return Said(onset, end, over_agent=False, clip=0, phase=0)


def interruption(onset: float, end: float) -> Said:
    return Said(onset, end, over_agent=True, clip=0, phase=0)


def of(call: CallLog, *, begin: float = 0, end: float = 20_000) -> Experience:
    return experience(call, begin_ms=begin, end_ms=end, patience_ms=8000)


def test_the_response_runs_from_the_last_sound_to_the_first_audible_one():
    call = log((3400, SILENCE[:800] + TONE), said=[question(1000, 3000)])
    assert of(call).responses == [pytest.approx(500, abs=1)]


def test_a_question_that_nobody_answers_is_counted():
    assert of(log(said=[question(1000, 3000)])).unanswered == 1
    assert of(log(said=[question(10_000, 13_000)])).unanswered == 0  # there was no time for an answer


def test_only_what_begins_within_the_measurement_counts():
    call = log((3400, TONE), said=[question(1000, 3000)])
    assert of(call, begin=2000) == Experience()


def test_a_hole_inside_an_answer_is_a_gap_and_one_between_answers_is_not():
    call = log(
        (3400, TONE), (3660, TONE), (8000, TONE), said=[question(1000, 3000), question(5000, 7000)]
    )  # fmt: skip
    assert of(call).gaps == [pytest.approx(60)]


def test_an_interruption_is_measured_to_the_clearing_and_to_the_silence():
    call = log(
        (3400, TONE * 10), (7600, TONE), said=[question(1000, 3000), interruption(4000, 7000)], clears=(4100,)
    )  # fmt: skip
    found = of(call)
    assert found.clears == [pytest.approx(100)]
    assert found.silences == [pytest.approx(100)]
    assert found.gaps == []


def test_a_voice_that_goes_on_after_the_clearing_is_not_silent():
    pieces = [(3400, TONE * 10), (4110, TONE), (4310, TONE), (7600, TONE)]
    found = of(log(*pieces, said=[question(1000, 3000), interruption(4000, 7000)], clears=(4100,)))
    assert found.silences == [pytest.approx(510)]
    assert found.gaps == []  # the answer begins after it


def test_an_interruption_without_effect_is_counted():
    call = log((3400, TONE * 30), said=[question(1000, 3000), interruption(4000, 7000)])
    assert (of(call).undisturbed, of(call).clears) == (1, [])


def test_a_sender_with_a_lead_is_late_only_against_its_own_cadence():
    begun = [Arrival(0, 0, 200), Arrival(0, 200, 200), Arrival(0, 400, 200)]
    steady = [Arrival(200 * n, 400 + 200 * n, 200) for n in range(1, 8)]
    assert max(lateness([*begun, *steady])) == 0
    steady[4] = Arrival(1030, 1400, 200)
    assert max(lateness([*begun, *steady])) == 30


def test_a_sender_in_real_time_is_measured_by_the_clock():
    pieces = [Arrival(40 * n, 40 * n, 40) for n in range(20)]
    pieces[7] = Arrival(295, 295, 40)
    assert max(lateness(pieces)) == 15
    assert lateness([]) == []
