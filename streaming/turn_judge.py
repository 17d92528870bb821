"""Asks the process's turn model whether one caller's last speech sounds finished, when the conversation wants to know.

Owned by one ``session.CallSession``, which hands in every frame; made only where a model is installed.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from agents.providers.base import AudioFormat
from streaming.audio.turn_model import RecentAudio, TurnModel
from streaming.conversation.events import Event, TurnProbability


class TurnJudge:
    """One call's way to the turn model.

    Args:
        fmt: of the audio handed in.
        lag_ms: how late the event loop now is; a late loop does not ask.
        feed: the conversation's ear.
        spawn: runs a task that ends with the call.
    """

    def __init__(
        self,
        model: TurnModel,
        *,
        fmt: AudioFormat,
        lag_ms: Callable[[], float],
        feed: Callable[[Event], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
    ) -> None:
        self._model = model
        self._recent = RecentAudio(fmt)
        self._lag_ms = lag_ms
        self._feed = feed
        self._spawn = spawn

    def audio(self, audio: bytes) -> None:
        """The caller's next audio, whole samples."""
        self._recent.feed(audio)

    def ask(self) -> None:
        """Answers with a ``TurnProbability`` within 80 ms, or not at all."""
        self._spawn(self._judge(self._recent.floats()), "turn-model")

    async def _judge(self, audio: Any) -> None:
        probability = await self._model.predict(audio, rate=self._recent.rate, loop_lag_ms=self._lag_ms())
        if probability is not None:
            self._feed(TurnProbability(probability))
