"""The telephone exchange: all state of the Plivo sandbox in one place, shared by REST, engine, streams and control.

It decides nothing itself; it holds the registry, the calls, the ledger, the faults and the settings, and sends webhooks
in the name of a call.
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import sys
import traceback
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any

import aiohttp

from sandbox.config import Address, SandboxConfig
from sandbox.plivo.behaviour import Behaviours
from sandbox.plivo.call import Call, new_uuid
from sandbox.plivo.callback_url import is_http_url
from sandbox.plivo.faults import Faults
from sandbox.plivo.ledger import Ledger
from sandbox.plivo.numbers import Registry
from sandbox.plivo.recordings import Recording
from sandbox.plivo.webhooks import Reply, Webhook, WebhookSender, text_params


class BadSettingError(ValueError):
    """No such setting, or not that value."""


@dataclasses.dataclass
class Settings:
    """Limits and times that can be changed while it runs. Times in s; `time_scale` multiplies those marked *."""

    time_scale: float = 1.0
    calls_per_second: float = 2.0
    concurrency: int = 0  # 0: no limit
    rate_limit: int = 300  # REST requests in 5 s
    ring_after_s: float = 0.5  # *
    answer_after_s: float = 2.0  # *, counted from the ring
    after_xml_s: float = 2.0  # *, until a call without further XML ends while a stream still runs
    recording_after_s: float = 3.0  # *
    cdr_after_s: float = 5.0  # *, from the end of a call until its detail record can be read
    stream_retry_s: float = 1.0  # *
    stream_connect_timeout_s: float = 10.0
    answer_read_ms: int = 15000
    playback_queue_s: float = 60.0
    socket_buffer_s: float = 40.0  # of audio that a stream's server may leave unread
    speak_audio: bool = True
    recording_auth: bool = False

    def change(self, changes: Mapping[str, Any]) -> None:
        """Set some of them. Raises BadSettingError before anything is changed."""
        known = {field.name: field for field in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                message = f"no setting {name!r}; there are: {', '.join(known)}"
                raise BadSettingError(message)
            wanted = type(getattr(self, name))
            good = isinstance(value, bool) if wanted is bool else isinstance(value, (int, float))
            if not good or (wanted is not bool and (isinstance(value, bool) or value < 0)):
                message = f"{name} cannot be {value!r}; a {wanted.__name__}, not negative, is expected"
                raise BadSettingError(message)
        for name, value in changes.items():
            setattr(self, name, type(getattr(self, name))(value))


class Exchange:
    """One per sandbox process."""

    def __init__(self, config: SandboxConfig, address: Address) -> None:
        """Stores only; start() opens the HTTP client inside the event loop."""
        self.config = config
        self.settings = Settings(time_scale=config.time_scale, recording_auth=config.recording_auth)
        self.ledger = Ledger()
        self.registry = Registry(config.accounts)
        self.behaviours = Behaviours()
        self.faults = Faults()
        self.calls: dict[str, Call] = {}
        self.recordings: dict[str, Recording] = {}
        self.errors: list[str] = []
        self.random = random.Random(config.seed)
        self._address = address
        self._tasks: set[asyncio.Task[Any]] = set()
        self._session: aiohttp.ClientSession | None = None
        self._fired: deque[float] = deque(maxlen=1000)  # loop times of outbound calls

    async def start(self) -> None:
        """Open the HTTP client that webhooks and streams use."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=False),
            skip_auto_headers=["User-Agent"],
            auto_decompress=True,
        )

    async def stop(self) -> None:
        """End all calls without callbacks, and close the client."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def reset(self) -> None:
        """Forget everything: calls, ledger, faults, behaviours, what accounts own beyond the configuration."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.calls.clear()
        self.recordings.clear()
        self.errors.clear()
        self.ledger.reset()
        self.registry.reset()
        self.behaviours.reset()
        self.faults = Faults()
        self.settings = Settings(time_scale=self.config.time_scale, recording_auth=self.config.recording_auth)
        self.random = random.Random(self.config.seed)
        self._fired.clear()

    @property
    def base_url(self) -> str:
        """Where the sandbox is reached, without a slash at the end."""
        return self._address.url

    @property
    def session(self) -> aiohttp.ClientSession:
        """The client for webhooks, streams and prompts."""
        if self._session is None:
            message = "the exchange has not been started"
            raise RuntimeError(message)
        return self._session

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run in the background; a failure is printed and shown by the control API, never lost."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.report_error(error)

    def report_error(self, error: BaseException) -> None:
        """A bug of the sandbox: to stderr and to the control API."""
        text = "".join(traceback.format_exception(error))
        self.errors.append(text)
        print(text, file=sys.stderr, flush=True)

    @staticmethod
    def new_id() -> str:
        """An id for calls, streams, recordings and API replies."""
        return new_uuid()

    def wait_for_slot(self) -> float:
        """Take the next place under the calls-per-second limit; the seconds until it comes."""
        now = asyncio.get_running_loop().time()
        most = int(self.settings.calls_per_second)
        slot = now
        if most and len(self._fired) >= most:
            slot = max(now, self._fired[-most] + 1.0)
        self._fired.append(slot)
        return slot - now

    async def pause(self, seconds: float) -> None:
        """Wait outside audio: scaled."""
        await asyncio.sleep(seconds * self.settings.time_scale)

    async def send(
        self,
        call: Call,
        url: str,
        method: str,
        params: Mapping[str, Any],
        *,
        event: str,
        read_ms: int = 40000,
        as_json: bool = False,
    ) -> Reply:
        """Send a webhook of a call; an unusable URL is a reply with status 0."""
        if not is_http_url(url):
            return Reply(status=0, error="invalid URL")
        sender = WebhookSender(self.session, self.ledger, self.settings.time_scale)
        call.note("webhook", event=event)
        webhook = Webhook(
            url=url,
            method=method,
            params=text_params(params),
            event=event,
            call_uuid=call.uuid,
            signers=call.signers,
            faults=call.faults,
            read_ms=read_ms,
            as_json=as_json,
        )
        return await sender.send(webhook)

    def live_calls(self, auth_id: str) -> list[Call]:
        """The ringing and running calls of an account."""
        return [
            call for call in self.calls.values() if call.auth_id == auth_id and call.state in ("ringing", "in-progress")
        ]
