"""Silero VAD's network at 8 kHz, computed for many calls at once; used by ``detectors``.

The same arithmetic as an ONNX runtime does with the published file, whose weights it reads: a short-time spectrum, four
convolutions, one LSTM cell, one neuron. With a window each of 16 calls and more it takes less than half the time, since
nothing but five matrix products is left of it (``python -m benchmarks.audio_floor`` prints both).
"""

from pathlib import Path

import numpy as np

from streaming.audio.codecs import Floats
from streaming.audio.onnx_weights import read_weights

STATE = 128
_EIGHT_KHZ = "If_0_else_branch__Inline_0__"  # the file holds a second network, for 16 kHz
_SAMPLES, _PADDED, _FRAME, _HOP, _BINS = 288, 320, 128, 64, 65
_FRAMES = 4


class SileroNetwork:
    """The network and its weights; keeps no state.

    Raises:
        ValueError: the file holds no such network.
    """

    def __init__(self, path: Path) -> None:
        found = read_weights(path)
        try:
            weight = {name.removeprefix(_EIGHT_KHZ): found[name] for name in found if name.startswith(_EIGHT_KHZ)}
            self._spectrum = _as_matrix(weight["stft.forward_basis_buffer"][:, 0])
            # A convolution over three frames is one product with the frames side by side.
            self._convolutions = [
                (
                    _as_matrix(weight[f"encoder.{n}.reparam_conv.weight"].transpose(0, 2, 1).reshape(size, -1)),
                    weight[f"encoder.{n}.reparam_conv.bias"],
                )
                for n, size in enumerate((128, 64, 64, 128))
            ]
            cell = np.concatenate([weight["decoder.rnn.weight_ih"], weight["decoder.rnn.weight_hh"]], axis=1)
            bias = weight["decoder.rnn.bias_ih"] + weight["decoder.rnn.bias_hh"]
            self._last = weight["decoder.decoder.2.weight"][0, :, 0]
            self._last_bias = weight["decoder.decoder.2.bias"][0]
        except (KeyError, IndexError) as error:
            raise ValueError(f"{path.name} holds another network than Silero's of version 6") from error
        # Three of the four gates are sigmoids; as tanh of half, all four are one call.
        half = np.repeat(np.array([0.5, 0.5, 1.0, 0.5], np.float32), STATE)
        self._cell, self._cell_bias = _as_matrix(cell) * half, bias * half

    def run(self, windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Probabilities of speech, float32[n], and the states after them.

        Args:
            windows: float32[n, 288], a window with the 32 samples before it.
            state: float32[2, n, 128] from the call before.
        """
        n = len(windows)
        frames = self._convolved(self._magnitudes(windows))
        inputs = np.empty((n, 2 * STATE), np.float32)
        inputs[:, :STATE] = frames
        inputs[:, STATE:] = state[0]
        gates = np.tanh(inputs @ self._cell + self._cell_bias).reshape(n, 4, STATE)
        gates[:, (0, 1, 3)] = gates[:, (0, 1, 3)] * np.float32(0.5) + np.float32(0.5)
        after = np.empty_like(state)
        after[1] = gates[:, 1] * state[1] + gates[:, 0] * gates[:, 2]
        after[0] = gates[:, 3] * np.tanh(after[1])
        speech: Floats = np.maximum(after[0], 0) @ self._last + self._last_bias
        return np.float32(0.5) * np.tanh(np.float32(0.5) * speech) + np.float32(0.5), after

    def _magnitudes(self, windows: Floats) -> Floats:
        """float32[n, 6, 65]: the spectra of four frames between two of nothing."""
        n = len(windows)
        padded = np.empty((n, _PADDED), np.float32)
        padded[:, :_SAMPLES] = windows
        padded[:, _SAMPLES:] = windows[:, _SAMPLES - 2 : 2 * _SAMPLES - _PADDED - 2 : -1]  # as in a mirror
        frames = np.stack([padded[:, at : at + _FRAME] for at in range(0, _FRAMES * _HOP, _HOP)], axis=1)
        parts = (frames.reshape(-1, _FRAME) @ self._spectrum).reshape(n, _FRAMES, 2 * _BINS)
        np.square(parts, out=parts)
        spectra = np.zeros((n, _FRAMES + 2, _BINS), np.float32)
        np.sqrt(parts[..., :_BINS] + parts[..., _BINS:], out=spectra[:, 1:-1])
        return spectra

    def _convolved(self, spectra: Floats) -> Floats:
        """float32[n, 128] of spectra: four frames become four, two, one and one."""
        n = len(spectra)
        (first, second, third, fourth) = self._convolutions
        frames = np.zeros((n, _FRAMES + 2, 128), np.float32)
        frames[:, 1:-1] = _layer(_threes(spectra, hop=1), *first).reshape(n, _FRAMES, 128)
        halved = _layer(_threes(frames, hop=2), *second).reshape(n, 2 * 64)
        # The padding of the last two meets weights that can be left out.
        one = _layer(halved, third[0][64:], third[1])
        return _layer(one, fourth[0][64:128], fourth[1])


def _as_matrix(weights: Floats) -> Floats:
    return np.ascontiguousarray(weights.T, np.float32)


def _threes(frames: Floats, *, hop: int) -> Floats:
    """Each three frames that follow each other, side by side, as rows."""
    n, count, size = frames.shape
    whole, one, item = frames.strides
    shape, strides = (n, (count - 3) // hop + 1, 3 * size), (whole, hop * one, item)
    return np.lib.stride_tricks.as_strided(frames, shape, strides).reshape(-1, 3 * size)


def _layer(rows: Floats, weights: Floats, bias: Floats) -> Floats:
    result = rows @ weights
    result += bias
    np.maximum(result, 0, out=result)
    return result
