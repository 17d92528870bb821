"""Recordings between the stream and Storage: kept when the call is over, never before, whatever crashed meanwhile."""

import asyncio
import fcntl
import io
import os
import wave
from pathlib import Path

import pytest

from agents.providers.base import MULAW_8K
from streaming import archive as archive_module
from streaming.archive import Archive
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
    audio = tone(ms)
    for chunk, at in enumerate(range(0, len(audio), 160), start=1):
        recording.caller(audio[at : at + 160], timestamp=chunk * 20, chunk=chunk, now_ms=chunk * 20)
    return recording


async def test_a_call_that_may_go_on_is_kept_only_when_it_is_over(tmp_path: Path, vault: FakeVault) -> None:
    archive = await opened(tmp_path, vault)
    record(archive, 400).leave()
    await asyncio.sleep(0.3)
    assert vault.kept == {}
    vault.ended.add(7)
    await until(lambda: 7 in vault.kept)
    finished, data = vault.kept[7]
    assert (finished.duration_ms, finished.repaired, finished.channels) == (400, False, 2)
    with wave.open(io.BytesIO(data)) as file:
        assert file.getnframes() == 3200
    await until(lambda: not (tmp_path / "7").exists())
    await archive.close()
    assert vault.opened == [7]


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
    theirs = os.open(tmp_path / "7" / archive_module.OWNER, os.O_RDWR)
    fcntl.flock(theirs, fcntl.LOCK_EX)
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
    (lock,) = crashed._locks.values()
    os.close(lock)  # as the kernel does for a dead process
    crashed._locks.clear()
    vault.ended.add(7)
    following = await opened(tmp_path, vault)
    await until(lambda: 7 in vault.kept)
    finished, _ = vault.kept[7]
    assert finished.repaired
    assert finished.duration_ms >= 500
    await following.close()
    await crashed.close()


async def test_a_store_that_fails_is_tried_again(
    tmp_path: Path, vault: FakeVault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "TRY_AGAIN_S", 0.1)
    kept = vault.keep
    failures = [OSError("no room")]

    def keep(call_id: int, finished: object) -> None:
        if failures:
            raise failures.pop()
        kept(call_id, finished)

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
