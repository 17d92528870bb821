"""One context of a speech socket: text comes in, is held until there is reason to speak, and leaves as audio."""

from __future__ import annotations

import asyncio
from typing import Any

from sandbox.elevenlabs.speech_socket import SETTINGS_CHANGED, PolicyError, SpeechSocket, schedule_of, speed_of
from sandbox.providers_state import KINDS, REFUSALS, Fault


class Context:
    """Text that becomes one stretch of speech.

    Its worker speaks piece after piece; `closing` tells that no more text is taken, `done` that isFinal was sent.
    """

    def __init__(self, opened: SpeechSocket, first: dict[str, Any], name: str | None) -> None:
        """Raises PolicyError for wrong settings in the first message."""
        self.name = name
        self.closing = False
        self.touched = asyncio.get_running_loop().time()
        self._opened = opened
        self._settings = first.get("voice_settings")
        self._speed = speed_of(self._settings)
        self._schedule = list(schedule_of(first))
        self._buffer = ""
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._extra: dict[str, Any] = {} if name is None else {"contextId": name}
        self._final = "isFinal"
        self._fault: Fault | None = None
        self._started = False

    def take(self, message: dict[str, Any], *, first: bool) -> None:
        """Take text and flags of one message. Raises PolicyError when it changes the settings."""
        self.touched = asyncio.get_running_loop().time()
        if not first and message.get("voice_settings") not in (None, self._settings):
            raise PolicyError("invalid_voice_settings", SETTINGS_CHANGED)
        if not first and message.get("generation_config") is not None:
            raise PolicyError("invalid_generation_config", "generation_config can only be set in the first message.")
        text = message.get("text") or ""
        if text.strip():
            self._buffer += text
            self._opened.entry.add("texts", text)
            self._opened.entry.count("characters", len(text))
        enough = self._opened.query.auto_mode or len(self._buffer) >= self._schedule[0]
        if message.get("flush") or message.get("try_trigger_generation") or (text.strip() and enough):
            self.flush()

    def flush(self) -> None:
        """Speak what is held."""
        if not self._buffer.strip():
            return
        if len(self._schedule) > 1:
            self._schedule.pop(0)
        self._pieces.put_nowait(self._buffer)
        self._buffer = ""

    def close(self, *, flush: bool) -> None:
        """Take no more text; what is held is spoken first if `flush`, else forgotten."""
        if self.closing:
            return
        if flush:
            self.flush()
        self.closing = True
        self._pieces.put_nowait(None)

    async def run(self) -> None:
        """Speak until closed, then send isFinal. Raises PolicyError or BrokenOffError as the fault menu wants."""
        sent, late = 0, ""
        while (text := await self._pieces.get()) is not None:
            if not self._started:
                self._started = True
                self._fault = self._opened.state.take_fault("elevenlabs", "tts", KINDS["tts"] - REFUSALS)
                if self._fault is not None:
                    self._opened.entry.add("faults", self._fault.kind)
                    if self._fault.kind == "other_spelling" and self.name is not None:
                        self._extra, self._final = {"context_id": self.name}, "is_final"
            sent = await self._opened.speak(text, self._speed, self._fault, self._extra, sent)
            late = text
        if self._fault is not None and self._fault.kind == "never_final":
            return
        await self._opened.send({self._final: True, "audio": None, **self._extra})
        if self._fault is not None and self._fault.kind == "late_audio":
            await self._opened.state.pause(self._fault.delay_ms)
            await self._opened.speak(late, self._speed, None, self._extra, 0)
