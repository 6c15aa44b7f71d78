"""Sockets behave differently on different loops: everything here that awaits runs on both that the gateway uses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories = {"asyncio": asyncio.new_event_loop}
    try:
        import uvloop
    except ImportError:  # not on every platform
        return factories
    return {**factories, "uvloop": uvloop.new_event_loop}
