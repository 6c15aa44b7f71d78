"""aider, which has no tools: it reads the edits out of the answer's text, so every character of it counts.

The sandbox says what it is asked to say, which makes it answer in the edit format that aider asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.gateway import KEY
from real_agents.conftest import Stage

pytestmark = [pytest.mark.agents, pytest.mark.timeout(300)]

BEFORE = "def add(a, b):\n    return a - b\n"
AFTER = "def add(a, b):\n    return a + b\n"
BLOCK = """calc.py
<<<<<<< SEARCH
    return a - b
=======
    return a + b
>>>>>>> REPLACE"""
WHOLE = f"calc.py\n````\n{AFTER}````\nDone"
"""Four marks for a fence, as some of them are taken for quotation marks of the question."""
FORMATS = {"diff": BLOCK, "whole": WHOLE}
# The format's rules stand in the instructions; not being repeated, they leave the question alone in the user's message.
SETTINGS = "- name: aider/extra_params\n  extra_params: {}\n" + "".join(
    f"- name: openai/{name}\n  reminder: never\n  use_repo_map: false\n"
    for name in ("gemini-3.8-flash", "gemini-3.7-flash-high", "claude-sonnet-4-6")
)
QUIET = (
    "--no-git",
    "--yes-always",
    "--no-check-update",
    "--analytics-disable",
    "--no-show-model-warnings",
    "--no-show-release-notes",
    "--no-detect-urls",
    "--no-suggest-shell-commands",
    "--no-pretty",
    "--no-auto-lint",
)


@pytest.mark.parametrize(
    ("model", "stream", "form"),
    [
        ("gemini-3.8-flash", True, "diff"),
        ("gemini-3.8-flash", False, "diff"),
        ("gemini-3.7-flash-high", True, "whole"),
        ("claude-sonnet-4-6", True, "diff"),
        ("claude-sonnet-4-6", False, "whole"),
    ],
)
def test_an_edit(
    model: str, stream: bool, form: str, stage: Stage, agent: Callable[[str], str], tmp_path: Path
) -> None:
    program = agent("aider")
    work = tmp_path / "work"
    work.mkdir()
    (work / "calc.py").write_text(BEFORE)
    (work / "settings.yml").write_text(SETTINGS)
    command = [program, *QUIET, "--stream" if stream else "--no-stream", "--edit-format", form]
    command += ["--model", f"openai/{model}", "--model-settings-file", "settings.yml"]
    command += ["--message", f"Say exactly: {FORMATS[form]}", "calc.py"]
    env = {"OPENAI_API_BASE": stage.base_url, "OPENAI_API_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    said = stage.run(command, cwd=work, env=env)
    assert (work / "calc.py").read_text() == AFTER, said
    assert "Applied edit to calc.py" in said
    (sent,) = stage.settle()
    assert ("stream" in sent.seen.operation) is stream
