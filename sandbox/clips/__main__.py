"""`python -m sandbox.clips [scenario ...]`: speak the caller lines of scenarios with espeak-ng and store them as WAV.

Each clip is limited to the telephone band by resampling to 8 kHz, cut to the speech itself and set to one level, so
that its first and last samples mark the beginning and the end of what the caller says.
"""

from __future__ import annotations

import argparse

import numpy as np

from sandbox.audio import Samples, rms, trim, wav_bytes
from sandbox.clips import CLIP_RATE, clip_path
from sandbox.plivo.scenario import load_scenario, scenario_names
from sandbox.resampling import convert_rate
from sandbox.voice import say

WORDS_PER_MINUTE = 125  # slower than the agents: an 8 kHz recogniser understands it best
LEVEL_RMS = 3500.0
PEAK = 30000.0


def speak(text: str, voice: str) -> Samples:
    """Speech of `text` at 8 kHz: trimmed, level set. Raises LookupError when espeak-ng has no such voice."""
    speech = say(text, voice, WORDS_PER_MINUTE)
    spoken = trim(convert_rate(speech.samples, speech.rate, CLIP_RATE), CLIP_RATE)
    if spoken.size == 0:
        message = f"espeak-ng said nothing for {text!r}"
        raise ValueError(message)
    gain = min(LEVEL_RMS / rms(spoken), PEAK / float(np.max(np.abs(spoken.astype(np.int32)))))
    return np.rint(spoken * gain).astype(np.int16)


def main() -> None:
    """Make the clips of the scenarios named on the command line, or of all."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.clips", description=__doc__)
    parser.add_argument("scenario", nargs="*", default=scenario_names())
    for name in parser.parse_args().scenario:
        caller = load_scenario(name)
        for voice in caller.voices:
            for line, text in caller.lines.items():
                path = clip_path(name, voice, line)
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = speak(text, voice)
                path.write_bytes(wav_bytes(samples, CLIP_RATE))
                print(f"{path.parent.parent.name}/{path.parent.name}/{path.name}: {samples.size / CLIP_RATE:.2f} s")


if __name__ == "__main__":
    main()
