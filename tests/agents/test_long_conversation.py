"""Up to three hundred turns of an agent through a real gateway, then the same history in the hands of other clients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agents.agent import CLAUDE, FLASH, HABITS, WRAPPED, Agent, drops_unknown_fields
from agents.world import OWN_ID, Check, Upstream
from fakes.gateway import GatewayProcess


@dataclass
class Long:
    """A conversation, and for each turn the history before it and what went up."""

    upstream: Upstream
    gateway: GatewayProcess
    count: int
    turns: list[tuple[int, dict[str, Any], list[Any]]]
    messages: list[dict[str, Any]]


@pytest.fixture(scope="module", params=[60, pytest.param(300, marks=[pytest.mark.slow, pytest.mark.timeout(300)])])
def long(request: pytest.FixtureRequest) -> Iterator[Long]:
    """Half-way the gateway is killed and started anew; twice another model on another upstream takes over."""
    turns, count = [], request.param
    with Upstream() as upstream, GatewayProcess(env=upstream.gemini() | upstream.antigravity()) as gateway:
        agent, check = Agent(drops_unknown_fields), Check(upstream)
        for number in range(count):
            place = number * 30 // count
            model = CLAUDE if 10 <= place < 13 else WRAPPED if 20 <= place < 23 else FLASH
            agent.model, agent.fields = model["model"], model["fields"]
            if number == count // 2:
                gateway.kill()
                gateway.start()
            answer = agent.turn(gateway.port, stream=number % 2 == 0)
            turns.append((agent.messages.index(answer), model, check.turn().contents))
        yield Long(upstream, gateway, count, turns, agent.messages)


def test_every_turn_is_taken(long: Long) -> None:
    assert len(long.turns) == long.count
    assert len(long.messages) > 2 * long.count


def meant(contents: list[Any], upstream: Upstream) -> list[Any]:
    """The contents without what may differ: ids, which of two signatures for the same words, how texts are cut."""
    made = []
    for content in contents:
        parts: list[Any] = []
        for part in content["parts"]:
            if part.keys() <= {"text", "thoughtSignature"} and "text" in part:
                signed = {key: upstream.ledger.issued.get(part[key]) for key in part.keys() - {"text"}}
                before = parts.pop()["text"] if parts and parts[-1].keys() == {"text"} else ""
                parts.append({"text": before + "".join(part["text"].split()), **signed})
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


@pytest.mark.parametrize("habit", [name for name in HABITS if name != "drops unknown fields"])
def test_the_long_conversation_in_other_hands(habit: str, long: Long) -> None:
    """Whatever a client makes of the history, the same request goes up."""
    upstream = long.upstream
    upstream.seen()
    for place in (97, 139, 217, 299):
        number = place * long.count // 300
        length, model, contents = long.turns[number]
        agent = Agent(HABITS[habit], **model, messages=long.messages[:length])
        agent.ask(long.gateway.port, stream=number % 3 == 0)
        (sent,) = upstream.seen()
        assert meant(sent.contents, upstream) == meant(contents, upstream)
