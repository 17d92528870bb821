"""The one aiohttp application of the sandbox: mounts the parts asked for. Used by __main__ and sandbox.testing."""

from __future__ import annotations

import importlib

from aiohttp import web

from sandbox.config import PARTS, Address, SandboxConfig

CONFIG = web.AppKey("config", SandboxConfig)
ADDRESS = web.AppKey("address", Address)


async def _status(request: web.Request) -> web.Response:
    config = request.app[CONFIG]
    return web.json_response({"sandbox": sorted(config.parts), "time_scale": config.time_scale})


def create_app(config: SandboxConfig) -> web.Application:
    """An application with the parts of `config.parts`, each by its own `routes.add_routes(app, config)`.

    Whoever serves it writes the URL into `app[ADDRESS]`.
    """
    app = web.Application(client_max_size=16 * 1024 * 1024)
    app[CONFIG] = config
    app[ADDRESS] = Address()
    app.router.add_get("/", _status)
    for part in PARTS:
        if part in config.parts:
            importlib.import_module(f"sandbox.{part}.routes").add_routes(app, config)
    return app
