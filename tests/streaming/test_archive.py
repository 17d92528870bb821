"""Recordings between the stream and Storage: kept when the call is over, never before, whatever crashed meanwhile."""

import asyncio
import contextlib
import datetime
import errno
import fcntl
import io
import os
import wave
from pathlib import Path

import pytest
from django.db import Error, OperationalError

from agents.providers.base import MULAW_8K
from streaming import archive as archive_module
from streaming.archive import Archive
from streaming.audio.recording_files import HEADER
from streaming.audio.recording_wav import Take
from tests.factories import CallFactory
from tests.streaming.fakes import FakeVault, now, tone, until

pytestmark = pytest.mark.db


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "LOOK_EVERY_S", 0.05)


async def opened(folder: Path, vault: FakeVault) -> Archive:
    archive = Archive(folder=folder, clock=now, vault=vault)
    await archive.open()
    return archive


def record(archive: Archive, ms: int, call_id: int = 7) -> archive_module.LiveRecording:
    recording = archive.begin(call_id=call_id, fmt=MULAW_8K)
    speak(recording, ms)
    return recording


def speak(recording: archive_module.LiveRecording, ms: int) -> None:
    audio = tone(ms)
    for at in range(0, len(audio), 160):
        recording.caller(audio[at : at + 160], timestamp=None, chunk=None, now_ms=at // 8)


async def test_a_call_that_may_go_on_is_kept_only_when_it_is_over(tmp_path: Path, vault: FakeVault) -> None:
    archive = await opened(tmp_path, vault)
    record(archive, 400).leave()
    await asyncio.sleep(0.3)
    assert vault.kept == {}
    vault.ended.add(7)
    await until(lambda: 7 in vault.kept)
    take, data = vault.kept[7]
    assert (take.duration_ms, take.repaired, take.error) == (400, False, "")
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() == 3200
    await until(lambda: not (tmp_path / "7").exists())
    await archive.close()
    assert vault.opened == [7]


async def test_what_was_said_while_a_stream_waited_for_its_session_stands_where_it_was_said(
    tmp_path: Path, vault: FakeVault
) -> None:
    at = [now()]
    archive = Archive(folder=tmp_path, clock=lambda: at[0], vault=vault)
    await archive.open()
    record(archive, 400).leave()
    at[0] += datetime.timedelta(seconds=5)
    second = archive.begin(call_id=7, fmt=MULAW_8K, waited_s=2.0)
    speak(second, 2400)
    second.leave()
    await asyncio.sleep(0.2)  # both are written before the call is over
    vault.ended.add(7)
    await until(lambda: 7 in vault.kept)
    assert vault.kept[7][0].duration_ms == 3000 + 2400
    await archive.close()


async def test_a_recording_in_use_is_left_alone(tmp_path: Path, vault: FakeVault) -> None:
    archive = await opened(tmp_path, vault)
    recording = record(archive, 400)
    vault.ended.add(7)
    await asyncio.sleep(0.3)
    assert vault.kept == {}
    recording.leave()
    await until(lambda: 7 in vault.kept)
    await archive.close()


async def test_another_process_on_the_host_keeps_its_hands_off(tmp_path: Path, vault: FakeVault) -> None:
    archive = await opened(tmp_path, vault)
    record(archive, 400).leave()
    await asyncio.sleep(0.1)
    theirs = os.open(tmp_path / "7", os.O_RDONLY)
    fcntl.flock(theirs, fcntl.LOCK_SH)
    vault.ended.add(7)
    await asyncio.sleep(0.2)
    assert vault.kept == {}
    os.close(theirs)
    await until(lambda: 7 in vault.kept)
    await archive.close()


async def test_what_a_crash_has_left_is_repaired_by_the_next_process(tmp_path: Path, vault: FakeVault) -> None:
    crashed = await opened(tmp_path, vault)
    record(crashed, 600)
    await crashed._written()
    forget(crashed)
    vault.ended.add(7)
    following = await opened(tmp_path, vault)
    await until(lambda: 7 in vault.kept)
    take, _ = vault.kept[7]
    assert take.repaired
    assert take.duration_ms >= 500
    await following.close()
    await crashed.close()


async def test_a_store_that_fails_is_tried_again(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "TRY_AGAIN_S", 0.1)
    kept = vault.keep
    failures: list[Exception] = [OSError("no room"), ValueError("a fault of ours"), Error("no database")]

    def keep(call_id: int, take: Take) -> None:
        if failures:
            raise failures.pop()
        kept(call_id, take)

    vault.keep = keep
    vault.ended.add(7)
    archive = await opened(tmp_path, vault)
    record(archive, 200).leave()
    await until(lambda: 7 in vault.kept)
    await archive.close()


async def test_a_recording_without_a_sound_says_so(tmp_path: Path, vault: FakeVault) -> None:
    vault.ended.add(7)
    archive = await opened(tmp_path, vault)
    archive.begin(call_id=7, fmt=MULAW_8K).leave()
    await until(lambda: 7 in vault.failed)
    assert "nothing was recorded" in vault.failed[7]
    await archive.close()
    assert not (tmp_path / "7").exists()


async def test_a_recording_that_broke_off_is_kept_with_the_reason(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await opened(tmp_path, vault)
    recording = record(archive, 1000)
    await archive._written()
    monkeypatch.setattr(os, "pwrite", full)
    speak(recording, 1000)
    await until(lambda: 7 in vault.failed)
    assert "No space left on device" in vault.failed[7]
    assert vault.held[7], "there is something to come"
    assert vault.kept == {}
    recording.leave()
    vault.ended.add(7)
    await until(lambda: 7 in vault.kept)
    take, _ = vault.kept[7]
    assert "No space left on device" in take.error
    assert take.duration_ms >= 1000
    await archive.close()


async def test_why_a_recording_broke_off_survives_the_process(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashed = await opened(tmp_path, vault)
    recording = record(crashed, 1000)
    await crashed._written()
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        speak(recording, 1000)
        await crashed._written()
    forget(crashed)
    vault.ended.add(7)
    following = await opened(tmp_path, vault)
    await until(lambda: 7 in vault.kept)
    assert "No space left on device" in vault.kept[7][0].error
    await following.close()
    await crashed.close()


@pytest.mark.parametrize("refused", ["mkdir", "fsync"])
async def test_a_folder_that_cannot_be_made_is_told_while_the_call_goes_on(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    archive = await opened(tmp_path, vault)
    with monkeypatch.context() as patched:
        patched.setattr(os, refused, full)
        recording = record(archive, 1000)
        await until(lambda: 7 in vault.failed)
    assert "No space left on device" in vault.failed[7]
    assert not vault.held[7]
    assert vault.opened == [7], "noted first, or the failure would be overwritten"
    speak(recording, 1000)  # harmless
    recording.leave()
    record(archive, 400, call_id=8).leave()
    vault.ended |= {7, 8}
    await until(lambda: 8 in vault.kept)
    await archive.close()
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - the event loop of a test may wait


async def test_a_failure_that_the_database_does_not_take_is_told_again(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await opened(tmp_path, vault)
    told = vault.fail
    down = [Error("no database")]

    def fail(call_id: int, *, host: str, error: str, held: bool) -> None:
        if down:
            raise down.pop()
        told(call_id, host=host, error=error, held=held)

    vault.fail = fail
    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", full)
        record(archive, 100)
        await until(lambda: 7 in vault.failed)
    assert not down
    await archive.close()


async def test_a_folder_that_cannot_be_deleted_is_stored_once(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "TRY_AGAIN_S", 0.05)
    kept = vault.keep
    stored: list[int] = []

    def keep(call_id: int, take: Take) -> None:
        stored.append(call_id)
        kept(call_id, take)

    vault.keep = keep
    vault.ended.add(7)
    archive = await opened(tmp_path, vault)
    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "discard", full)
        record(archive, 400).leave()
        await until(lambda: stored)
        await asyncio.sleep(0.5)
    await until(lambda: not (tmp_path / "7").exists())
    assert stored == [7]
    await archive.close()


async def test_a_failure_that_the_database_did_not_take_is_told_again(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell, tries = vault.fail, []

    def fail(call_id: int, **what) -> None:
        tries.append(call_id)
        if len(tries) == 1:
            raise OperationalError("the database is away")
        tell(call_id, **what)

    vault.fail = fail
    archive = await opened(tmp_path, vault)
    with monkeypatch.context() as patched:
        patched.setattr(os, "mkdir", full)
        record(archive, 400)
        await until(lambda: 7 in vault.failed)
    assert tries == [7, 7]
    await archive.close()


async def test_of_two_streams_of_a_call_the_second_keeps_its_folder_when_the_first_leaves(
    tmp_path: Path, vault: FakeVault
) -> None:
    archive = await opened(tmp_path, vault)
    first = record(archive, 400)
    second = record(archive, 400)
    vault.ended.add(7)
    first.leave()
    await asyncio.sleep(0.3)
    assert vault.kept == {}
    second.leave()
    await until(lambda: 7 in vault.kept)
    await archive.close()


async def test_a_call_whose_end_nobody_learned_of_is_kept_after_a_day(tmp_path: Path, vault: FakeVault) -> None:
    archive = await opened(tmp_path, vault)
    record(archive, 400).leave()
    await archive._written()
    header = tmp_path / "7" / HEADER
    os.utime(header, (now().timestamp() - archive_module.GIVEN_UP_S + 60,) * 2)
    await asyncio.sleep(0.3)
    assert vault.kept == {}
    os.utime(header, (now().timestamp() - archive_module.GIVEN_UP_S - 60,) * 2)
    await until(lambda: 7 in vault.kept)
    await archive.close()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def forget(archive: Archive) -> None:
    """What a dead process no longer holds or knows."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if descriptor.readlink().parent == archive._folder:
                os.close(int(descriptor.name))
    archive._untold.clear()


@pytest.mark.django_db
def test_one_query_tells_which_of_all_calls_are_over(django_assert_num_queries) -> None:
    live = CallFactory(status="answered", stream_ended_at=None)
    ended = CallFactory(status="ended", stream_ended_at=None)
    left = CallFactory(status="answered", stream_ended_at=now())
    gone = left.pk + 1000
    with django_assert_num_queries(1):
        over = archive_module.CallsVault().over([live.pk, ended.pk, left.pk, gone])
    assert over == {ended.pk, left.pk, gone}


async def test_a_database_that_does_not_answer_ends_neither_the_archive_nor_its_closing(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = await opened(tmp_path, vault)
    record(archive, 400).leave()
    down = True

    def over(call_ids):
        if down:
            raise OperationalError("down")
        return set(call_ids)

    monkeypatch.setattr(vault, "over", over)
    await asyncio.sleep(0.2)
    assert vault.kept == {}
    down = False
    await until(lambda: 7 in vault.kept)
    record(archive, 400, call_id=8).leave()
    down = True
    await archive.close()
    assert (tmp_path / "8").exists()
