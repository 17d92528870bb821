"""Recordings on a real disk: what goes in comes out in its place, and failures harm nothing."""

import errno
import io
import os
import subprocess
import sys
import threading
import wave
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest

from agents.providers.base import L16_8K, L16_16K, MULAW_8K, AudioFormat
from streaming.audio import codecs, recording_files, recording_wav
from streaming.audio.recorder import Recorder, Recording
from streaming.audio.recording_clock import SLACK_MS
from streaming.audio.recording_files import Mark, RecordingError, discard, left_behind, why_broken
from streaming.audio.recording_wav import Take

pytestmark = pytest.mark.pure

FRAME = 160
CALL = "0b5c9a3e-1111-4222-8333-444455556666"


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "live")
    yield recorder
    assert recorder.close(), "the writer ends"


def loud(code: int, count: int = FRAME) -> bytes:
    return bytes([code]) * count


class Done:
    """What becomes of a folder: its WAV, read as anybody would."""

    def __init__(self, folder: Path) -> None:
        self.take = Take.of(folder)
        made = self.take.wav(None, 0)
        self.peaks = made.peaks()
        self.duration_ms = made.duration_ms
        with made.open() as file:
            self.data = file.read()
        with wave.open(io.BytesIO(self.data)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
            self.rate = file.getframerate()
            self.stereo = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def value(code: int) -> int:
    return int(codecs.mulaw_to_samples(bytes([code]))[0])


def talk(recording: Recording, first: int, last: int, code: int = 0x10) -> None:
    for chunk in range(first, last + 1):
        recording.caller(loud(code), chunk, 1_000_000 + chunk * 20, now_ms=chunk * 20)


def test_the_caller_is_left_the_agent_right_each_in_its_place(recorder: Recorder) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 20)
    recording.agent(200, loud(0x20, 800))
    talk(recording, 26, 50)  # five were lost
    done = finished(recorder, recording)
    stereo = done.stereo
    assert (done.duration_ms, done.rate, len(done.data)) == (1000, 8000, 44 + 8000 * 4)
    assert (done.take.repaired, done.take.error) == (False, "")
    left, right = stereo[:, 0], stereo[:, 1]
    assert set(left[: 20 * FRAME].tolist()) == {value(0x10)}
    assert set(left[20 * FRAME : 25 * FRAME].tolist()) == {0}
    assert set(left[25 * FRAME :].tolist()) == {value(0x10)}
    assert np.flatnonzero(right).tolist() == list(range(1600, 2400))
    assert set(right[1600:2400].tolist()) == {value(0x20)}


def test_peaks_show_where_somebody_speaks(recorder: Recorder) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    for chunk in range(1, 801):
        recording.caller(loud(0x80 if 200 < chunk <= 400 else 0xFF), chunk, None, now_ms=chunk * 20)
    done = finished(recorder, recording)
    caller, agent = done.peaks
    assert len(caller) == len(agent) == 800
    assert caller == [0.0] * 200 + [0.98] * 200 + [0.0] * 400
    assert agent == [0.0] * 800


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param([(1, 1000), (180_002, 3_601_000)], id="a gap of an hour"),
        pytest.param([(1, None), (180_002, None)], id="a number that leaps by an hour"),
        pytest.param([(None, 0), (None, 1_767_612_345_678)], id="timestamps that turn into those since 1970"),
        pytest.param([(1, 0), (1, 1_767_612_345_678)], id="a number that comes again, much later"),
    ],
)
def test_no_message_makes_a_recording_much_longer_than_the_call(
    recorder: Recorder, claims: list[tuple[int | None, int | None]]
) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    for number, (chunk, timestamp_ms) in enumerate(claims):
        recording.caller(loud(0x10), chunk, timestamp_ms, now_ms=number * 20)
    done = finished(recorder, recording)
    assert done.duration_ms <= 40 + SLACK_MS
    assert (done.stereo[:, 0] == value(0x10)).sum() == 2 * FRAME, "what was said is all there"


def test_overlapping_agent_audio_later_wins_and_nothing_shifts(recorder: Recorder) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    recording.agent(0, loud(0x20, 800))
    recording.agent(50, loud(0x30, 800))
    recording.agent(1000, loud(0x40, 8))
    right = finished(recorder, recording).stereo[:, 1]
    assert right.size == 8008
    assert right[[0, 399, 400, 1199, 1200, 7999, 8000]].tolist() == [
        value(code) for code in (0x20, 0x20, 0x30, 0x30, 0xFF, 0xFF, 0x40)
    ]


def test_audio_before_the_beginning_is_cut_off(recorder: Recorder) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    recording.caller(loud(0x10), 1, 0, now_ms=520)  # the stream began at 500 on the call's clock
    recording.agent(450, loud(0x20, 800))
    assert np.flatnonzero(finished(recorder, recording).stereo[:, 1]).tolist() == list(range(400))


@pytest.mark.parametrize("fmt", [L16_8K, L16_16K])
def test_linear_codecs_are_kept_as_they_are(recorder: Recorder, fmt: AudioFormat) -> None:
    recording = recorder.open(CALL, fmt, wall_ms=0)
    samples = np.arange(fmt.rate // 50, dtype=np.int16)
    for chunk in range(1, 4):
        recording.caller(codecs.samples_to_l16(samples + chunk * 1000), chunk, None, now_ms=chunk * 20)
    done = finished(recorder, recording)
    assert done.rate == fmt.rate
    assert done.stereo[:, 0].tolist() == np.concatenate([samples + n * 1000 for n in (1, 2, 3)]).tolist()


def test_a_resumed_stream_continues_the_same_recording_by_the_wall_clock(recorder: Recorder) -> None:
    first = recorder.open(CALL, MULAW_8K, wall_ms=50_000)
    talk(first, 1, 50)
    first.leave()
    second = recorder.open(CALL, MULAW_8K, wall_ms=53_000)
    for chunk in range(1, 51):  # numbered afresh; the call's clock goes on
        second.caller(loud(0x20), chunk, 9_000_000 + chunk * 20, now_ms=3000 + chunk * 20)
    second.agent(3500, loud(0x30))
    stereo = finished(recorder, second).stereo
    assert stereo.shape[0] == 4000 * 8
    assert set(stereo[:8000, 0].tolist()) == {value(0x10)}
    assert set(stereo[8000:24000, 0].tolist()) == {0}
    assert set(stereo[24000:, 0].tolist()) == {value(0x20)}
    assert np.flatnonzero(stereo[:, 1])[0] == 3500 * 8


def test_a_call_that_comes_back_in_another_codec_keeps_what_it_has(recorder: Recorder) -> None:
    first = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(first, 1, 10)
    first.leave()
    second = recorder.open(CALL, L16_16K, wall_ms=1000)
    done = finished(recorder, second)
    assert done.duration_ms == 200
    assert done.take.error == "the call came back in another codec"


def test_what_a_crash_left_is_put_together_and_says_so(recorder: Recorder) -> None:
    recording = recorder.open(CALL, L16_8K, wall_ms=0)
    for chunk in range(1, 101):
        recording.caller(codecs.mulaw_to_l16(loud(0x10)), chunk, None, now_ms=chunk * 20)
    recording.leave()
    assert recorder.close()
    folder = recorder.folder(CALL)
    assert left_behind(recorder.root) == [folder]
    with (folder / "caller.raw").open("r+b") as file:
        file.truncate(32_000 - 321)  # torn in the middle of a sample
    (folder / "agent.raw").unlink()
    (folder / Mark.CLOSED).rename(folder / Mark.RUNNING)
    done = Done(folder)
    assert done.take.repaired
    assert done.stereo.shape == (15_839, 2)
    assert Done(folder).data == done.data, "twice does no harm"
    discard(folder)
    discard(folder)
    assert left_behind(recorder.root) == []


def test_a_folder_without_a_usable_header_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recording in"):
        Take.of(tmp_path)
    (tmp_path / "recording.json").write_text('{"call": 7}')
    with pytest.raises(RecordingError, match="damaged"):
        Take.of(tmp_path)


def test_a_call_in_which_nothing_was_recorded_says_so(recorder: Recorder) -> None:
    with pytest.raises(RecordingError, match="nothing was recorded"):
        finished(recorder, recorder.open(CALL, MULAW_8K, wall_ms=0))


def test_a_full_disk_fails_the_recording_and_nothing_else(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    other = recorder.open("other", MULAW_8K, wall_ms=0)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    settle(recorder)
    full = os.fstat(recorder._open[recording].tracks[0]._file)
    real = os.pwrite

    def pwrite(file: int, data: bytes, at: int) -> int:
        if os.path.samestat(os.fstat(file), full):
            raise OSError(28, "No space left on device")
        return real(file, data, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    talk(recording, 1, 100)
    talk(other, 1, 100)
    settle(recorder)
    assert "No space left on device" in recording.failed
    talk(recording, 101, 200)
    with pytest.raises(RecordingError, match="No space left"):
        finished(recorder, recording)
    assert finished(recorder, other).duration_ms == 2000


def test_what_a_disk_took_before_it_was_full_is_kept_and_says_why_the_rest_is_missing(tmp_path: Path) -> None:
    # The limit is the kernel's own, so another process has to live with it: 4 s of each track, 10 s are spoken.
    script = """
import resource, sys
from pathlib import Path
from agents.providers.base import MULAW_8K
from streaming.audio.recorder import Recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (32_000, 32_000))
recorder = Recorder(Path(sys.argv[1]))
recording = recorder.open("7", MULAW_8K, wall_ms=0)
for chunk in range(1, 501):
    recording.caller(bytes([0x10]) * 160, chunk, None, now_ms=chunk * 20)
    recording.agent(chunk * 20 - 20, bytes([0x20]) * 160)
sys.exit(0 if recorder.close() else 1)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True)
    done = Done(tmp_path / "7")
    assert "File too large" in done.take.error
    assert not done.take.repaired, "no crash"
    assert 3500 <= done.duration_ms <= 4000
    assert set(done.stereo[: 3500 * 8].flatten().tolist()) == {value(0x10), value(0x20)}


def test_a_disk_without_any_room_can_still_be_told_on(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 50)
    settle(recorder)
    monkeypatch.setattr(os, "pwrite", full)
    monkeypatch.setattr(recording_files, "_write_over", full)
    talk(recording, 51, 100)
    done = finished(recorder, recording)
    assert (done.duration_ms, done.take.error) == (1000, "the disk refused the recording")


def test_a_stream_that_goes_on_after_a_failure_does_not_hide_it(recorder: Recorder) -> None:
    first = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(first, 1, 50)
    settle(recorder)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        talk(first, 51, 100)
        settle(recorder)
    first.leave()
    second = recorder.open(CALL, MULAW_8K, wall_ms=3000)
    talk(second, 1, 50, code=0x30)
    done = finished(recorder, second)
    assert done.duration_ms == 4000
    assert "No space left on device" in done.take.error


def test_a_recording_that_never_got_a_header_leaves_nothing_behind(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", full)
        recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
        settle(recorder)
    assert "No space left on device" in recording.failed
    assert list(tmp_path.iterdir()) == []
    assert recorder.close()


def test_a_stream_that_leaves_late_keeps_its_last_words(recorder: Recorder) -> None:
    first = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(first, 1, 40)  # the last 300 ms of it are still in memory
    second = recorder.open(CALL, MULAW_8K, wall_ms=2000)
    settle(recorder)
    first.leave()
    talk(second, 1, 50, code=0x30)
    left = finished(recorder, second).stereo[:, 0]
    assert set(left[: 800 * 8].tolist()) == {value(0x10)}
    assert set(left[800 * 8 : 2000 * 8].tolist()) == {0}
    assert set(left[2000 * 8 :].tolist()) == {value(0x30)}


def test_only_the_last_stream_of_a_call_closes_its_recording(recorder: Recorder) -> None:
    first, second = (recorder.open(CALL, MULAW_8K, wall_ms=0) for _ in range(2))
    talk(second, 1, 50)
    first.leave()
    settle(recorder)
    assert Done(recorder.folder(CALL)).take.repaired, "as it would be found after a crash now"
    assert not finished(recorder, second).take.repaired


def test_a_stream_that_another_process_has_displaced_leaves_the_recording_open_for_it(recorder: Recorder) -> None:
    displaced = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(displaced, 1, 50)
    settle(recorder)
    another = Recorder(recorder.root)
    successor = another.open(CALL, MULAW_8K, wall_ms=2000)
    talk(successor, 1, 50, code=0x30)
    settle(another)
    displaced.leave(goes_on=True)
    settle(recorder)
    assert Done(recorder.folder(CALL)).take.repaired, "as it would be found after a crash now"
    done = finished(another, successor)
    assert not done.take.repaired
    assert another.close()


def test_a_folder_that_cannot_be_made_fails_the_recording(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("in the way")
    recorder = Recorder(tmp_path / "live")
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 100)
    recording.leave()
    assert recorder.close()
    assert "the disk refused" in recording.failed


def test_when_the_disk_is_slow_audio_is_dropped_and_counted_but_never_shifted(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, limit_bytes=8000)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    gate = threading.Event()
    recorder.submit(lambda: gate.wait(10) and None)
    talk(recording, 1, 100)  # two seconds while one fits
    gate.set()
    settle(recorder)
    talk(recording, 101, 150, code=0x30)
    left = finished(recorder, recording).stereo[:, 0]
    assert recording.dropped_bytes == recorder.dropped_bytes == 8000
    assert why_broken(recorder.folder(CALL)) == "the disk was too slow: 1000 ms of audio are missing"
    assert set(left[:8000].tolist()) == {value(0x10)}
    assert set(left[8000:16000].tolist()) == {0}
    assert set(left[16000:].tolist()) == {value(0x30)}
    assert recorder.close()


def test_running_recordings_survive_the_end_of_the_process(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 50)
    settle(recorder)
    assert recorder.close()
    assert Done(recorder.folder(CALL)).duration_ms == 1000


def test_audio_is_on_the_disk_within_about_a_second_of_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streaming.audio.recorder.SYNC_S", 0.05)
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    recorder = Recorder(tmp_path)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 25)
    deadline = threading.Event()
    for _ in range(100):
        if synced:
            break
        deadline.wait(0.05)
    assert len(synced) == 1, "only the track that was written"
    assert (recorder.folder(CALL) / "caller.raw").stat().st_size == 25 * FRAME
    assert recorder.close()


def test_a_fault_in_one_job_does_not_end_the_thread(recorder: Recorder) -> None:
    def broken() -> None:
        message = "a fault"
        raise ZeroDivisionError(message)

    recorder.submit(broken)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    talk(recording, 1, 2)
    assert finished(recorder, recording).duration_ms == 40


def test_a_long_recording_is_put_together_block_by_block(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_wav, "_BLOCK", 1000)
    recording = recorder.open(CALL, MULAW_8K, wall_ms=0)
    audio = bytes(np.random.default_rng(1).integers(0, 256, 160 * 700, dtype=np.uint8))
    for chunk in range(700):
        recording.caller(audio[chunk * 160 : chunk * 160 + 160], chunk, None, now_ms=chunk * 20)
    recording.agent(13_000, loud(0x00, 8003))
    done = finished(recorder, recording)
    stereo = done.stereo
    assert stereo[: len(audio), 0].tolist() == codecs.mulaw_to_samples(audio).tolist()
    bucket = -(-stereo.shape[0] // 800)
    for channel in (0, 1):
        expected = [
            round(int(np.abs(stereo[n : n + bucket, channel].astype(int)).max()) / 32768, 2)
            for n in range(0, stereo.shape[0], bucket)
        ]
        assert done.peaks[channel] == expected


@pytest.mark.parametrize("name", ["", "../up", "a/b", "x" * 81])
def test_a_name_that_is_no_folder_is_refused(recorder: Recorder, name: str) -> None:
    with pytest.raises(ValueError, match="folder"):
        recorder.open(name, MULAW_8K, wall_ms=0)


def finished(recorder: Recorder, recording: Recording) -> Done:
    """What becomes of a recording whose stream is over."""
    recording.leave()
    settle(recorder)
    return Done(recorder.folder(recording.call))


def full(*_: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def settle(recorder: Recorder) -> None:
    """Waits until the writer has done all that was submitted."""
    done: Future[None] = Future()
    recorder.submit(lambda: done.set_result(None))
    done.result(10)
