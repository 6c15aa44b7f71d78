"""A gateway process in front of a strict sandbox that keeps account, and real agents as processes of their own.

Nothing here runs unless `-m agents` is given; `make test-agents` brings the agents and does that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.world import Sent, Upstream
from fakes.gateway import KEY, ROOT, GatewayProcess, clean_environment, run_cli

ENVS = ROOT / "scripts" / "agent-envs"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only who asks for agents gets them: they take minutes to bring."""
    if "agents" in (config.option.markexpr or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("agents")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("agents")]


@pytest.fixture(scope="session")
def agent() -> Callable[[str], str]:
    """What to run for an agent: brings it under ``CI=true``, else skips where it is missing and names the command."""
    found: dict[str, str] = {}

    def need(name: str) -> str:
        if name not in found:
            found[name] = _bring(name)
        if not found[name]:
            pytest.skip(f"{name!r} is not here; `scripts/agent-envs {name}` brings it")
        return found[name]

    return need


def _bring(name: str) -> str:
    command = [sys.executable, str(ENVS)]
    if subprocess.run([*command, "--check", name], capture_output=True, check=False).returncode != 0:
        if os.environ.get("CI") != "true":
            return ""
        subprocess.run([*command, name], check=True)
    printed = subprocess.run([*command, "--print", name], capture_output=True, text=True, check=True)
    return printed.stdout.strip()


@dataclass
class Stage:
    """Where one agent plays: its gateway, and what reached the upstream behind it."""

    upstream: Upstream
    gateway: GatewayProcess
    home: Path

    @property
    def base_url(self) -> str:
        return f"{self.gateway.url}/v1"

    def run(
        self,
        command: list[str],
        *,
        cwd: Path | None = None,
        stdin: str | None = None,
        env: dict[str, str] | None = None,
    ) -> str:
        """Run an agent to its end in an empty home that knows the gateway alone; its stdout."""
        own = {"HOME": str(self.home), "PYTHONPATH": "", "NO_PROXY": "*", "DO_NOT_TRACK": "1"}
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=240,
            cwd=cwd or self.home,
            env=clean_environment(own | (env or {})),
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def settle(self) -> list[Sent]:
        """End the gateway: nobody was refused anything on either side. What reached the upstream, in order."""
        self.gateway.stop()
        settings = {"ANTIGRAVITY2API_DATA_DIR": str(self.gateway.data_dir)}
        listed = run_cli("logs", "list", "--all", "--last", "1000", "--json", env=settings)
        lines: list[dict[str, Any]] = json.loads(listed.stdout)
        asked = [line for line in lines if line["path"] == "/v1/chat/completions"]
        assert asked
        assert [line for line in lines if line["status"] != 200 or line.get("error")] == []
        sent = self.upstream.seen()
        assert [one.seen for one in sent if one.seen.status >= 400] == []
        assert len(sent) == len(asked), "a request was repeated towards the upstream"
        return sent

    def assert_signed(self, sent: list[Sent]) -> None:
        """Every round of calls went back with its own signature; nothing stood in for one, and no id was made up.

        Gemini signs the first call of a round, Claude the thought in front of it.
        """
        issued = self.upstream.ledger.issued
        on_calls = {signature for signature, (_, _, kind) in issued.items() if kind == "functionCall"}
        returned = {signature for one in sent for signature in one.signatures}
        assert on_calls - returned == set()
        assert returned - issued.keys() == set()
        rounds = [content["parts"] for one in sent for content in one.contents if _calls(content)]
        assert rounds
        assert [parts for parts in rounds if not any("thoughtSignature" in part for part in parts)] == []
        assert [one.escapes for one in sent if one.escapes] == []
        assert [one.foreign_ids for one in sent if one.foreign_ids] == []


def _calls(content: dict[str, Any]) -> bool:
    return any("functionCall" in part for part in content["parts"])


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """One gateway with the Gemini API and Antigravity behind it."""
    with ExitStack() as stack:
        upstream = stack.enter_context(Upstream())
        gateway = stack.enter_context(GatewayProcess(env=upstream.gemini() | upstream.antigravity(), key=KEY))
        yield Stage(upstream, gateway, tmp_path)
