"""opencode in a directory of its own: one tool after another, then two at once in the same session."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.gateway import KEY
from real_agents.conftest import Stage

pytestmark = [pytest.mark.agents, pytest.mark.timeout(300)]

NOTES = "The harbour opens at nine.\n"
QUIET = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE")
MODELS: dict[str, dict[str, Any]] = {
    "gemini-3.8-flash": {"tool_call": True},
    "claude-sonnet-4-6": {"tool_call": True, "reasoning": True, "options": {"reasoningEffort": "medium"}},
}


def configure(work: Path, base_url: str) -> None:
    """The project's configuration: the gateway is the only provider."""
    gateway = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "gateway",
        "options": {"baseURL": base_url, "apiKey": KEY},
        "models": {name: {"name": name} | options for name, options in MODELS.items()},
    }
    config = {
        "autoupdate": False,
        "share": "disabled",
        "provider": {"gateway": gateway},
        "enabled_providers": ["gateway"],
        "small_model": "gateway/gemini-3.8-flash",
        "permission": {"edit": "allow", "bash": "allow"},
    }
    (work / "opencode.json").write_text(json.dumps(config))
    (work / "notes.txt").write_text(NOTES)


@pytest.mark.parametrize("model", MODELS)
def test_a_session_with_tools(model: str, stage: Stage, agent: Callable[[str], str], tmp_path: Path) -> None:
    program = agent("opencode")
    work = tmp_path / "work"
    work.mkdir()
    configure(work, stage.base_url)

    def ask(text: str, *more: str) -> tuple[list[Any], str]:
        """The calls as they ran, and the last words. The question comes on stdin: as an argument it would be quoted."""
        command = [program, "run", "--format", "json", "--model", f"gateway/{model}", *more]
        env = {f"OPENCODE_DISABLE_{name}": "1" for name in QUIET}
        parts = [json.loads(line)["part"] for line in stage.run(command, cwd=work, stdin=text, env=env).splitlines()]
        states = [(part["tool"], part["state"]) for part in parts if part["type"] == "tool"]
        assert [state for _, state in states if state["status"] != "completed"] == []
        words = [part["text"] for part in parts if part["type"] == "text"]
        return [(tool, state["input"], state["output"]) for tool, state in states], words[-1]

    calls, words = ask("Let copy.txt be made with bash: `cp notes.txt copy.txt`, then read it.")
    assert [tool for tool, _, _ in calls] == ["bash", "read"]
    assert calls[0][1]["command"] == "cp notes.txt copy.txt"
    assert calls[1][1]["filePath"] == "copy.txt"
    assert (work / "copy.txt").read_text() == NOTES
    assert NOTES.strip() in words

    calls, words = ask("Show me notes.txt with read and `wc -c notes.txt` with bash", "--continue")
    by_tool = {tool: (given, output) for tool, given, output in calls}
    assert by_tool["bash"][0]["command"] == "wc -c notes.txt"
    assert by_tool["read"][0]["filePath"] == "notes.txt"
    assert str(len(NOTES)) in by_tool["bash"][1]
    assert NOTES.strip() in words
    assert "bash (wc -c notes.txt" in words

    sent = stage.settle()
    rounds = [one for one in sent if one.seen.model == model and any("functionCall" in part for part in one.parts)]
    assert len(rounds) == 2 + 2, "each round's results, and the second question behind them"
    stage.assert_signed(sent)
