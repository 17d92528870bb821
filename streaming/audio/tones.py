"""The beep of an answering machine: one pure tone for a while, then none. Fed by ``faculties`` on calls that we placed.

A window's spectrum is what Goertzel's filter would give at each of its frequencies. In a beep nearly all of it lies at
one place and stays there, as loud as before; a voice has harmonics and moves, a keypad's or a network's tone is two.
"""

import numpy as np

from agents.providers.base import AudioFormat
from streaming.audio.codecs import Floats, l16_to_float, mulaw_to_float

WINDOW_MS = 32
LOWEST_HZ, HIGHEST_HZ = 350, 2400
PURE = 0.9  # share of a window's power that lies within two bins of its loudest
QUARTERS = 4
STEADY = 0.5  # of the strongest quarter of a window has the weakest: two tones close together beat
SOFTEST = 10 ** (-40 / 10)  # power; 1 is full scale
SHORTEST_MS = 160  # machines beep for 200 to 1,000 ms
LONGEST_MS = 3000  # a tone that lasts longer is a fax or a fault


class BeepDetector:
    """Finds the end of a beep in one call's audio."""

    def __init__(self, fmt: AudioFormat) -> None:
        self._decode = mulaw_to_float if fmt.encoding == "mulaw" else l16_to_float
        self._samples = WINDOW_MS * fmt.rate // 1000
        self._size = self._samples * (1 if fmt.encoding == "mulaw" else 2)
        self._hann = np.hanning(self._samples).astype(np.float32)
        self._hz = fmt.rate / self._samples  # of a bin
        self._waiting = bytearray()
        self._bin = 0
        self._windows = 0

    def feed(self, audio: bytes) -> bool:
        """Takes the next whole samples; True when a beep has ended in them."""
        self._waiting += audio
        ended = False
        while len(self._waiting) >= self._size:
            window = self._decode(bytes(self._waiting[: self._size]))
            del self._waiting[: self._size]
            ended = self._window(window) or ended
        return ended

    def _window(self, samples: Floats) -> bool:
        place = self._tone(samples)
        if place and (not self._windows or abs(place - self._bin) <= 1):
            self._bin = place
            self._windows += 1
            return False
        length_ms = self._windows * WINDOW_MS
        self._bin, self._windows = place, 1 if place else 0
        return SHORTEST_MS <= length_ms <= LONGEST_MS

    def _tone(self, samples: Floats) -> int:
        """The bin of the one tone in it; 0 for anything else."""
        if float(np.dot(samples, samples)) / self._samples < SOFTEST:
            return 0
        quarters = np.square(samples).reshape(QUARTERS, -1).sum(axis=1)
        if quarters.min() < STEADY * quarters.max():
            return 0
        spectrum = np.abs(np.fft.rfft(samples * self._hann)) ** 2
        place = int(np.argmax(spectrum))
        near = float(spectrum[max(0, place - 2) : place + 3].sum())
        if near < PURE * float(spectrum.sum()) or not LOWEST_HZ <= place * self._hz <= HIGHEST_HZ:
            return 0
        return place
