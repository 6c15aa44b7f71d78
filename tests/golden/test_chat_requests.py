"""Golden cases of Chat Completions requests: what a client sends, and what goes upstream because of it.

A case is one JSON file: ``client`` (the body), optionally ``settings``, ``origin`` and ``remembered`` (signatures), and
either ``request`` (the whole upstream request) with any of ``call``'s other fields to compare, or ``fault``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.errors import Fault
from antigravity2api.gemini.signature import Signed, call_key
from fakes.chat_box import make_box, origin, parse
from fakes.legal_order import assert_legal

CASES = sorted((Path(__file__).parent / "chat").glob("*.json"))


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text("utf-8"))
    box = make_box(**case.get("settings", {}))
    for identity, signed in case.get("remembered", {}).items():
        box.signatures.put(call_key(identity), Signed(**signed))
    at = origin(**case.get("origin", {}))
    if "fault" in case:
        with pytest.raises(Fault) as caught:
            parse(case["client"], box, at)
        fault = caught.value
        found = {"kind": fault.kind.value, "param": fault.param, "code": fault.code}
        assert found == {"kind": "invalid_request", **case["fault"]}
        return
    call = parse(case["client"], box, at)
    assert call.request == case["request"]
    assert list(call.applied) == case.get("applied", [])
    for name, expected in case.get("call", {}).items():
        assert _plain(getattr(call, name)) == expected, name
    for name, expected in case.get("notes", {}).items():
        assert _plain(getattr(call.options, name)) == expected, name
    assert_legal(call.request["contents"], call.profile)


def test_there_are_cases() -> None:
    assert len(CASES) > 20
