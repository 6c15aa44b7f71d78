"""Google's rules for the order of contents, written down on their own, to check what the translation makes."""

from __future__ import annotations

from typing import Any

from antigravity2api.gemini.models import ModelProfile


def assert_legal(contents: list[dict[str, Any]], profile: ModelProfile | None = None) -> None:
    """Fail when a list of contents would be refused for its order."""
    assert contents, "contents is empty"
    assert contents[0]["role"] == "user", "the first content is not the user's"
    pending: list[tuple[str, str | None]] = []
    before = None
    for content in contents:
        role, parts = content["role"], content["parts"]
        assert role in ("user", "model")
        assert parts, "a content without parts"
        for part in parts:
            _assert_part(part, role)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if results:
            assert len(results) == len(parts), "results share a content with something else"
        if pending:
            assert [(made["name"], made.get("id")) for made in results] == pending, "results do not match the calls"
        else:
            assert not results, "results without calls before them"
        if calls:
            assert before == "user", "a call does not follow a user content"
        if before == role == "model":
            raise AssertionError("two model contents in a row")
        pending = [(made["name"], made.get("id")) for made in calls]
        before = role
    assert not pending, "the last calls have no results"
    if profile is not None and not profile.prefill:
        assert before == "user", "a trailing model content on a model that refuses it"
    if profile is not None and profile.signatures == "strict":
        _assert_signed(contents)


def _assert_part(part: dict[str, Any], role: str) -> None:
    data = part.keys() & {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
    assert len(data) == 1, f"not exactly one data field: {sorted(part)}"
    assert part.keys() <= data | {"thoughtSignature", "mediaResolution"}, sorted(part)
    if "text" in part:
        assert isinstance(part["text"], str)
        assert part["text"] or "thoughtSignature" in part, "an empty text part"
    if "functionCall" in part:
        assert role == "model"
        assert isinstance(part["functionCall"]["args"], dict)
    if "functionResponse" in part:
        assert role == "user"
        assert "thoughtSignature" not in part
        assert isinstance(part["functionResponse"]["response"], dict)
        for inner in part["functionResponse"].get("parts", ()):
            assert inner.keys() in ({"inlineData"}, {"fileData"}), sorted(inner)
    if "thoughtSignature" in part:
        assert role == "model"
        assert part["thoughtSignature"]


def _assert_signed(contents: list[dict[str, Any]]) -> None:
    start = max(
        index
        for index, content in enumerate(contents)
        if content["role"] == "user" and not any("functionResponse" in part for part in content["parts"])
    )
    for content in contents[start:]:
        calls = [part for part in content["parts"] if "functionCall" in part]
        assert not calls or calls[0].get("thoughtSignature"), "the current turn has an unsigned first call"
