"""Claude's rules for thoughts: signed, first, in every step of the turn; else it does not think this time."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from antigravity2api.gemini.call import Call
from antigravity2api.gemini.models import ModelTable
from antigravity2api.upstreams import claude

MODEL = "claude-sonnet-4-6"
ESCAPES = [
    "skip_thought_signature_validator",
    "context_engineering_is_the_way_to_go",
    base64.b64encode(b"skip_thought_signature_validator").decode(),
    base64.b64encode(b"context_engineering_is_the_way_to_go").decode(),
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": text}]}


def said(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def told(name: str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"functionResponse": {"id": name, "name": name, "response": {}}}]}


def asked(name: str) -> dict[str, Any]:
    return {"functionCall": {"id": name, "name": name, "args": {}}}


def thought(signature: str | None = "U0lHTkVE") -> dict[str, Any]:
    made: dict[str, Any] = {"text": "hm", "thought": True}
    return made | ({"thoughtSignature": signature} if signature else {})


def shaped(*contents: dict[str, Any], **thinking: Any) -> tuple[list[Any], dict[str, Any], list[str]]:
    notes: list[str] = []
    made = claude.shaped_contents(list(contents), notes)
    config: dict[str, Any] = {"thinkingConfig": thinking or {"thinkingBudget": 2048}}
    profile = ModelTable.load().profile(MODEL)
    call = Call(
        dialect="chat", operation="chat", asked_model=MODEL, model=MODEL, profile=profile, request={}, stream=False
    )
    return made, claude.shaped_config(config, made, call, notes), notes


@pytest.mark.parametrize(
    ("contents", "thinks"),
    [
        ([user("x")], True),
        ([user("x"), said(thought(), asked("a")), told("a")], True),
        ([user("x"), said(thought(), {"text": "so"}, asked("a")), told("a")], True),
        ([user("x"), said(asked("a")), told("a")], False),
        ([user("x"), said(thought(None), asked("a")), told("a")], False),
        # every step of the turn, not only the last one
        ([user("x"), said(asked("a")), told("a"), said(thought(), asked("b")), told("b")], False),
        ([user("x"), said(thought(), asked("a")), told("a"), said(asked("b")), told("b")], False),
        ([user("x"), said(thought(), asked("a")), told("a"), said(thought(), asked("b")), told("b")], True),
        # earlier turns are over
        ([user("x"), said(asked("a")), told("a"), said({"text": "so"}), user("y")], True),
        ([user("x"), said({"text": "so"}), user("y"), said(thought(), asked("a")), told("a")], True),
    ],
)
def test_it_thinks_where_every_step_begins_with_a_signed_thought(contents: list[Any], thinks: bool) -> None:
    _, config, notes = shaped(*contents)
    assert ("thinkingConfig" in config) == thinks
    assert any(note.startswith("thinkingConfig:off") for note in notes) != thinks


@pytest.mark.parametrize("escape", ESCAPES)
def test_no_escape_value_reaches_it(escape: str) -> None:
    call = {**asked("a"), "thoughtSignature": escape}
    made, config, _ = shaped(user("x"), said(thought(escape), call), told("a"))
    assert made[1]["parts"] == [asked("a")]
    assert "thinkingConfig" not in config


def test_thoughts_come_with_their_signature_though_the_client_does_not_want_them() -> None:
    _, config, _ = shaped(user("x"), thinkingBudget=2048, includeThoughts=False)
    assert config["thinkingConfig"] == {"thinkingBudget": 2048, "includeThoughts": True}


def test_a_request_that_does_not_think_has_no_thoughts() -> None:
    contents = [user("x"), said(thought(), {"text": "so"}), user("y"), said(thought()), user("z")]
    made = claude.without_thoughts(contents)
    assert made == [user("x"), said({"text": "so"}), user("y"), user("z")]
    assert len(contents[1]["parts"]) == 2, "the given ones are left alone"
