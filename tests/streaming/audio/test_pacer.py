"""The pacer against a model of the carrier: what is sent, when, and what the caller hears of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.providers.base import L16_8K, MULAW_8K, AudioFormat, WordTiming
from streaming.audio.pacer import Checkpoint, Pacer, PacerOutput, PlayAudio
from streaming.conversation.events import SegmentHeard, SegmentSent, VoicePaused

pytestmark = pytest.mark.pure

MS = MULAW_8K.bytes_per_ms


def tone(ms: int, start: int = 0, per_ms: int = MS) -> bytes:
    """Bytes that differ from their neighbours, so that a swap, a loss or a repetition shows."""
    return bytes((start + i * 7 + i // 251) % 256 for i in range(ms * per_ms))


class Line:
    """A pacer with a carrier behind it that plays in order, and a driver that polls when the pacer asks for it.

    Attributes:
        delay_ms: the carrier answers a checkpoint this long after it was played; None: it never does.
    """

    def __init__(self, pacer: Pacer, *, per_ms: int = MS, delay_ms: int | None = 20) -> None:
        self.pacer, self.per_ms, self.delay_ms = pacer, per_ms, delay_ms
        self.now = 0
        self.sent: list[tuple[int, PlayAudio | Checkpoint]] = []
        self.events: list[tuple[int, SegmentSent | SegmentHeard]] = []
        self.queue: list[tuple[float, bytes]] = []  # (start, audio) at the carrier
        self.acks: list[tuple[float, str]] = []
        self.free_at = 0.0
        self.most_unheard_ms = 0.0

    def played(self, until: float) -> bytes:
        parts = [audio[: max(0, round((until - start) * self.per_ms))] for start, audio in self.queue]
        return b"".join(parts)

    def poll(self) -> PacerOutput:
        out = self.pacer.poll(self.now)
        for item in out.send:
            self.sent.append((self.now, item))
            if isinstance(item, PlayAudio):
                start = max(self.free_at, float(self.now))
                self.queue.append((start, item.audio))
                self.free_at = start + len(item.audio) / self.per_ms
                self.most_unheard_ms = max(self.most_unheard_ms, self.free_at - self.now)
            elif self.delay_ms is not None:
                self.acks.append((max(self.free_at, self.now) + self.delay_ms, item.name))
        self.events += [(self.now, event) for event in out.events]
        after = self.pacer.next_poll_ms
        assert after is None or after > self.now, "a driver would poll in a busy loop"
        return out

    def run(self, until_ms: int) -> None:
        self.poll()
        while True:
            times = [until_ms]
            if (wake := self.pacer.next_poll_ms) is not None:
                times.append(max(wake, self.now))
            if self.acks:
                times.append(int(-(-self.acks[0][0] // 1)))
            self.now = min(times)
            while self.acks and self.acks[0][0] <= self.now:
                self.pacer.acknowledge(self.acks.pop(0)[1], self.now)
            self.poll()
            if self.now >= until_ms:
                return

    def clear(self) -> None:
        kept = [(start, audio[: max(0, round((self.now - start) * self.per_ms))]) for start, audio in self.queue]
        self.queue = [(start, audio) for start, audio in kept if audio]
        self.acks = [(when, name) for when, name in self.acks if when - (self.delay_ms or 0) <= self.now]
        self.free_at = float(self.now)

    def pause(self) -> VoicePaused:
        if self.pacer.at_carrier(self.now):
            self.clear()
        return self.pacer.pause(self.now)

    def audio_sent(self) -> bytes:
        return b"".join(item.audio for _, item in self.sent if isinstance(item, PlayAudio))

    def heard_segments(self) -> list[tuple[int, int, int]]:
        return [(at, e.generation, e.segment) for at, e in self.events if isinstance(e, SegmentHeard)]


def say(pacer: Pacer, generation: int, *segments: bytes, release: bool = True) -> None:
    for number, audio in enumerate(segments):
        pacer.add(generation, number, audio)
        pacer.complete(generation, number)
    pacer.finish(generation)
    if release:
        pacer.release(generation)


def test_the_first_poll_fills_the_lead_and_later_pieces_follow_an_absolute_clock() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(2000))
    line.run(5000)
    audio = [(at, item.plays_at_ms) for at, item in line.sent if isinstance(item, PlayAudio)]
    assert audio[:3] == [(0, 0), (0, 200), (0, 400)]
    assert audio[3:] == [(t, t + 400) for t in range(200, 1600, 200)]
    assert line.audio_sent() == tone(2000)
    assert line.heard_segments() == [(2020, 1, 0)]


def test_a_late_poll_does_not_move_what_follows() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(3000))
    line.run(390)
    line.now = 730  # the loop stalled; the carrier had audio until 800
    line.run(6000)
    assert [item.plays_at_ms for _, item in line.sent if isinstance(item, PlayAudio)] == list(range(0, 3000, 200))
    assert line.free_at == 3000


def test_nothing_is_sent_before_its_release() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(300), release=False)
    line.run(1000)
    assert line.sent == []
    assert line.pacer.next_poll_ms is None
    line.pacer.release(1)
    line.run(1000)
    assert [item.plays_at_ms for _, item in line.sent if isinstance(item, PlayAudio)] == [1000, 1200]


def test_a_released_generation_overtakes_a_held_one_and_is_not_overtaken_by_it() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(400), release=False)
    say(line.pacer, 2, tone(2000, 9))
    line.run(500)
    line.pacer.release(1)
    line.run(6000)
    assert line.audio_sent() == tone(2000, 9) + tone(400)
    assert [(g, s) for _, g, s in line.heard_segments()] == [(2, 0), (1, 0)]


def test_a_later_segment_waits_for_the_end_of_the_one_before() -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.release(1)
    line.pacer.add(1, 1, tone(100, 50))
    line.pacer.complete(1, 1)
    line.run(100)
    assert line.sent == []
    line.pacer.add(1, 0, tone(100))
    line.run(150)
    line.pacer.add(1, 0, tone(60, 99))
    line.pacer.complete(1, 0)
    line.pacer.finish(1)
    line.run(3000)
    assert line.audio_sent() == tone(100) + tone(60, 99) + tone(100, 50)
    kinds = [(type(item).__name__, item.segment) for _, item in line.sent]
    assert kinds == [("PlayAudio", 0), ("PlayAudio", 0), ("Checkpoint", 0), ("PlayAudio", 1), ("Checkpoint", 1)]


def test_a_voice_that_trickles_is_sent_in_whole_pieces_while_there_is_lead() -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.release(1)
    for step in range(100):  # twice as fast as real time
        line.pacer.add(1, 0, tone(40, step))
        line.run(line.now + 20)
    line.pacer.complete(1, 0)
    line.pacer.finish(1)
    line.run(10_000)
    pieces = [len(item.audio) // MS for _, item in line.sent if isinstance(item, PlayAudio)]
    assert pieces[0] == 40, "the first audio goes at once"
    assert pieces[15:-1] == [200] * len(pieces[15:-1])
    assert line.free_at == 4000, "without a gap"


def test_after_an_underrun_the_clock_starts_again_at_the_next_piece() -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.release(1)
    line.pacer.add(1, 0, tone(100))
    line.run(900)
    assert line.pacer.position(900) is None
    line.pacer.add(1, 0, tone(500, 3))
    line.pacer.complete(1, 0)
    line.pacer.finish(1)
    line.run(3000)
    assert [item.plays_at_ms for _, item in line.sent if isinstance(item, PlayAudio)] == [0, 900, 1100, 1300]
    assert [(p.plays_at_ms, len(p.audio)) for p in line.pacer.heard(3000)] == [(0, 800), (900, 4000)]


def test_a_checkpoint_never_acknowledged_counts_as_played_after_the_timeout() -> None:
    line = Line(Pacer(MULAW_8K, ack_timeout_ms=1500), delay_ms=None)
    say(line.pacer, 1, tone(400))
    line.run(10_000)
    assert line.heard_segments() == [(1900, 1, 0)]


def test_an_acknowledgement_settles_earlier_checkpoints_in_order_and_repeats_are_ignored() -> None:
    line = Line(Pacer(MULAW_8K), delay_ms=None)
    say(line.pacer, 1, tone(200), tone(200))
    line.run(420)
    first, second = (item.name for _, item in line.sent if isinstance(item, Checkpoint))
    line.pacer.acknowledge("somebody else's", 420)
    line.pacer.acknowledge(second, 420)
    line.pacer.acknowledge(second, 425)
    line.pacer.acknowledge(first, 430)
    line.run(9000)
    assert line.heard_segments() == [(420, 1, 0), (420, 1, 1)]


def test_a_segment_without_audio_is_heard_in_its_turn_and_needs_no_checkpoint() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(100), b"", tone(100, 5))
    line.run(4000)
    assert [(g, s) for _, g, s in line.heard_segments()] == [(1, 0), (1, 1), (1, 2)]
    assert [item.segment for _, item in line.sent if isinstance(item, Checkpoint)] == [0, 2]


def test_events_tell_when_each_segment_is_heard_first() -> None:
    line = Line(Pacer(MULAW_8K))
    line.now = 1000
    say(line.pacer, 3, tone(250), tone(250))
    line.run(4000)
    sent = [event for _, event in line.events if isinstance(event, SegmentSent)]
    assert sent == [SegmentSent(3, 0, 1000), SegmentSent(3, 1, 1250)]


def test_position_names_the_segment_and_the_ms_within_it() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(250), tone(500))
    line.run(100)
    assert line.pacer.position(100) == (1, 0, 100)
    line.run(300)
    assert line.pacer.position(300) == (1, 1, 50)
    line.run(2000)
    assert line.pacer.position(2000) is None


def test_a_pause_cuts_exactly_and_the_voice_resumes_at_the_interrupted_word() -> None:
    line = Line(Pacer(MULAW_8K))
    audio = tone(2000)
    line.pacer.add_words(1, 0, (WordTiming("We", 0, 300), WordTiming("open", 320, 700), WordTiming("at", 720, 900)))
    say(line.pacer, 1, audio)
    line.run(500)
    assert line.pause() == VoicePaused(1, 0, 500)
    assert line.pacer.position(500) is None
    line.run(900)
    assert line.pause() == VoicePaused(1, 0, 500), "asked twice, the answer is the same"
    line.pacer.resume(900)
    line.run(6000)
    placed = line.pacer.heard(6000)
    assert [(p.plays_at_ms, p.audio) for p in placed] == [(0, audio[: 500 * MS]), (900, audio[320 * MS :])]
    assert line.played(6000) == audio[: 500 * MS] + audio[320 * MS :]
    assert len(line.heard_segments()) == 1


@pytest.mark.parametrize(
    ("words", "paused_at", "resumes_at"),
    [
        ((), 500, 300),
        ((), 120, 0),
        ((WordTiming("Good", 0, 400),), 500, 400),
        ((WordTiming("Good", 0, 400), WordTiming("day", 450, 900)), 430, 400),
        ((WordTiming("Good", 0, 400), WordTiming("day", 450, 900)), 450, 450),
        ((WordTiming("Good", 0, 200),), 900, 700),
    ],
)
def test_the_place_of_resumption(words: tuple[WordTiming, ...], paused_at: int, resumes_at: int) -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.add_words(1, 0, words)
    say(line.pacer, 1, tone(1500))
    line.run(paused_at)
    line.pause()
    line.pacer.resume(paused_at)
    line.run(paused_at + 10)
    assert line.pacer.position(paused_at + 10) == (1, 0, resumes_at + 10)


def test_a_pause_takes_back_later_segments_too_and_they_play_once() -> None:
    line = Line(Pacer(MULAW_8K))
    a, b, c = tone(100), tone(150, 80), tone(300, 160)
    say(line.pacer, 1, a, b, c)
    line.run(40)
    assert line.pause() == VoicePaused(1, 0, 40)
    line.pacer.resume(40)
    line.run(5000)
    assert line.played(5000) == a[: 40 * MS] + a + b + c
    assert [(g, s) for _, g, s in line.heard_segments()] == [(1, 0), (1, 1), (1, 2)]
    assert [e for _, e in line.events if isinstance(e, SegmentSent)][-2:] == [
        SegmentSent(1, 1, 140),
        SegmentSent(1, 2, 290),
    ]


def test_a_pause_while_the_voice_is_late_holds_what_is_to_come() -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.release(4)
    line.run(100)
    assert line.pause() == VoicePaused(4, 0, 0)
    say(line.pacer, 4, tone(300))
    line.run(600)
    assert line.sent == []
    line.pacer.resume(600)
    line.run(3000)
    assert line.audio_sent() == tone(300)


def test_a_finished_generation_waits_for_the_audio_of_an_announced_segment() -> None:
    line = Line(Pacer(MULAW_8K))
    line.pacer.release(1)
    line.pacer.add_words(1, 0, ())
    line.pacer.finish(1)
    say(line.pacer, 2, tone(300, 50))
    line.run(200)
    assert line.sent == [], "the next generation does not overtake it"
    assert line.pause() == VoicePaused(1, 0, 0), "and a pause holds it"
    line.pacer.add(1, 0, tone(300))
    line.pacer.complete(1, 0)
    line.run(400)
    assert line.sent == []
    line.pacer.resume(400)
    line.run(5000)
    assert line.audio_sent() == tone(300) + tone(300, 50)


def test_a_pause_with_nothing_to_play_holds_nothing() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(100))
    line.run(1000)
    assert not line.pacer.at_carrier(1000)
    assert line.pause() == VoicePaused(0, 0, 0)
    say(line.pacer, 2, tone(100))
    line.run(1100)
    assert len(line.audio_sent()) == 200 * MS


def test_dropping_the_paused_generation_lets_the_next_one_play() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(1000))
    line.run(500)
    line.pause()
    assert line.pacer.drop(1, 600) is None
    line.pacer.add(1, 0, tone(100))  # late audio of the cancelled reply
    line.pacer.complete(1, 0)
    say(line.pacer, 2, tone(300, 77))
    line.run(4000)
    assert line.played(4000) == tone(1000)[: 500 * MS] + tone(300, 77)
    assert [(g, s) for _, g, s in line.heard_segments()] == [(2, 0)]


def test_dropping_what_plays_says_where_it_stopped() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(1000))
    line.run(330)
    assert line.pacer.drop(1, 330) == VoicePaused(1, 0, 330)
    line.clear()
    line.run(4000)
    assert line.heard_segments() == []
    assert [len(p.audio) for p in line.pacer.heard(4000)] == [330 * MS]
    assert line.pacer.next_poll_ms is None


def test_dropping_audio_queued_at_the_carrier_sends_the_rest_of_the_playing_one_again() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(500))
    say(line.pacer, 2, tone(500, 50))
    line.run(350)
    assert line.pacer.drop(2, 350) == VoicePaused(2, 0, 0)
    line.clear()
    line.run(4000)
    assert line.played(4000) == tone(500)
    assert [(g, s) for _, g, s in line.heard_segments()] == [(1, 0)]


def test_dropping_a_held_generation_leaves_the_playing_one_alone() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, tone(500))
    say(line.pacer, 2, tone(500, 50), release=False)
    line.run(100)
    assert line.pacer.drop(2, 100) is None
    assert line.pacer.drop(99, 100) is None
    line.run(3000)
    assert line.played(3000) == tone(500)


def test_dropping_a_heard_generation_whose_acknowledgement_is_open_does_not_touch_the_next() -> None:
    line = Line(Pacer(MULAW_8K), delay_ms=None)
    say(line.pacer, 1, tone(300))
    say(line.pacer, 2, tone(300, 50))
    line.run(400)
    assert line.pacer.drop(1, 400) is None
    assert line.pacer.position(400) == (2, 0, 100)
    line.run(400)
    assert line.heard_segments() == [(400, 1, 0)]
    line.run(3000)
    assert line.played(3000) == tone(300) + tone(300, 50)


def test_an_acknowledgement_after_clear_for_an_older_name_is_ignored() -> None:
    line = Line(Pacer(MULAW_8K), delay_ms=None)
    say(line.pacer, 1, tone(300))
    line.run(100)
    old = next(item.name for _, item in line.sent if isinstance(item, Checkpoint))
    line.pause()
    line.pacer.resume(100)
    line.run(150)
    line.pacer.acknowledge(old, 150)
    line.run(200)
    assert line.heard_segments() == []


def test_a_late_acknowledgement_moves_the_clock_and_one_in_time_moves_it_back() -> None:
    pacer = Pacer(MULAW_8K)
    say(pacer, 1, tone(200), tone(200), tone(600), tone(3000))

    def poll(now: int) -> list[int]:
        sent = pacer.poll(now).send
        names.extend(item.name for item in sent if isinstance(item, Checkpoint))
        return [item.plays_at_ms for item in sent if isinstance(item, PlayAudio)]

    names: list[str] = []
    assert poll(0) == [0, 200, 400]
    assert poll(200) == [600]
    pacer.acknowledge(names[0], 220)  # the round trip takes 20 ms
    assert pacer.position(600) == (1, 2, 200)
    pacer.acknowledge(names[1], 720)  # 300 ms late
    assert pacer.position(720) == (1, 2, 20)
    assert poll(720) == [1100]
    assert poll(900) == [1300]
    pacer.acknowledge(names[2], 1020)  # in time after all
    assert pacer.position(1020) == (1, 3, 20)
    assert poll(1020) == [1200, 1400]


def test_an_acknowledgement_does_not_pull_audio_to_before_it_was_sent() -> None:
    pacer = Pacer(MULAW_8K)
    pacer.release(1)
    pacer.add(1, 0, tone(200))
    pacer.complete(1, 0)
    name = next(item.name for item in pacer.poll(0).send if isinstance(item, Checkpoint))
    pacer.add(1, 1, tone(500, 9))
    pacer.poll(500)  # after a gap
    pacer.acknowledge(name, 600)
    assert pacer.position(600) == (1, 1, 100)


def test_a_false_early_acknowledgement_does_not_make_the_pacer_burst() -> None:
    line = Line(Pacer(MULAW_8K))
    say(line.pacer, 1, *[tone(200)] * 20)
    while line.now < 3000:
        for item in line.poll().send:
            if isinstance(item, Checkpoint):
                line.pacer.acknowledge(item.name, line.now)  # played, it claims, before it can have been
        line.now += 20
    assert line.most_unheard_ms <= 600


def test_audio_after_the_end_of_a_segment_is_refused() -> None:
    pacer = Pacer(MULAW_8K)
    pacer.complete(1, 0)
    with pytest.raises(ValueError, match="after the end of segment 0"):
        pacer.add(1, 0, b"\x00")


def test_a_rate_that_is_not_whole_samples_per_ms_is_refused() -> None:
    with pytest.raises(ValueError, match="11025"):
        Pacer(AudioFormat("l16", 11025))


def test_odd_bytes_of_l16_never_split_a_sample() -> None:
    line = Line(Pacer(L16_8K), per_ms=16)
    audio = tone(50, per_ms=16)
    line.pacer.release(1)
    for start in range(0, len(audio), 33):
        line.pacer.add(1, 0, audio[start : start + 33])
        line.run(line.now + 1)
        assert all(len(i.audio) % 2 == 0 for _, i in line.sent if isinstance(i, PlayAudio))
    line.pacer.complete(1, 0)
    line.run(2000)
    assert line.audio_sent() == audio


def test_without_placements_nothing_is_kept() -> None:
    line = Line(Pacer(MULAW_8K, placements=False))
    say(line.pacer, 1, tone(1000))
    line.run(5000)
    assert line.pacer.heard(5000) == []
    assert len(line.pacer._playback._items) == 0


class Story:
    """A speaker that does anything in any order, and remembers what it gave."""

    def __init__(self, fmt: AudioFormat, delay_ms: int | None) -> None:
        self.line = Line(Pacer(fmt), per_ms=fmt.bytes_per_ms, delay_ms=delay_ms)
        self.pacer = self.line.pacer
        self.given: dict[tuple[int, int], bytes] = {}
        self.generation, self.segment, self.seed = 1, 0, 0
        self.interrupted = False
        self.pacer.release(1)

    def run(self, ms: int) -> None:
        self.line.run(self.line.now + ms)

    def stall(self, ms: int) -> None:
        self.line.now += ms

    def add(self, ms: int) -> None:
        self.seed += ms
        audio = tone(ms, self.seed, self.line.per_ms)
        key = (self.generation, self.segment)
        self.given[key] = self.given.get(key, b"") + audio
        self.pacer.add(*key, audio)

    def complete(self) -> None:
        self.pacer.complete(self.generation, self.segment)
        self.segment += 1

    def following(self) -> None:
        self.pacer.complete(self.generation, self.segment)
        self.pacer.finish(self.generation)
        self.generation, self.segment = self.generation + 1, 0
        self.pacer.release(self.generation)

    def pause(self) -> None:
        self.interrupted = True
        self.line.pause()

    def resume(self) -> None:
        self.pacer.resume(self.line.now)

    def drop(self, back: int) -> None:
        self.interrupted = True
        generation = max(1, self.generation - back)
        stopped = self.pacer.drop(generation, self.line.now)
        if stopped is not None:
            assert stopped.generation == generation
            self.line.clear()
        if back == 0:
            self.generation, self.segment = self.generation + 1, 0
            self.pacer.release(self.generation)

    def sent_of_each_segment(self) -> dict[tuple[int, int], int]:
        """Bytes up to which each segment was sent; fails where a byte was sent twice without an interruption."""
        reached: dict[tuple[int, int], int] = {}
        for _, item in self.line.sent:
            if isinstance(item, PlayAudio):
                key = (item.generation, item.segment)
                at = reached.get(key, 0)
                if self.given[key][at : at + len(item.audio)] != item.audio:
                    assert self.interrupted, "not what follows"
                    at = self.given[key].find(item.audio)
                    assert at >= 0, "not of this segment"
                reached[key] = at + len(item.audio)
        return reached


COMMANDS = st.one_of(
    st.tuples(st.just("run"), st.integers(0, 900)),
    st.tuples(st.just("stall"), st.integers(0, 390)),
    st.tuples(st.just("add"), st.integers(1, 700)),
    st.tuples(st.just("drop"), st.integers(0, 2)),
    st.sampled_from([("complete",), ("following",), ("pause",), ("resume",)]),
)


@settings(max_examples=300)
@given(
    commands=st.lists(COMMANDS, max_size=40),
    fmt=st.sampled_from([MULAW_8K, L16_8K]),
    delay=st.one_of(st.none(), st.integers(0, 200)),
)
def test_whatever_happens_the_caller_hears_what_was_placed_in_order_and_once(
    commands: list[tuple[str, int]], fmt: AudioFormat, delay: int | None
) -> None:
    story = Story(fmt, delay)
    for name, *numbers in commands:
        getattr(story, name)(*numbers)
    story.following()
    story.resume()
    story.pacer.finish(story.generation)
    story.run(60_000)

    line, pacer = story.line, story.pacer
    assert line.most_unheard_ms <= 600
    assert pacer.next_poll_ms is None, "all was played and settled"
    placed = pacer.heard(line.now)
    assert b"".join(p.audio for p in placed) == line.played(line.now)
    assert {p.plays_at_ms for p in placed} <= {int(start) for start, _ in line.queue}
    heard = [(g, s) for _, g, s in line.heard_segments()]
    assert heard == sorted(set(heard)), "each segment once, in order"
    reached = story.sent_of_each_segment()
    for key in heard:
        assert reached.get(key, 0) == len(story.given.get(key, b"")), "heard to its end"
