"""Golden cases of answers: the upstream's events, and what a client gets of them, streamed and whole.

A case is one JSON file: ``events``; optionally ``notes``, ``settings``, ``copies`` and ``accept_empty``; and what comes
out: ``frames`` (without the constants of a chunk) and ``whole`` (choices, usage), or ``fault`` for a whole answer that
fails, in which case the frames end with the error.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from antigravity2api import ids
from antigravity2api.dialects.chat.errors import chat_error
from antigravity2api.errors import Fault
from antigravity2api.gemini.fold import Fold
from antigravity2api.gemini.signature import call_key
from fakes.chat_answer import chunks, frames, joined, make_box, make_call, streamed_or_failed, whole

FOLDER = Path(__file__).parent / "streams"
CASES = sorted(FOLDER.glob("*.json"))
_CONSTANTS = ("id", "object", "created", "model")


@pytest.fixture(autouse=True)
def counted_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random names become numbers."""
    numbers = itertools.count(1)
    monkeypatch.setattr(ids, "token62", lambda length: f"{next(numbers):0{length}d}")
    monkeypatch.setattr(ids, "unique", lambda: f"{next(numbers):024d}")
    monkeypatch.setattr(ids, "now", lambda: 1764000000)


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """Everything a case is compared by."""
    notes, settings, copies = case.get("notes", {}), case.get("settings", {}), case.get("copies", 1)
    accept = case.get("accept_empty", False)
    call, box = make_call(copies=copies, **notes), make_box(**settings)
    data, fault = streamed_or_failed(case["events"], call, box)
    got: dict[str, Any] = {}
    if fault is None or not accept:
        got["frames"] = [_bare(frame) for frame in frames(data)]
    box = make_box(**settings)
    try:
        answer = whole(case["events"], make_call(copies=copies, **notes), box, accept_empty=accept)
    except Fault as failed:
        status, _, body = chat_error(failed)
        got["fault"] = {"status": status, "retry": failed.retry.value, **json.loads(body)["error"]}
        assert fault is not None
        return got
    got["whole"] = {name: value for name, value in answer.items() if name not in _CONSTANTS}
    if fault is None:
        _same_both_ways(data, answer)
    return got


def _bare(frame: Any) -> Any:
    return (
        {name: value for name, value in frame.items() if name not in _CONSTANTS} if isinstance(frame, dict) else frame
    )


def _same_both_ways(data: bytes, answer: dict[str, Any]) -> None:
    streamed = joined(chunks(data))
    for choice in answer["choices"]:
        assert _nameless(streamed[choice["index"]]) == _nameless(choice)


def _nameless(choice: dict[str, Any]) -> dict[str, Any]:
    copy = json.loads(json.dumps(choice))
    for entry in copy["message"].get("tool_calls", ()):
        entry.pop("id")
    if "audio" in copy["message"]:
        copy["message"]["audio"].pop("id")
    return copy


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    expected = {name: case[name] for name in ("frames", "whole", "fault") if name in case}
    assert outcome(case) == expected


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_signatures_of_shown_calls_are_remembered(path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    box = make_box(**case.get("settings", {}))
    data, _ = streamed_or_failed(case["events"], make_call(copies=case.get("copies", 1), **case.get("notes", {})), box)
    for frame in frames(data):
        for choice in frame.get("choices", ()) if isinstance(frame, dict) else ():
            for entry in choice["delta"].get("tool_calls", ()):
                extra = entry.get("extra_content")
                held = box.signatures.get(call_key(entry["id"]))
                assert (held.signature if held else "") == (extra["google"]["thought_signature"] if extra else "")


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_fold_does_not_change_the_answer(path: Path) -> None:
    """Folding a folded response gives the same response."""
    case = json.loads(path.read_text("utf-8"))
    if "fault" in case or case.get("copies", 1) > 1:
        return
    once, again = Fold(accept_empty=True), Fold(accept_empty=True)
    for event in case["events"]:
        once.feed(event)
    response = once.response()
    again.feed(response)
    assert again.response() == response


def test_there_are_cases() -> None:
    assert len(CASES) > 20
