"""A running sandbox with the two AI providers, and clients of it."""

from collections.abc import AsyncIterator

import pytest

from sandbox.testing import Sandbox, running_sandbox


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"openai"}), time_scale=0.1) as running:
        yield running
