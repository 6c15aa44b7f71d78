import asyncio
from collections.abc import AsyncIterator

import pytest

from antigravity2api.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A running sandbox with short waits; a bug inside it fails the test."""
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    async with Sandbox(beat=0.001, stall=0.1) as running:
        yield running
    assert not failures
