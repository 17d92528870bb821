"""Silero VAD's network at 8 kHz, computed for many calls at once; used by ``detectors``.

The same arithmetic as an ONNX runtime does with the published file, whose weights it reads: a short-time spectrum, four
convolutions, one LSTM cell, one neuron. With a window each of 16 calls and more it takes less than half the time, since
little but matrix products is left of it (``python -m benchmarks.audio_floor`` prints both).
"""

from pathlib import Path

import numpy as np

from streaming.audio.codecs import Floats
from streaming.audio.onnx_weights import read_weights

STATE = 128
_EIGHT_KHZ = "If_0_else_branch__Inline_0__"  # the file holds a second network, for 16 kHz
_SAMPLES, _PADDED, _FRAME, _HOP, _BINS = 288, 320, 128, 64, 65
_FRAMES = 4
_HALF = np.float32(0.5)


class SileroNetwork:
    """The network and its weights; keeps no state.

    Frames come first in its arrays: one product serves a frame of all calls, or several frames that follow each other.

    Raises:
        ValueError: the file holds no such network.
    """

    def __init__(self, path: Path) -> None:
        found = read_weights(path)
        try:
            weight = {name.removeprefix(_EIGHT_KHZ): found[name] for name in found if name.startswith(_EIGHT_KHZ)}
            self._spectrum = _as_matrix(weight["stft.forward_basis_buffer"][:, 0])
            # By convolution: the matrices for the frame before, the frame itself and the frame behind it.
            self._taps = [
                [_as_matrix(weight[f"encoder.{n}.reparam_conv.weight"][:, :, tap]) for tap in range(3)]
                for n in range(4)
            ]
            self._biases = [weight[f"encoder.{n}.reparam_conv.bias"] for n in range(4)]
            cell = [weight["decoder.rnn.weight_ih"], weight["decoder.rnn.weight_hh"]]
            bias = weight["decoder.rnn.bias_ih"] + weight["decoder.rnn.bias_hh"]
            self._last = weight["decoder.decoder.2.weight"][0, :, 0]
            self._last_bias = weight["decoder.decoder.2.bias"][0]
        except (KeyError, IndexError) as error:
            raise ValueError(f"{path.name} holds another network than Silero's of version 6") from error
        # Of the four gates (input, forget, new, output) three are sigmoids; as tanh of half, all four are one call.
        order = np.arange(4 * STATE).reshape(4, STATE)[[0, 1, 3, 2]].ravel()
        scale = np.repeat(np.array([0.5, 0.5, 0.5, 1.0], np.float32), STATE)
        self._from_input, self._from_state = [np.ascontiguousarray(_as_matrix(each)[:, order] * scale) for each in cell]
        self._gate_bias = bias[order] * scale

    def run(self, windows: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Probabilities of speech, float32[n], and the states after them.

        Args:
            windows: float32[n, 288], a window with the 32 samples before it.
            state: float32[2, n, 128] from the call before.
        """
        gates = self._convolved(self._magnitudes(windows)) @ self._from_input
        gates += state[0] @ self._from_state
        gates += self._gate_bias
        np.tanh(gates, out=gates)
        _sigmoid_of_tanh(gates[:, : 3 * STATE])
        enters, stays, leaves, new = (gates[:, at * STATE : (at + 1) * STATE] for at in range(4))
        after = np.empty_like(state)
        np.multiply(stays, state[1], out=after[1])
        after[1] += enters * new
        np.multiply(leaves, np.tanh(after[1]), out=after[0])
        speech: Floats = np.maximum(after[0], 0) @ self._last
        speech += self._last_bias
        speech *= _HALF
        np.tanh(speech, out=speech)
        return _sigmoid_of_tanh(speech), after

    def _magnitudes(self, windows: Floats) -> Floats:
        """float32[4 * n, 65]: the spectra of all first frames, then of all second ones, and so on."""
        n = len(windows)
        padded = np.empty((n, _PADDED), np.float32)
        padded[:, :_SAMPLES] = windows
        padded[:, _SAMPLES:] = windows[:, _SAMPLES - 2 : 2 * _SAMPLES - _PADDED - 2 : -1]  # as in a mirror
        parts = np.empty((_FRAMES, n, 2 * _BINS), np.float32)
        for frame in range(_FRAMES):
            np.matmul(padded[:, frame * _HOP : frame * _HOP + _FRAME], self._spectrum, out=parts[frame])
        np.square(parts, out=parts)
        spectra: Floats = np.sqrt(parts[..., :_BINS] + parts[..., _BINS:]).reshape(-1, _BINS)
        return spectra

    def _convolved(self, spectra: Floats) -> Floats:
        """float32[n, 128] of spectra: four frames become four, two, one and one; around them is nothing."""
        n = len(spectra) // _FRAMES
        before, same, behind = self._taps[0]
        frames = spectra @ same
        frames[n:] += spectra[:-n] @ before
        frames[:-n] += spectra[n:] @ behind
        first, second, third, fourth = _rectified(frames, self._biases[0]).reshape(_FRAMES, n, -1)
        before, same, behind = self._taps[1]
        halved = np.empty((2, n, 64), np.float32)
        np.matmul(first, same, out=halved[0])
        halved[0] += second @ behind
        np.matmul(third, same, out=halved[1])
        halved[1] += second @ before
        halved[1] += fourth @ behind
        _rectified(halved, self._biases[1])
        _, same, behind = self._taps[2]
        one = halved[0] @ same
        one += halved[1] @ behind
        return _rectified(_rectified(one, self._biases[2]) @ self._taps[3][1], self._biases[3])


def _as_matrix(weights: Floats) -> Floats:
    return np.ascontiguousarray(weights.T, np.float32)


def _rectified(values: Floats, bias: Floats) -> Floats:
    """In place."""
    values += bias
    return np.maximum(values, 0, out=values)


def _sigmoid_of_tanh(halves: Floats) -> Floats:
    """tanh(x / 2) to the sigmoid of x, in place."""
    halves *= _HALF
    halves += _HALF
    return halves
