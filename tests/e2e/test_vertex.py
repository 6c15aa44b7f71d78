"""A gateway in front of Vertex AI, which the sandbox plays: express keys, projects, failover, the list of models."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fakes.client import Reply, call, chat
from fakes.gateway import KEY, GatewayProcess
from fakes.sandboxes import RunningSandbox

MODEL = "gemini-3.8-flash"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather information",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string"}},
            "required": ["location"],
            "additionalProperties": False,
        },
    },
}
QUESTION = {"role": "user", "content": "What is the weather in Paris?"}
Start = Callable[..., GatewayProcess]


@pytest.fixture
def google() -> Iterator[RunningSandbox]:
    with RunningSandbox() as sandbox:
        yield sandbox


@pytest.fixture
def start(google: RunningSandbox) -> Iterator[Start]:
    """Starts gateways with Vertex AI alone."""
    with ExitStack() as stack:

        def made(**environ: str) -> GatewayProcess:
            base = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_VERTEX_BASE_URL": google.url}
            return stack.enter_context(GatewayProcess(env=base | environ))

        yield made


@pytest.fixture
def user_file(tmp_path: Path) -> str:
    """What ``gcloud auth application-default login`` leaves, for a user that does not exist."""
    path = tmp_path / "user.json"
    user = {"type": "authorized_user", "client_id": "id", "client_secret": "secret", "refresh_token": "refresh-1"}
    path.write_text(json.dumps(user), encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def tool_round(port: int, *, stream: bool) -> Reply:
    """A question, the model's call, its result, and the answer to that."""
    asked = chat(port, model=MODEL, messages=[QUESTION], tools=[WEATHER])
    assert asked.status == 200, asked.body
    message = asked.json["choices"][0]["message"]
    kept = [{key: made[key] for key in ("id", "type", "function")} for made in message["tool_calls"]]
    messages: list[dict[str, Any]] = [QUESTION, {"role": "assistant", "content": None, "tool_calls": kept}]
    messages += [{"role": "tool", "tool_call_id": made["id"], "content": "sunny, 21 degrees"} for made in kept]
    return chat(port, model=MODEL, messages=messages, tools=[WEATHER], stream=stream)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_an_express_key_serves_without_a_project(google: RunningSandbox, start: Start, stream: bool) -> None:
    gateway = start(GOOGLE_API_KEY="express-key-of-a-test")
    reply = tool_round(gateway.port, stream=stream)
    assert reply.status == 200, reply.body
    assert "sunny" in reply.text
    assert "express-mode key" in gateway.stderr
    for seen in google.requests:
        assert seen.target.startswith(f"/v1/publishers/google/models/{MODEL}:")
        assert (seen.credential, seen.headers.get("authorization")) == ("express-key-of-a-test", None)


@pytest.mark.slow
def test_a_project_serves_with_a_token_of_its_own(google: RunningSandbox, start: Start, user_file: str) -> None:
    gateway = start(
        GOOGLE_CLOUD_PROJECT="my-project",
        GOOGLE_CLOUD_LOCATION="eu",
        GOOGLE_APPLICATION_CREDENTIALS=user_file,
        GOOGLE_OAUTH_TOKEN_URL=f"{google.url}/token",
    )
    assert "sunny" in tool_round(gateway.port, stream=True).text
    tokens = [seen for seen in google.requests if seen.operation == "token"]
    assert len(tokens) == 1
    prefix = f"/v1/projects/my-project/locations/eu/publishers/google/models/{MODEL}:"
    assert google.generations
    assert all(seen.target.startswith(prefix) for seen in google.generations)
    assert {seen.credential for seen in google.generations}.isdisjoint({"", "refresh-1"})


@pytest.mark.slow
def test_refusals_say_what_the_operator_can_do(google: RunningSandbox, start: Start, user_file: str) -> None:
    gateway = start(
        GOOGLE_CLOUD_PROJECT="my-project",
        GOOGLE_CLOUD_LOCATION="us-central1",
        GOOGLE_APPLICATION_CREDENTIALS=user_file,
        GOOGLE_OAUTH_TOKEN_URL=f"{google.url}/token",
        ANTIGRAVITY2API_COOLDOWN="off",
    )
    missing = chat(gateway.port, model="gemini-4-neon")
    assert (missing.status, missing.error["code"]) == (404, "model_not_found")
    assert "GOOGLE_CLOUD_LOCATION=global" in missing.error["message"]
    assert "my-project" not in missing.error["message"]
    for model, words in (
        ("gemini-fault-403-iam", "roles/aiplatform.user"),
        ("gemini-fault-403-disabled", "Enable the"),
    ):
        denied = chat(gateway.port, model=model)
        assert (denied.status, denied.error["code"]) == (500, "no_upstream_credentials")
        assert words in denied.error["message"]


@pytest.mark.slow
def test_a_conversation_goes_on_at_vertex_without_signatures_of_the_other(google: RunningSandbox, start: Start) -> None:
    both = {"GOOGLE_GEMINI_BASE_URL": google.url, "GOOGLE_API_KEY": "express-key"}
    first = chat(start(GEMINI_API_KEY="key", **both).port, model=MODEL, messages=[QUESTION], tools=[WEATHER])
    message = first.json["choices"][0]["message"]
    (made,) = message["tool_calls"]
    assert "thought_signature" in json.dumps(made)
    result = {"role": "tool", "tool_call_id": made["id"], "content": "sunny, 21 degrees"}
    # The same client comes to a gateway whose Gemini API key has met its limit.
    gateway = start(GEMINI_API_KEY="limited", **both)
    reply = chat(gateway.port, model=MODEL, messages=[QUESTION, message, result], tools=[WEATHER])
    assert reply.status == 200, reply.body
    assert "sunny" in reply.text
    targets = [seen.target.partition("models/")[0] for seen in google.generations]
    assert targets == ["/v1beta/", "/v1beta/", "/v1/publishers/google/"]
    end = time.monotonic() + 5  # the sandbox books it a moment after the last byte
    while google.generations[-1].outcome == "open" and time.monotonic() < end:
        time.sleep(0.01)
    assert google.generations[-1].outcome == "done"


@pytest.mark.slow
def test_the_list_of_models_is_asked_for_behind_the_back_of_clients(google: RunningSandbox, start: Start) -> None:
    gateway = start(GOOGLE_API_KEY="express-key", ANTIGRAVITY2API_LIVE_MODELS="on")

    def listed() -> set[str]:
        reply = call(gateway.port, "GET", "/v1/models", key=KEY)
        assert reply.status == 200
        return {row["id"] for row in reply.json["data"]}

    assert {"gemini-3.8-flash", "gemini-2.0-flash-exp"} <= listed()
    end = time.monotonic() + 15
    while not any(seen.operation == "listPublisherModels" for seen in google.requests) and time.monotonic() < end:
        time.sleep(0.05)
    assert {"gemini-3.8-flash", "gemini-2.0-flash-exp", "gemini-4-neon"} <= listed()
    assert not {"gemma-4-31b-it", "imagen-4.0-generate-001", "text-embedding-005"} & listed()
    assert google.generations == []
