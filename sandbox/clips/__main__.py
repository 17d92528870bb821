"""`python -m sandbox.clips [scenario ...]`: speak the caller lines of scenarios with espeak-ng and store them as WAV.

Uses the `espeak-ng` program when it is installed, else the library inside the espeakng-loader package. Each clip is
limited to the telephone band by resampling to 8 kHz, cut to the speech itself and set to one level, so that its first
and last samples mark the beginning and the end of what the caller says.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess

import numpy as np

from sandbox.audio import Samples, read_wav, resample, rms, trim, wav_bytes
from sandbox.clips import CLIP_RATE, clip_path
from sandbox.plivo.scenario import load_scenario, scenario_names

WORDS_PER_MINUTE = 125
LEVEL_RMS = 3500.0
_RETRIEVE = 2  # AUDIO_OUTPUT_SYNCHRONOUS of espeak-ng's speak_lib.h
_UTF8 = 1
_RATE_PARAMETER = 1


def speak(text: str, voice: str) -> Samples:
    """Speech of `text` at 8 kHz: trimmed, level set. Raises RuntimeError when espeak-ng refuses the voice."""
    program = shutil.which("espeak-ng")
    samples, rate = _by_program(program, text, voice) if program else _by_library(text, voice)
    spoken = trim(resample(samples, rate, CLIP_RATE), CLIP_RATE)
    if spoken.size == 0:
        message = f"espeak-ng said nothing for {text!r}"
        raise RuntimeError(message)
    gain = min(LEVEL_RMS / rms(spoken), 30000 / float(np.max(np.abs(spoken.astype(np.int32)))))
    return np.rint(spoken * gain).astype(np.int16)


def _by_program(program: str, text: str, voice: str) -> tuple[Samples, int]:
    command = [program, "-v", voice, "-s", str(WORDS_PER_MINUTE), "--stdout", text]
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 (a fixed program, an argument list)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip())
    # The length fields of a WAV written to a pipe are not filled in.
    header = done.stdout.index(b"data") + 8
    _, rate = read_wav(done.stdout[:header])
    return np.frombuffer(done.stdout[header:], dtype="<i2").astype(np.int16), rate


def _by_library(text: str, voice: str) -> tuple[Samples, int]:
    import espeakng_loader  # noqa: PLC0415 (21 MB, and needed only where the program is missing)

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    rate = int(library.espeak_Initialize(_RETRIEVE, 0, espeakng_loader.get_data_path().encode(), 0))
    if rate <= 0:
        message = "espeak-ng's library does not start"
        raise RuntimeError(message)
    chunks: list[bytes] = []
    callback_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def collect(samples: ctypes._Pointer[ctypes.c_short], count: int, _events: int | None) -> int:
        if samples and count:
            chunks.append(ctypes.string_at(samples, count * 2))
        return 0

    callback = callback_type(collect)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        message = f"espeak-ng has no voice {voice!r}"
        raise RuntimeError(message)
    library.espeak_SetParameter(_RATE_PARAMETER, WORDS_PER_MINUTE, 0)
    spoken = text.encode() + b"\0"
    library.espeak_Synth(spoken, len(spoken), 0, 0, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    return np.frombuffer(b"".join(chunks), dtype="<i2").astype(np.int16), rate


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
