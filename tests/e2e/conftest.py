"""Gateways in front of a scripted upstream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fakes.gateway import UPSTREAM_KEYS, GatewayProcess, Start, World
from fakes.upstream import ScriptedUpstream


@pytest.fixture
def start(upstream: ScriptedUpstream) -> Iterator[Start]:
    """Starts gateways in front of ``upstream``; keyword arguments are settings without their prefix."""
    with ExitStack() as stack:

        def make(
            *args: str, keys: tuple[str, ...] = UPSTREAM_KEYS[:1], env: dict[str, str] | None = None, **settings: object
        ) -> GatewayProcess:
            named = {f"ANTIGRAVITY2API_{name.upper()}": str(value) for name, value in settings.items()}
            base = {"GEMINI_API_KEY": ",".join(keys), "GOOGLE_GEMINI_BASE_URL": upstream.url}
            return stack.enter_context(GatewayProcess(*args, env=base | named | (env or {})))

        yield make


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """One gateway with default limits for a module's tests; cool-downs are off so that tests do not see each other."""
    with ScriptedUpstream() as upstream:
        env = {
            "GEMINI_API_KEY": UPSTREAM_KEYS[0],
            "GOOGLE_GEMINI_BASE_URL": upstream.url,
            "ANTIGRAVITY2API_COOLDOWN": "off",
        }
        with GatewayProcess(env=env) as gateway:
            yield World(gateway, upstream)


@pytest.fixture
def world(shared: World) -> World:
    """The shared gateway with a clean upstream."""
    shared.upstream.reset()
    return shared
