"""The turn model: its features against a second implementation, its judgement on human speech, its manners."""

import asyncio
import importlib.util
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from agents.providers.base import L16_16K, MULAW_8K
from streaming.audio import codecs, turn_model
from streaming.audio.models import model_file
from streaming.audio.turn_model import RecentAudio, TurnModel, features, open_turn_model
from tests.streaming.audio.speech import prompt

pytestmark = pytest.mark.pure


@pytest.fixture(scope="module")
def model() -> Iterator[TurnModel]:
    opened = open_turn_model()
    if opened is None:
        pytest.skip("needs the smart-turn model of requirements-models.txt")
    yield opened
    opened.close()


def reference_features(audio: np.ndarray) -> np.ndarray:
    """Whisper's features computed the slow way, from the definition: one discrete Fourier sum per frame and bin."""
    samples = np.zeros(128_000)
    samples[128_000 - audio.size :] = audio
    samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    mirrored = np.concatenate([samples[200:0:-1], samples, samples[-2:-202:-1]])
    n = np.arange(400)
    hann = np.sin(np.pi * n / 400) ** 2
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(201), n) / 400)
    frames = np.stack([mirrored[start : start + 400] * hann for start in range(0, 128_000, 160)], axis=1)
    power = np.abs(fourier @ frames) ** 2

    def hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * np.log(8) / np.log(6.4)
    corners = [hz(top * k / 81) for k in range(82)]
    mel = np.zeros((80, 800))
    for band in range(80):
        low, centre, high = corners[band : band + 3]
        for k in range(201):
            f = k * 40.0
            height = min((f - low) / (centre - low), (high - f) / (high - centre))
            if height > 0:
                mel[band] += power[k] * height * 2 / (high - low)
    log = np.log10(np.maximum(mel, 1e-10))
    return (np.maximum(log, log.max() - 8) + 4) / 4


def test_the_features_are_those_of_the_definition() -> None:
    audio = np.random.default_rng(3).normal(0, 0.05, 70_000).astype(np.float32)
    audio += (0.2 * np.sin(2 * np.pi * 700 * np.arange(70_000) / 16_000)).astype(np.float32)
    np.testing.assert_allclose(features(audio), reference_features(audio), atol=1e-4)


def test_the_features_are_those_that_the_model_was_trained_for() -> None:
    path = model_file(("pipecat", "audio/turn/smart_turn/_whisper_features.py"))
    if path is None:
        pytest.skip("needs the smart-turn package of requirements-models.txt")
    spec = importlib.util.spec_from_file_location("their_features", path)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    audio = np.random.default_rng(0).normal(0, 0.1, 128_000).astype(np.float32)
    np.testing.assert_allclose(
        features(audio), theirs.compute_whisper_log_mel_features(audio, do_normalize=True), atol=1e-5
    )


def test_only_the_last_eight_seconds_count_and_silence_is_no_error() -> None:
    audio = np.random.default_rng(1).normal(0, 0.1, 200_000).astype(np.float32)
    assert features(audio).tolist() == features(audio[-128_000:]).tolist()
    assert np.isfinite(features(np.zeros(0, np.float32))).all()


def test_whole_sentences_sound_more_finished_than_cut_ones(model: TurnModel) -> None:
    names = ("vm-intro", "invalid", "tt-weasels", "pbx-invalid", "cannot-complete-as-dialed")
    pause = np.zeros(1600, np.float32)
    whole, cut = [], []
    for name in names:
        speech = prompt(name).astype(np.float32) / 32768
        whole.append(model.judge(np.concatenate([speech, pause]), 8000))
        cut += [model.judge(np.concatenate([speech[: int(speech.size * at)], pause]), 8000) for at in (0.45, 0.6, 0.75)]
    assert all(0 <= value <= 1 for value in whole + cut)
    assert np.median(whole) > 0.7
    assert np.median(cut) < 0.3


async def test_an_answer_comes_or_none_at_all(model: TurnModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_model, "ANSWER_WITHIN_MS", 20_000)
    audio = np.random.default_rng(1).normal(0, 0.1, 16_000).astype(np.float32)
    answer = await model.predict(audio)
    assert answer == pytest.approx(model.judge(audio, 16_000), abs=1e-6)


async def test_a_loop_that_lags_is_not_asked_to_wait(model: TurnModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "judge", lambda *_: pytest.fail("asked"))
    before = model.skipped
    assert await model.predict(np.zeros(16_000, np.float32), loop_lag_ms=25.0) is None
    assert model.skipped == before + 1


async def test_a_late_answer_is_none_and_a_busy_thread_is_not_queued_upon(
    model: TurnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    asked: list[int] = []

    def slow(audio: np.ndarray, rate: int) -> float:
        asked.append(rate)
        gate.wait(10)
        return 0.5

    monkeypatch.setattr(model, "judge", slow)
    monkeypatch.setattr(model, "_cost_ms", 50.0)
    audio = np.zeros(8000, np.float32)
    assert await model.predict(audio, rate=8000) is None, "no answer within 80 ms"
    assert await model.predict(audio, rate=8000) is None, "the first still runs: 100 ms would not do"
    assert asked == [8000]
    gate.set()
    for _ in range(200):
        if model._waiting == 0:
            break
        await asyncio.sleep(0.01)
    assert model._waiting == 0


async def test_a_machine_too_slow_is_tried_again_after_a_while(
    model: TurnModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model, "_cost_ms", 100.0)
    monkeypatch.setattr(model, "judge", lambda *_: 0.7)
    answers = [await model.predict(np.zeros(10, np.float32)) for _ in range(20)]
    assert answers[0] is None
    assert answers[-1] == 0.7


def test_recent_audio_keeps_the_last_eight_seconds() -> None:
    recent = RecentAudio(MULAW_8K)
    frames = [bytes([n % 256]) * 160 for n in range(1000)]
    for frame in frames:
        recent.feed(frame)
        assert len(recent._audio) <= 80_000
    assert recent.floats().tolist() == codecs.mulaw_to_float(b"".join(frames[-400:])).tolist()
    short = RecentAudio(L16_16K)
    short.feed(b"\x00\x40" * 320)
    assert short.rate == 16_000
    assert short.floats().tolist() == [0.5] * 320


def test_without_the_model_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_model, "FILE", ("no_such_package", "x.onnx"))
    assert open_turn_model() is None
    with pytest.raises(FileNotFoundError, match="requirements-models"):
        TurnModel()
