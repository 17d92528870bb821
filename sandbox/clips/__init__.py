"""The recorded speech of scripted callers: found here by the caller model, made by `python -m sandbox.clips`.

Clips are committed, so a call sounds the same everywhere; they are made again only when a scenario changes its lines.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from sandbox.audio import Samples, read_wav

CLIPS = Path(__file__).parent
CLIP_RATE = 8000


class UnknownClipError(ValueError):
    """No recording of that line in that voice."""


def clip_path(scenario: str, voice: str, line: str) -> Path:
    """Where the recording of one line lies. `voice` is an espeak-ng voice, as in `en-us+f3`."""
    return CLIPS / scenario / voice.replace("+", "_") / f"{line}.wav"


@lru_cache(maxsize=256)
def load_clip(scenario: str, voice: str, line: str) -> Samples:
    """The recording as 8 kHz samples. Raises UnknownClipError, naming the ones that exist."""
    path = clip_path(scenario, voice, line)
    if path.resolve().parent.parent.parent != CLIPS or not path.is_file():
        known = sorted(str(found.relative_to(CLIPS)) for found in CLIPS.glob(f"{Path(scenario).name}/*/*.wav"))
        message = f"no clip {scenario}/{voice}/{line}; there are: {', '.join(known) or 'none of this scenario'}"
        raise UnknownClipError(message)
    samples, rate = read_wav(path)
    if rate != CLIP_RATE:
        message = f"{path.name} is at {rate} Hz, not {CLIP_RATE}"
        raise UnknownClipError(message)
    return samples
