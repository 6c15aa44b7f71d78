"""Every golden request of a client, on its way to Vertex AI: whole, and without a field that is unknown there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.errors import Fault, Retry
from antigravity2api.gemini.call import Credential
from antigravity2api.sandbox.routes import route
from antigravity2api.sandbox.vertex import read_request
from antigravity2api.sandbox.wire import Head
from antigravity2api.upstreams.vertex import Vertex
from fakes.chat_box import make_box, origin, parse

CASES = [
    path
    for path in sorted((Path(__file__).parent / "chat").glob("*.json"))
    if "fault" not in json.loads(path.read_text("utf-8"))
]
CREDENTIALS = (Credential("vertex-1", "token", "my-project", "eu"), Credential("vertex-2", "key", express=True))


def texts(value: Any) -> list[str]:
    """Every text of a person in the contents."""
    return [part["text"] for content in value.get("contents", ()) for part in content["parts"] if "text" in part]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, version: str) -> None:
    case = json.loads(path.read_text("utf-8"))
    box = make_box(**case.get("settings", {}))
    call = parse(case["client"], box, origin(**case.get("origin", {}) | {"upstream": "vertex"}))
    upstream = Vertex(models=box.models, version=version)
    for credential in CREDENTIALS:
        try:
            sent = upstream.prepare(call, credential)
        except Fault as fault:
            assert fault.retry is Retry.OTHER_UPSTREAM  # noqa: PT017 - what only another one can serve
            continue
        found = route(Head("POST", sent.target, "HTTP/1.1", {}))
        assert (found.vertex, found.version, found.generates, found.stream) == (True, version, True, call.stream)
        assert (found.project, found.location) == (("my-project", "eu") if not credential.express else ("", ""))
        body = json.loads(sent.body)
        assert read_request(body, found) == body  # nothing unknown, nothing in another spelling
        assert texts(body) == texts(call.request)
