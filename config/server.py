"""One serving process: ``python -m config.server --role web|stream|all --port N [--server uvicorn|daphne]``.

With ``--own-port M`` several processes share port N, one for each core: the kernel hands each new connection to one of
them; what is asked of a certain one (/metrics, /readyz) is asked at its own port.

Owns what Channels has no lifespan for: opens and closes the live calls' shared resources on the server's loop, and
drains on SIGTERM: refuses new streams, lets live calls end (at most DRAIN_SECONDS), then stops. A second signal stops
at once.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import structlog

log = structlog.get_logger(__name__)

WS_MAX_BYTES = 64 * 1024  # Plivo's own limit of a message


async def _open_live_calls() -> None:
    from streaming import live

    await live.open_process()


async def _open(*, streams: bool) -> None:
    if streams:
        await _open_live_calls()
    # Some 280,000 objects are there for good by now. To look for garbage among them takes the collector a fifth of a
    # second and more, in which no call is heard and none hears: it is to look only at what comes from here on.
    gc.freeze()
    gc.enable()


async def _drain_live_calls() -> None:
    from django.conf import settings

    from streaming import live

    live.begin_drain()
    drained = await live.wait_drained(settings.DRAIN_SECONDS)
    log.info("drained", all_calls_ended=drained)


async def _close_live_calls() -> None:
    from streaming import live

    await live.close_process()


def _load_pages() -> None:
    """Else the first webhooks would wait for it, a second and more."""
    from django.urls import get_resolver

    get_resolver().url_patterns  # noqa: B018  (reads config.urls, and with it all views)


def serve_uvicorn(application: Any, *, host: str, port: int, streams: bool, own_port: int = 0) -> None:
    """Serves until SIGTERM or SIGINT.

    Args:
        streams: this process carries live calls.
        own_port: where it can be reached alone; ``port`` is then shared with others.
    """
    import uvicorn
    from django.conf import settings

    from config.http_limits import LimitedHttp
    from config.websocket import StreamProtocol

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # ours are installed in serve(), since uvicorn's would cut live calls

    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        loop="uvloop",
        http=LimitedHttp,
        ws=StreamProtocol,
        ws_max_size=WS_MAX_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        # uvicorn by itself believes these headers of whoever connects from this machine.
        proxy_headers=settings.TRUST_PROXY,
        forwarded_allow_ips="*",
        access_log=False,
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=5,
    )
    server = Server(config)

    def stop_if_failed(opening: asyncio.Task[None]) -> None:
        server.should_exit = server.should_exit or opening.cancelled() or opening.exception() is not None

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stopper = _Stopper(
            streams=streams,
            drain=lambda: (
                server.servers[0].close() if own_port and server.started else None
            ),  # the others take what comes
            stop=lambda: setattr(server, "should_exit", True),
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopper.signalled)
        # Meanwhile it listens: after a crash callers are waiting, and one who comes early is kept until all is there.
        opening = loop.create_task(_open(streams=streams), name="open")
        opening.add_done_callback(stop_if_failed)
        try:
            await server.serve(sockets=[_listener(host, each) for each in (port, own_port)] if own_port else None)
        finally:
            await stopper.finished()
            await opening
            if streams:
                await _close_live_calls()

    with asyncio.Runner(loop_factory=_uvloop) as runner:
        runner.run(serve())
    if not server.started:
        sys.exit(3)  # the port was taken; uvicorn has said so


def _listener(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    return listener


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def serve_daphne(application: Any, *, host: str, port: int, streams: bool) -> None:
    """The same with Daphne, whose own signal handling would cut live calls without a word."""
    from daphne.endpoints import build_endpoint_description_strings
    from daphne.server import Server, twisted_loop
    from twisted.internet import reactor

    server = Server(
        application=application,
        endpoints=build_endpoint_description_strings(host=host, port=port),
        signal_handlers=False,
        server_name="",
        websocket_timeout=86_400,
        websocket_max_message_size=WS_MAX_BYTES,
        # A phone line sends 50 frames a second: a ping finds out nothing that a missing frame does not.
        ping_interval=20,
        ping_timeout=30,
    )

    def started() -> None:
        loop = asyncio.get_event_loop()
        stopper = _Stopper(streams=streams, drain=lambda: None, stop=lambda: loop.create_task(closed()))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopper.signalled)

    async def closed() -> None:
        if streams:
            await _close_live_calls()
        server.stop()

    # Before it listens: who came meanwhile would wait unanswered, where a refused connection is tried again.
    twisted_loop.run_until_complete(_open(streams=streams))
    reactor.callWhenRunning(started)
    server.run()


class _Stopper:
    """First signal: drain, then stop. Second: stop at once."""

    def __init__(self, *, streams: bool, drain: Callable[[], object], stop: Callable[[], object]) -> None:
        self._streams = streams
        self._begin = drain
        self._stop = stop
        self._drain: asyncio.Task[None] | None = None

    def signalled(self) -> None:
        if not self._streams or self._drain is not None:
            if self._drain is not None:
                self._drain.cancel()
            self._stop()
            return
        self._begin()
        self._drain = asyncio.get_running_loop().create_task(_drain_live_calls(), name="drain")
        self._drain.add_done_callback(lambda _: self._stop())

    async def finished(self) -> None:
        if self._drain is not None:
            await asyncio.gather(self._drain, return_exceptions=True)


def main() -> None:
    """Reads the command line and serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", choices=["web", "stream", "all"], default="all")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--server", choices=["uvicorn", "daphne"], default="uvicorn")
    parser.add_argument("--own-port", type=int, default=0, help="share --port with others; be reached alone here")
    options = parser.parse_args()
    if options.own_port and options.server == "daphne":
        parser.error("Daphne shares no port: leave --own-port out")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    # Read when numpy is first imported: products as small as ours only get slower when threads share them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # until all is loaded, which makes garbage of nothing
    from config.asgi import application_for

    application = application_for(options.role)
    if options.role != "stream":
        _load_pages()
    streams = options.role in {"stream", "all"}
    ports = {"port": options.port} | ({"own_port": options.own_port} if options.own_port else {})
    log.info("serving", role=options.role, server=options.server, **ports)
    if options.server == "daphne":
        serve_daphne(application, host=options.host, port=options.port, streams=streams)
    else:
        serve_uvicorn(application, host=options.host, port=options.port, streams=streams, own_port=options.own_port)


if __name__ == "__main__":
    main()
