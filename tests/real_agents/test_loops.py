"""The tool loops of libraries, whole and streamed: parallel calls, one call after another, numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.gateway import KEY
from real_agents.conftest import Stage

pytestmark = [pytest.mark.agents, pytest.mark.timeout(300)]

HERE = Path(__file__).resolve().parent
LOOPS = {
    "pydantic-ai": ("loops", HERE / "loop_pydantic_ai.py"),
    "openai-agents": ("loops", HERE / "loop_openai_agents.py"),
    "langchain": ("loops", HERE / "loop_langchain.py"),
    "ai-sdk": ("ai-sdk", HERE / "ai_sdk" / "loop.mjs"),
}
MODELS = {"gemini-3.8-flash": None, "gemini-3.7-flash-high": None, "claude-sonnet-4-6": "medium"}
"""A model on the Gemini API, one on Antigravity, and Claude; with the effort that is asked of it."""

QUESTIONS = (
    "Weather in Paris and London?",
    "What is the weather in Oslo, and then the time there?",
    "Add 2 and 40.5",
    "Weather in Rome, Lima and Cairo?",
)
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_weather", {"location": "Paris"}),
    ("get_weather", {"location": "London"}),
    ("get_weather", {"location": "Oslo"}),
    ("get_time", {"location": "Oslo"}),
    ("add", {"a": 2, "b": 40.5}),
    ("get_weather", {"location": "Rome"}),
    ("get_weather", {"location": "Lima"}),
    ("get_weather", {"location": "Cairo"}),
]
ANSWERS = (
    ("18 C in Paris", "18 C in London"),
    ("12:00", "Oslo"),
    ("42.5",),
    ("18 C in Rome", "18 C in Lima", "18 C in Cairo"),
)
REQUESTS = 2 + 3 + 2 + 2
"""How often the model is asked for that: results of parallel calls go back together."""


def in_order(calls: list[Any]) -> list[Any]:
    """Calls of one step may run in any order."""
    return sorted(([name, args] for name, args in calls), key=repr)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("loop", LOOPS)
def test_a_conversation_with_tools(loop: str, model: str, stage: Stage, agent: Callable[[str], str]) -> None:
    environment, script = LOOPS[loop]
    job = {
        "base_url": stage.base_url,
        "key": KEY,
        "model": model,
        "effort": MODELS[model],
        "questions": QUESTIONS,
    }
    said = json.loads(stage.run([agent(environment), str(script)], stdin=json.dumps(job)))
    for mode in ("whole", "streamed"):
        made = said[mode]
        assert in_order(made["calls"]) == in_order(list(CALLS)), mode
        assert len(made["answers"]) == len(ANSWERS)
        for answer, wanted in zip(made["answers"], ANSWERS, strict=True):
            assert all(words in answer for words in wanted), (mode, answer)
    sent = stage.settle()
    assert len(sent) == 2 * REQUESTS
    stage.assert_signed(sent)
