"""Long conversations of agents through a real gateway, against an upstream that refuses every missing, moved or altered
signature: nobody gets a 400, and what was signed comes home, whatever the client does to its history."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from agents.agent import ARGON, CLAUDE, FLASH, HABITS, WRAPPED, Agent, many_tools
from agents.world import Check, Upstream
from fakes.gateway import GatewayProcess


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@pytest.fixture(scope="module")
def shared(upstream: Upstream) -> Iterator[GatewayProcess]:
    with GatewayProcess(env=upstream.gemini() | upstream.antigravity()) as made:
        yield made


def talk(agent: Agent, gateway: GatewayProcess, check: Check, turns: int) -> None:
    """So many requests, every other one streamed; no escape value is needed, and no id that was not given."""
    for number in range(turns):
        agent.turn(gateway.port, stream=number % 2 == 0)
        sent = check.turn()
        assert not sent.escapes
        assert not sent.foreign_ids
    kinds = {check.upstream.ledger.issued[signature][2] for signature in check.signed}
    assert kinds >= ({"thought"} if agent.model.startswith("claude") else {"functionCall", "text"})


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("model", [FLASH, CLAUDE], ids=["gemini", "claude"])
def test_what_was_signed_comes_home(
    model: dict[str, Any], habit: str, upstream: Upstream, shared: GatewayProcess
) -> None:
    agent, check = Agent(HABITS[habit], **model), Check(upstream)
    talk(agent, shared, check, 12)
    if model is CLAUDE:
        assert not any("thinkingConfig" in note for note in agent.notes)


@pytest.mark.parametrize("habit", ["keeps everything", "drops unknown fields", "rewrites ids", "all at once"])
def test_models_and_upstreams_change_hands(habit: str, upstream: Upstream, shared: GatewayProcess) -> None:
    """Another family, another backend, in the middle of a turn or between two: what is foreign stays at home."""
    agent, check = Agent(HABITS[habit]), Check(upstream)
    for number in range(36):
        model = (FLASH, CLAUDE, WRAPPED, ARGON)[number // 5 % 4]
        agent.model, agent.fields = model["model"], model["fields"]
        agent.turn(shared.port, stream=number % 2 == 0)
        sent = check.turn()
        assert not (sent.escapes and sent.owner[0] == "claude")


@pytest.mark.parametrize("habit", ["drops unknown fields", "rewrites ids"])
@pytest.mark.parametrize("model", [FLASH, CLAUDE], ids=["gemini", "claude"])
def test_a_restart_half_way(model: dict[str, Any], habit: str, upstream: Upstream) -> None:
    agent, check = Agent(HABITS[habit], **model), Check(upstream)
    with GatewayProcess(env=upstream.gemini() | upstream.antigravity()) as gateway:
        talk(agent, gateway, check, 9)
        gateway.kill()
        gateway.start()
        talk(agent, gateway, check, 9)
        assert gateway.stop() == 0
        gateway.start()
        talk(agent, gateway, check, 4)


@pytest.mark.parametrize("habit", ["drops unknown fields", "rewrites ids", "joins messages"])
@pytest.mark.parametrize("model", [FLASH, CLAUDE], ids=["gemini", "claude"])
def test_many_steps_in_one_turn(model: dict[str, Any], habit: str, upstream: Upstream, shared: GatewayProcess) -> None:
    """All steps since the user spoke have to be signed, not only the last one."""
    tools, question = many_tools(20)
    agent, check = Agent(HABITS[habit], **model, tools=tools, asks=iter([question])), Check(upstream)
    for number in range(21):
        message = agent.turn(shared.port, stream=number % 2 == 0)
        sent = check.turn()
        assert bool(message.get("tool_calls")) == (number < 20)
        assert not sent.escapes
        assert len(sent.signatures) == number


@pytest.mark.parametrize("form", ["url", "inline"])
@pytest.mark.parametrize("habit", ["keeps everything", "drops unknown fields", "trims texts"])
def test_pictures_come_home_signed(form: str, habit: str, upstream: Upstream) -> None:
    """A picture is drawn, changed and changed again; each returns as the signed part that it was."""
    asks = iter([f"Draw a cat {secrets.token_hex(4)}", "Make it blue", "Now with a hat", "And a second cat"])
    with GatewayProcess(env=upstream.gemini() | {"ANTIGRAVITY2API_IMAGES": form}) as gateway:
        agent, check = Agent(HABITS[habit], model="gemini-3-pro-image", tools=[], asks=asks), Check(upstream)
        for number in range(4):
            message = agent.turn(gateway.port, stream=number % 2 == 0)
            assert "![image](" in message["content"]
            sent = check.turn()
            assert len(sent.signatures) == number
            assert sum("inlineData" in part for part in sent.parts) == number
