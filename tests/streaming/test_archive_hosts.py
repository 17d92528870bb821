"""A call that went on at another stream host: whoever stores its part, whenever, the file holds all there is."""

import datetime
import itertools
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from agents.providers.base import L16_8K, MULAW_8K, AudioFormat
from calls.models import Call, Recording
from streaming.archive import Archive, CallsVault
from streaming.audio import codecs
from streaming.audio.recorder import Recorder

pytestmark = pytest.mark.db

BEGAN = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
A, B, AGENT = 0x10, 0x20, 0x30


def value(code: int) -> int:
    return int(codecs.mulaw_to_samples(bytes([code]))[0])


class Host:
    """A stream host: its folder, and what it does once a call is over."""

    def __init__(self, root: Path, name: str) -> None:
        self.folder = root / name
        self.name = name
        self.archive = Archive(folder=self.folder, clock=lambda: BEGAN, vault=CallsVault(), host=name)

    def records(self, call: Call, *, begin_ms: int, ms: int, code: int, fmt: AudioFormat = MULAW_8K) -> None:
        """A stream of the call: the caller speaks all the time, the agent in its last 100 ms."""
        CallsVault().open(call_id=call.pk, host=self.name, rate=fmt.rate)
        recorder = Recorder(self.folder, host=self.name)
        recording = recorder.open(str(call.pk), fmt, wall_ms=round(BEGAN.timestamp() * 1000) + begin_ms)
        for chunk in range(1, ms // 20 + 1):
            now_ms = begin_ms + chunk * 20
            recording.caller(self._audio(code, 20, fmt), chunk, chunk * 20, now_ms=now_ms)
        recording.agent(begin_ms + ms - 100, self._audio(AGENT, 100, fmt))
        recording.leave()
        assert recorder.close()

    def _audio(self, code: int, ms: int, fmt: AudioFormat) -> bytes:
        audio = bytes([code]) * 8 * ms
        return audio if fmt == MULAW_8K else codecs.mulaw_to_l16(audio)

    def stores(self) -> None:
        self.archive.settle()
        assert list(self.folder.iterdir()) == []


@pytest.fixture
def call(db: None) -> Call:
    return Call.objects.create(direction="inbound", status="ended", live_at=BEGAN, stream_ended_at=BEGAN)


@pytest.fixture
def hosts(tmp_path: Path, call: Call) -> Iterator[tuple[Host, Host]]:
    """Host a carried the first second and the fourth, host b the third."""
    a, b = Host(tmp_path, "a"), Host(tmp_path, "b")
    a.records(call, begin_ms=0, ms=1000, code=A)
    b.records(call, begin_ms=2000, ms=1000, code=B)
    a.records(call, begin_ms=3000, ms=1000, code=A)
    return a, b


def heard() -> np.ndarray:
    """The stored file as channels of milliseconds: the value where it is the same for all of one, else 1."""
    row = Recording.objects.get()
    with row.file.open("rb") as file, wave.open(file) as wav:
        stereo = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").reshape(-1, 8, 2)
        assert row.duration_ms == wav.getnframes() // 8 == len(stereo)
    return np.where((stereo == stereo[:, :1]).all(axis=1), stereo[:, 0], 1).T


def stretches(channel: np.ndarray) -> list[tuple[int, int]]:
    """(value, ms) in a row."""
    return [(int(each), len(list(group))) for each, group in itertools.groupby(channel)]


WHOLE_CALLER = [(value(A), 1000), (0, 1000), (value(B), 1000), (value(A), 1000)]
WHOLE_AGENT = [(0, 900), (value(AGENT), 100), (0, 1900), (value(AGENT), 100), (0, 900), (value(AGENT), 100)]


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_hosts_of_a_call_make_one_recording_in_either_order(hosts: tuple[Host, Host], order: str) -> None:
    by_name = {host.name: host for host in hosts}
    for name in order:
        by_name[name].stores()
    caller, agent = heard()
    assert stretches(caller) == WHOLE_CALLER
    assert stretches(agent) == WHOLE_AGENT
    row = Recording.objects.get()
    assert (row.status, row.error, row.repaired) == ("ready", "", False)
    assert len(row.file.storage.listdir(row.file.name.rsplit("/", 1)[0])[1]) == 1, "the earlier file is gone"


def test_until_the_other_host_is_back_what_there_is_can_be_heard_in_its_place(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    b.stores()
    caller, _ = heard()
    assert stretches(caller) == [(0, 2000), (value(B), 1000)]
    row = Recording.objects.get()
    assert row.status == "ready"
    assert row.error == "Stream host a still holds a part, which is added when it is back."
    a.stores()
    assert Recording.objects.get().error == ""
    assert stretches(heard()[0]) == WHOLE_CALLER


def test_a_host_that_comes_back_after_the_sweeper_gave_up_still_adds_its_part(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    Recording.objects.update(status="failed", error="The stream host has not come back.")
    a.stores()
    b.stores()
    row = Recording.objects.get()
    assert (row.status, row.error) == ("ready", "")
    assert stretches(heard()[0]) == WHOLE_CALLER


def test_a_part_that_is_stored_twice_changes_nothing(hosts: tuple[Host, Host]) -> None:
    a, b = hosts
    shutil.copytree(a.folder, a.folder.with_name("copy"))
    a.stores()
    b.stores()
    once = Recording.objects.get()
    again = a.folder.with_name("copy") / str(once.call_id)  # as if the host had died before deleting it
    again.rename(a.folder / again.name)
    a.stores()
    twice = Recording.objects.get()
    assert (twice.sha256, twice.duration_ms, twice.peaks) == (once.sha256, once.duration_ms, once.peaks)


def test_a_second_host_may_have_another_codec(tmp_path: Path, call: Call) -> None:
    a, b = Host(tmp_path, "a"), Host(tmp_path, "b")
    a.records(call, begin_ms=0, ms=1000, code=A)
    b.records(call, begin_ms=1000, ms=1000, code=B, fmt=L16_8K)
    b.stores()
    a.stores()
    assert stretches(heard()[0]) == [(value(A), 1000), (value(B), 1000)]


def test_a_host_whose_clock_is_behind_loses_nothing(tmp_path: Path, call: Call) -> None:
    a = Host(tmp_path, "a")
    a.records(call, begin_ms=-400, ms=1000, code=A)
    a.stores()
    assert stretches(heard()[0]) == [(value(A), 1000)]


def test_of_a_call_that_is_gone_nothing_stays_on_the_host(hosts: tuple[Host, Host]) -> None:
    Call.objects.all().delete()
    for host in hosts:
        host.stores()
    assert not Recording.objects.exists()


def test_one_folder_that_cannot_be_stored_does_not_keep_the_others(hosts: tuple[Host, Host], call: Call) -> None:
    a, _ = hosts
    stray = a.folder / "0-not-ours"
    shutil.copytree(a.folder / str(call.pk), stray)
    a.archive.settle()
    assert list(a.folder.iterdir()) == [stray]
    assert Recording.objects.get().status == "ready"
