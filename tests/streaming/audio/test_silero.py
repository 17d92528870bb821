"""Silero's network gives what an ONNX runtime makes of the published file, and says so when the file is another."""

from pathlib import Path

import numpy as np
import pytest

from streaming.audio import codecs, detectors
from streaming.audio.detectors import CONTEXT, RATE, SILERO_FILES, WINDOW, EnergyDetector, best_detector
from streaming.audio.models import Model, model_file
from streaming.audio.onnx_weights import read_weights
from streaming.audio.silero import SileroNetwork
from tests.streaming.audio.speech import PROMPTS, on_a_line, prompt

pytestmark = pytest.mark.pure


@pytest.fixture
def path() -> Path:
    found = model_file(*SILERO_FILES)
    if found is None:
        pytest.skip("needs the Silero model of requirements-models.txt")
    return found


@pytest.mark.parametrize("noise_dbfs", [-70.0, -45.0, -20.0])
def test_it_answers_what_the_published_model_does_through_minutes_of_speech(path: Path, noise_dbfs: float) -> None:
    lines = [on_a_line(prompt(name), before_ms=300, noise_dbfs=noise_dbfs) for name in PROMPTS]
    lines.append(np.zeros(8000, np.int16))
    samples = [codecs.mulaw_to_float(codecs.samples_to_mulaw(line)) for line in lines]
    network, published = SileroNetwork(path), Model(path)
    ours = theirs = np.zeros((2, len(samples), 128), np.float32)
    length = min(len(each) for each in samples)
    for start in range(CONTEXT, length - WINDOW, WINDOW):
        windows = np.stack([each[start - CONTEXT : start + WINDOW] for each in samples])
        speech, ours = network.run(windows, ours)
        expected, theirs = published.run({"input": windows, "state": theirs, "sr": np.array(RATE, np.int64)})
        np.testing.assert_allclose(speech, expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_a_file_with_another_network_is_named_and_the_fallback_listens(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(path.read_bytes().replace(b"If_0_else_branch__Inline_0__", b"If_1_else_branch__Inline_0__"))
    with pytest.raises(ValueError, match=r"other\.onnx holds another network"):
        SileroNetwork(other)
    monkeypatch.setattr(detectors, "model_file", lambda *_: other)
    assert isinstance(best_detector(), EnergyDetector)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x3a\xff\xff\xff\xff\x0fshort"])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.onnx").write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.onnx"):
        SileroNetwork(tmp_path / "broken.onnx")


def test_weights_come_with_their_names_and_shapes(path: Path) -> None:
    weights = read_weights(path)
    assert weights["If_0_else_branch__Inline_0__decoder.rnn.weight_ih"].shape == (512, 128)
    assert all(np.isfinite(each).all() for each in weights.values())
