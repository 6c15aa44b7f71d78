"""Fixtures for every suite: a scripted upstream, and gateways as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from fakes.gateway import ROOT, GatewayProcess
from fakes.upstream import ScriptedUpstream

SDK_ENVS = ROOT / "scripts" / "sdk-envs"


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    """A fresh scripted upstream."""
    with ScriptedUpstream() as made:
        yield made


@pytest.fixture(scope="session")
def sandbox_gateway() -> Iterator[GatewayProcess]:
    """One gateway for the whole run that answers from the embedded sandbox; its client key is ``sk-text``."""
    with GatewayProcess("--sandbox") as made:
        yield made


@pytest.fixture(scope="session")
def sdk() -> Callable[[str], None]:
    """Makes sure that an SDK's environment is there: brings it under ``CI=true``, else skips and names the command."""
    checked: dict[str, str | None] = {}

    def need(name: str) -> None:
        if name not in checked:
            checked[name] = _bring(name)
        if (reason := checked[name]) is not None:
            pytest.skip(reason)

    return need


def _bring(name: str) -> str | None:
    command = [sys.executable, str(SDK_ENVS)]
    if subprocess.run([*command, "--check", name], capture_output=True, check=False).returncode == 0:
        return None
    if os.environ.get("CI") != "true":
        return f"the {name!r} OpenAI SDK is not here; `scripts/sdk-envs {name}` brings it"
    subprocess.run([*command, name], check=True)
    return None
