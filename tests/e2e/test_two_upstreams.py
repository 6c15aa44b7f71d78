"""The Gemini API and Antigravity together, and Antigravity alone: who lists a model, and who answers when one fails."""

from __future__ import annotations

from typing import Any

import pytest

from fakes.client import call, chat
from fakes.gateway import KEY, Start
from fakes.upstream import Answer, Recorded, ScriptedUpstream, error, plain, sse, text_events

NONE = {"GEMINI_API_KEY": "", "GOOGLE_API_KEY": ""}


def antigravity(upstream: ScriptedUpstream) -> dict[str, str]:
    return {
        "ANTIGRAVITY2API_ANTIGRAVITY": "on",
        "ANTIGRAVITY_BASE_URL": upstream.url,
        "ANTIGRAVITY_ACCESS_TOKEN": "token",
        "ANTIGRAVITY_PROJECT": "project-1",
    }


def wrapped(asked: Recorded) -> bool:
    return asked.target.startswith("/v1internal:")


def looked_for(asked: Recorded) -> bool:
    return asked.target.endswith(":loadCodeAssist")


def answers(_asked: Recorded) -> Answer:
    return sse([{"response": event} for event in text_events("from there")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "sent", "note"),
    [
        ("gemini-3.1-flash-lite", "gemini-3.1-flash-lite", ""),
        ("gemini-2.0-flash-exp", "gemini-3.7-flash-high", "model:gemini-3.7-flash-high"),
    ],
)
def test_a_model_of_both_fails_over(start: Start, upstream: ScriptedUpstream, model: str, sent: str, note: str) -> None:
    upstream.when(wrapped, answers)
    upstream.default = error(429, "Quota exceeded", "RESOURCE_EXHAUSTED")
    gateway = start(env=antigravity(upstream))
    reply = chat(gateway.port, model=model)
    assert (reply.status, reply.text, reply.json["model"]) == (200, "from there", model)
    assert note in (reply.header("x-antigravity2api-applied") or "")
    first, last = upstream.requests[0], upstream.requests[-1]
    assert not wrapped(first)
    assert wrapped(last)
    assert last.json["model"] == sent


@pytest.mark.slow
def test_antigravity_alone_serves_the_everyday_names(start: Start, upstream: ScriptedUpstream) -> None:
    upstream.when(wrapped, answers)
    gateway = start(env=NONE | antigravity(upstream))
    listed = {row["id"] for row in call(gateway.port, "GET", "/v1/models", key=KEY).json["data"]}
    assert {"gemini-2.0-flash-exp", "gemimi-3.0-pro-image", "gemini-3.1-flash-image", "claude-sonnet-4-6"} <= listed
    assert "gemini-2.5-pro" not in listed
    for name, sent in (
        ("gemini-2.0-flash-exp", "gemini-3.7-flash-high"),
        ("gemimi-3.0-pro-image", "gemini-3.1-flash-image"),
    ):
        reply = chat(gateway.port, model=name)
        assert (reply.status, reply.json["model"]) == (200, name)
        assert upstream.requests[-1].json["model"] == sent


@pytest.mark.slow
def test_antigravity_without_a_project_finds_it_or_says_what_is_missing(
    start: Start, upstream: ScriptedUpstream
) -> None:
    env = NONE | antigravity(upstream) | {"ANTIGRAVITY_PROJECT": ""}
    account: dict[str, Any] = {"currentTier": {"id": "standard-tier"}}
    upstream.when(looked_for, lambda _: plain(account))
    upstream.when(wrapped, answers)
    gateway = start(env=env)
    refused = chat(gateway.port, model="claude-sonnet-4-6")
    assert (refused.status, refused.json["error"]["code"]) == (500, "no_upstream_credentials")
    assert "project" in refused.json["error"]["message"]
    assert all(looked_for(each) for each in upstream.requests)
    account["cloudaicompanionProject"] = "found-1"
    gateway.stop()
    gateway.start()
    assert chat(gateway.port, model="claude-sonnet-4-6").text == "from there"
    assert chat(gateway.port, model="claude-sonnet-4-6").text == "from there"
    assert upstream.requests[-1].json["project"] == "found-1"
    assert len([each for each in upstream.requests[-3:] if looked_for(each)]) == 1
