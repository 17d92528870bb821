"""Mounts the Plivo part on the sandbox's application: REST, the recordings' files and the control API."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from sandbox.app import ADDRESS
from sandbox.config import SandboxConfig
from sandbox.plivo import control, rest, rest_calls, rest_live, rest_resources
from sandbox.plivo.exchange import Exchange
from sandbox.plivo.rest import EXCHANGE


def add_routes(app: web.Application, config: SandboxConfig) -> None:
    """Everything of sandbox.plivo, with one Exchange for the life of the application."""
    exchange = Exchange(config, app[ADDRESS])
    app[EXCHANGE] = exchange
    rest.install(app)
    rest_calls.add_routes(app)
    rest_live.add_routes(app)
    rest_resources.add_routes(app)
    control.add_routes(app)

    async def life(_app: web.Application) -> AsyncIterator[None]:
        await exchange.start()
        yield
        await exchange.stop()

    app.cleanup_ctx.append(life)
