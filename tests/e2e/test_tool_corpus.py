"""All tools of the corpus through a real gateway to the strict sandbox: every surface takes them, calls come back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from antigravity2api.gemini.validation import Validators
from fakes.client import chat
from fakes.gateway import GatewayProcess
from fakes.sandboxes import RunningSandbox
from fakes.schemas import corpus

pytestmark = pytest.mark.slow  # a process with two upstreams; the same schemas are compiled in unit/gemini
ROUTES = {"gemini": "gemini-2.5-flash", "gemini 3": "gemini-3-flash-preview", "claude": "claude-sonnet-4-5"}


def functions() -> list[dict[str, Any]]:
    return [
        {"type": "function", "function": {"name": f"{server}.{tool.name}", "parameters": tool.parameters}}
        for server, tools in corpus().items()
        for tool in tools
    ]


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with RunningSandbox() as sandbox:
        env = {
            "GEMINI_API_KEY": "any",
            "GOOGLE_GEMINI_BASE_URL": sandbox.url,
            "ANTIGRAVITY2API_ANTIGRAVITY": "on",
            "ANTIGRAVITY_BASE_URL": sandbox.url,
            "ANTIGRAVITY_ACCESS_TOKEN": "ya29.any",
            "ANTIGRAVITY_PROJECT": "some-project",
        }
        with GatewayProcess(env=env) as gateway:
            yield gateway


@pytest.mark.parametrize("model", ROUTES.values(), ids=ROUTES)
def test_all_tools_at_once(gateway: GatewayProcess, model: str) -> None:
    reply = chat(gateway.port, model=model, messages=[{"role": "user", "content": "Hello."}], tools=functions())
    assert reply.status == 200, reply.body
    assert "dropped" not in (reply.header("x-antigravity2api-applied") or "")


@pytest.mark.parametrize("model", ROUTES.values(), ids=ROUTES)
def test_each_tool_is_called_with_what_it_asks_for(gateway: GatewayProcess, model: str) -> None:
    """The sandbox makes arguments up from the schema that it got; what was lost on the way there would show here."""
    validators = Validators()
    checked = 0
    for server in ("filesystem", "linear", "notion", "kubernetes", "home-assistant", "codex", "langchain", "odd-names"):
        for tool in corpus()[server]:
            offered = {"type": "function", "function": {"name": tool.name, "parameters": tool.parameters}}
            choice = {"type": "function", "function": {"name": tool.name}}
            question = [{"role": "user", "content": f"Use {tool.name} for /tmp/notes.txt, please."}]
            reply = chat(gateway.port, model=model, messages=question, tools=[offered], tool_choice=choice)
            assert reply.status == 200, (tool.name, reply.body)
            (made,) = reply.json["choices"][0]["message"]["tool_calls"]
            args = json.loads(made["function"]["arguments"])
            told = f"invalid_arguments:{tool.name}" in (reply.header("x-antigravity2api-applied") or "")
            checker = validators.of(tool.parameters)
            assert checker is not None
            assert checker.fits(args) is not told
            checked += not told
    assert checked > 20
