"""Where the stream journeys run: on each server with each database, and so that every codec is among them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.integration import databases
from tests.integration.house import House, house, installation
from tests.with_postgres import postgres

# `make test` runs the first two: each server, each database.
PLACES = [
    pytest.param({"server": "uvicorn", "database": "sqlite", "codec": "audio/x-mulaw;rate=8000"}, id="uvicorn-sqlite"),
    pytest.param({"server": "daphne", "database": "postgres", "codec": "audio/x-l16;rate=8000"}, id="daphne-postgres"),
    pytest.param(
        {"server": "uvicorn", "database": "postgres", "codec": "audio/x-l16;rate=16000"},
        id="uvicorn-postgres",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        {"server": "daphne", "database": "sqlite", "codec": "audio/x-mulaw;rate=8000"},
        id="daphne-sqlite",
        marks=pytest.mark.slow,
    ),
]

Build = Callable[[], AbstractAsyncContextManager[House]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> dict[str, str]:
    """Where the journey happens, as ``house`` and ``installation`` take it."""
    at = dict(request.param)
    url = databases.create(request.getfixturevalue("postgres_url")) if at.pop("database") == "postgres" else ""
    return at | {"database_url": url}


@pytest.fixture
def build(place: dict[str, str], tmp_path: Path) -> Build:
    """``async with build() as built``: web and stream servers."""
    return partial(house, tmp_path, **place)


@pytest.fixture
def install(place: dict[str, str], tmp_path: Path) -> Build:
    """``async with install() as built``: all processes of ``make run``."""
    return partial(installation, tmp_path, **place)
