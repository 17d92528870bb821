"""What `<Speak>`, `<Play>` and REST's play and speak let the caller hear, as samples at 8 kHz.

Used by the XML elements and the live-call part of REST. Speech is espeak-ng's, whatever voice was asked for.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import numpy as np

from sandbox.audio import Samples, read_wav
from sandbox.plivo.media_format import PHONE_RATE
from sandbox.resampling import convert_rate

if TYPE_CHECKING:
    from sandbox.plivo.exchange import Exchange

_MAX_FILE = 10 * 1024 * 1024
_MS_PER_CHARACTER = 60
_UNKNOWN_FILE_MS = 1000


async def spoken(exchange: Exchange, text: str) -> Samples:
    """Speech of a text, or as much silence when the sandbox was told not to make any."""
    plain = re.sub(r"\s+", " ", text).strip()
    if not exchange.settings.speak_audio:
        return np.zeros(len(plain) * _MS_PER_CHARACTER * PHONE_RATE // 1000, np.int16)

    def make() -> Samples:
        from sandbox.voice import say  # noqa: PLC0415 (loads a library of 21 MB that most tests do not need)

        speech = say(plain, "en-us")
        return convert_rate(speech.samples, speech.rate, PHONE_RATE)

    return await asyncio.to_thread(make)


async def played(exchange: Exchange, url: str) -> Samples | None:
    """A WAV file from a URL; None when it cannot be fetched. What is no 16-bit WAV counts as one second of silence."""
    try:
        timeout = aiohttp.ClientTimeout(total=120, sock_connect=2)
        async with exchange.session.get(url, timeout=timeout) as reply:
            if reply.status != 200:
                return None
            body = await reply.content.read(_MAX_FILE)
            while not reply.content.at_eof() and len(body) < _MAX_FILE:
                body += await reply.content.read(_MAX_FILE)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None
    try:
        samples, rate = read_wav(body)
    except Exception as error:  # noqa: BLE001 (whatever the wave module finds wrong with a foreign file)
        del error
        return np.zeros(_UNKNOWN_FILE_MS * PHONE_RATE // 1000, np.int16)
    if samples.ndim == 2:
        samples = np.mean(samples, axis=1).astype(np.int16)
    return await asyncio.to_thread(convert_rate, samples, rate, PHONE_RATE)
