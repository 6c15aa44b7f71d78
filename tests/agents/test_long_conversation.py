"""Three hundred turns of an agent through a real gateway, then the same history in the hands of other clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agents.agent import CLAUDE, FLASH, HABITS, WRAPPED, Agent, drops_unknown_fields
from agents.world import OWN_ID, Check, Upstream
from fakes.gateway import GatewayProcess


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@dataclass
class Long:
    """A conversation of 300 turns, and for each turn the history before it and what went up."""

    gateway: GatewayProcess
    turns: list[tuple[int, dict[str, Any], list[Any]]]
    messages: list[dict[str, Any]]


@pytest.fixture(scope="module")
def long(upstream: Upstream) -> Iterator[Long]:
    """Half-way the gateway is killed and started anew; twice another model on another upstream takes over."""
    agent, check = Agent(drops_unknown_fields), Check(upstream)
    turns = []
    with GatewayProcess(env=upstream.gemini() | upstream.antigravity()) as gateway:
        for number in range(300):
            model = CLAUDE if 100 <= number < 130 else WRAPPED if 200 <= number < 230 else FLASH
            agent.model, agent.fields = model["model"], model["fields"]
            if number == 150:
                gateway.kill()
                gateway.start()
            answer = agent.turn(gateway.port, stream=number % 2 == 0)
            turns.append((agent.messages.index(answer), model, check.turn().contents))
        yield Long(gateway, turns, agent.messages)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_three_hundred_turns(long: Long) -> None:
    assert len(long.turns) == 300
    assert len(long.messages) > 600


def meant(contents: list[Any], upstream: Upstream) -> list[Any]:
    """The contents without what may differ: ids, which of two signatures for the same words, how texts are cut."""
    made = []
    for content in contents:
        parts: list[Any] = []
        for part in content["parts"]:
            if part.keys() == {"text"}:
                words = "".join(part["text"].split())
                if parts and parts[-1].keys() == {"text"}:
                    parts[-1] = {"text": parts[-1]["text"] + words}
                else:
                    parts.append({"text": words})
                continue
            part = {**part}  # noqa: PLW2901
            for kind in ("functionCall", "functionResponse"):
                if kind in part:
                    own = OWN_ID.fullmatch(part[kind].get("id", "")) is not None
                    part[kind] = {**part[kind], "id": own}
            if "thoughtSignature" in part:
                part["thoughtSignature"] = upstream.ledger.issued.get(part["thoughtSignature"])
            parts.append(part)
        made.append({**content, "parts": parts})
    return made


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("habit", [name for name in HABITS if name != "drops unknown fields"])
def test_the_long_conversation_in_other_hands(habit: str, long: Long, upstream: Upstream) -> None:
    """Whatever a client makes of the history, the same request goes up."""
    upstream.seen()
    for number in (97, 139, 217, 299):
        length, model, contents = long.turns[number]
        agent = Agent(HABITS[habit], **model, messages=long.messages[:length])
        agent.ask(long.gateway.port, stream=number % 3 == 0)
        (sent,) = upstream.seen()
        assert meant(sent.contents, upstream) == meant(contents, upstream)
