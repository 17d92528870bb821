"""Parts of a call laid over each other: any order, any repetition, one WAV."""

import io
import itertools
import wave
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.providers.base import L16_8K, L16_16K, MULAW_8K, AudioFormat
from streaming.audio import codecs, recording_wav
from streaming.audio.recording_files import TRACKS, Header, TrackFile, write_header
from streaming.audio.recording_wav import JoinedWav, Stereo, StoredWav, Take

pytestmark = pytest.mark.pure


class Samples:
    """A layer in memory."""

    def __init__(self, stereo: object, rate: int = 8000) -> None:
        self.stereo = np.array(stereo, np.int16).reshape(-1, 2)
        self.length = len(self.stereo)
        self.rate = rate

    def read(self, first: int, count: int) -> Stereo:
        assert 0 <= first <= first + count <= self.length
        return self.stereo[first : first + count]


def everything(wav: JoinedWav) -> bytes:
    with wav.open() as file:
        return file.read()


def samples(data: bytes) -> np.ndarray:
    with wave.open(io.BytesIO(data)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


def joined(earlier: bytes | None, at: int, part: Samples) -> bytes:
    layers = [(at, part)] if earlier is None else [(0, StoredWav(io.BytesIO(earlier))), (at, part)]
    return everything(JoinedWav(layers))


PART = st.tuples(
    st.integers(0, 12), st.lists(st.tuples(st.integers(-32768, 32767), st.integers(-2, 2)), min_size=1, max_size=8)
)


@settings(max_examples=150)
@given(st.lists(PART, min_size=1, max_size=3), st.randoms())
def test_the_order_of_parts_and_their_repetition_change_nothing(parts: list, random: object) -> None:
    wavs = set()
    for order in itertools.permutations(parts):
        whole = None
        for at, part in [*order, order[0]]:
            whole = joined(whole, at, Samples(part))
        wavs.add(whole)
    assert len(wavs) == 1
    stereo = samples(wavs.pop())
    for at, part in parts:
        heard = np.abs(stereo[at : at + len(part)].astype(int))
        assert (heard >= np.abs(np.array(part))).all(), "nothing is quieter than in its part"


def test_silence_of_one_part_never_hides_another() -> None:
    around = Samples([(5, 6)] * 2 + [(0, 0)] * 4 + [(7, 8)] * 2)
    within = Samples([(1, -1)] * 4)
    expected = [[5, 6]] * 2 + [[1, -1]] * 4 + [[7, 8]] * 2
    assert samples(joined(joined(None, 0, around), 2, within)).tolist() == expected
    assert samples(joined(joined(None, 2, within), 0, around)).tolist() == expected


def test_parts_of_different_rates_are_joined_at_the_higher_one() -> None:
    narrow, wide = Samples([(1, 10), (2, 20), (3, 30)]), Samples([(9, 90)] * 3, rate=16_000)
    stereo = samples(everything(JoinedWav([(1, narrow), (8, wide)])))
    assert stereo[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 9, 9, 9]


@pytest.mark.parametrize("block", [1, 3, 65536])
@pytest.mark.parametrize("piece", [1, 7, 44, 45, 10_000])
def test_any_reading_gives_the_same_bytes(block: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_wav, "_BLOCK", block)
    wav = JoinedWav([(3, Samples(np.arange(40))), (4, Samples([(7, 7)] * 5, rate=16_000))])
    whole = everything(wav)
    assert len(whole) == 44 + 4 * 46
    with wav.open() as file:
        assert b"".join(iter(lambda: file.read(piece), b"")) == whole
        for place in (0, 43, 44, 47, len(whole) - 1, len(whole), len(whole) + 9):
            assert file.seek(place) == place
            assert file.read(piece) == whole[place : place + piece]
        assert file.seek(0, io.SEEK_END) == len(whole)


def test_a_long_recording_is_never_whole_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Long(Samples):
        length = 4 * 3600 * 8000

        def __init__(self) -> None:
            self.rate = 8000

        def read(self, first: int, count: int) -> Stereo:
            asked.append(count)
            return np.zeros((count, 2), np.int16)

    monkeypatch.setattr(recording_wav, "_BLOCK", 65536)
    wav = JoinedWav([(0, Long())])
    with wav.open() as file:
        file.seek(300_000_000)
        file.read(1 << 20)
    assert max(asked) <= 65536
    assert wav.duration_ms == 4 * 3600 * 1000


def test_longer_than_the_format_can_say_is_still_written() -> None:
    head = recording_wav._head(24 * 3600 * 16_000, 16_000)
    assert head[4:8] == head[40:44] == b"\xff" * 4


def folder(path: Path, fmt: AudioFormat, tracks: dict[str, bytes]) -> Path:
    path.mkdir()
    header = Header(call=path.name, encoding=fmt.encoding, rate=fmt.rate, started_ms=0, host="a")
    write_header(path, header)
    for name, audio in tracks.items():
        track = TrackFile(path / name, header)
        track.write(0, audio)
        track.close()
    return path


def test_a_take_is_laid_over_what_is_stored_whatever_its_codec(tmp_path: Path) -> None:
    first = Take.of(folder(tmp_path / "1", MULAW_8K, {TRACKS[0]: b"\x10" * 800}))
    linear = codecs.samples_to_l16(np.full(800, 300, np.int16))
    second = Take.of(folder(tmp_path / "2", L16_8K, {TRACKS[1]: linear}))
    stereo = samples(everything(second.wav(stored(first), 50)))
    loud = int(codecs.mulaw_to_samples(b"\x10")[0])
    assert stereo.shape == (1200, 2)
    assert stereo[[0, 799, 800], 0].tolist() == [loud, loud, 0]
    assert stereo[[399, 400, 1199], 1].tolist() == [0, 300, 300]


def test_a_wider_take_raises_the_rate_of_the_whole(tmp_path: Path) -> None:
    first = Take.of(folder(tmp_path / "1", MULAW_8K, {TRACKS[0]: b"\x10" * 800}))
    second = Take.of(folder(tmp_path / "2", L16_16K, {TRACKS[1]: b"\x01\x00" * 1600}))
    whole = second.wav(stored(first), 100)
    assert (whole.rate, whole.duration_ms) == (16_000, 200)


def test_what_is_stored_but_no_wav_is_left_alone(tmp_path: Path) -> None:
    take = Take.of(folder(tmp_path / "1", MULAW_8K, {TRACKS[0]: b"\x10" * 800}))
    with pytest.raises(OSError, match="is no WAV"):
        take.wav(io.BytesIO(b"<html>"), 0)


def stored(take: Take) -> IO[bytes]:
    return io.BytesIO(everything(take.wav(None, 0)))
