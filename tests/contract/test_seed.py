"""The API page, row by row: every curl line as printed, both snippets, the parameter table and the error table."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from fakes.client import CHAT, Reply, call, chat
from fakes.gateway import KEY, ROOT, GatewayProcess, World, clean_environment
from fakes.google import GREETING

pytestmark = pytest.mark.timeout(300)  # the first test of a run may bring an SDK

SEED = {
    "models": r"""
curl http://localhost:8045/v1/models \
  -H "Authorization: Bearer sk-text"
""",
    "streaming": r"""
curl http://localhost:8045/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer sk-text" \
  -d '{
    "model": "gemini-2.0-flash-exp",
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": true
  }'
""",
    "whole": r"""
curl http://localhost:8045/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer sk-text" \
  -d '{
    "model": "gemini-2.0-flash-exp",
    "messages": [{"role": "user", "content": "Hello"}],
    "stream": false
  }'
""",
    "tools": r"""
curl http://localhost:8045/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer sk-text" \
  -d '{
    "model": "gemini-2.0-flash-exp",
    "messages": [{"role": "user", "content": "What is the weather in Beijing?"}],
    "tools": [{
      "type": "function",
      "function": {
        "name": "get_weather",
        "description": "Get weather information",
        "parameters": {
          "type": "object",
          "properties": {
            "location": {"type": "string", "description": "City name"}
          },
          "required": ["location"]
        }
      }
    }]
  }'
""",
    "image in": r"""
curl http://localhost:8045/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer sk-text" \
  -d '{
    "model": "gemini-2.0-flash-exp",
    "messages": [{
      "role": "user",
      "content": [
        {"type": "text", "text": "What is in this image?"},
        {
          "type": "image_url",
          "image_url": {
            "url": "data:image/jpeg;base64,/9j/4AAQSkZJRg..."
          }
        }
      ]
    }],
    "stream": true
  }'
""",
    "image out": r"""
curl http://localhost:8045/v1/chat/completions \
  -H "Content-Type: application/json" \
  -H "Authorization: Bearer sk-text" \
  -d '{
    "model": "gemimi-3.0-pro-image",
    "messages": [{"role": "user", "content": "Draw a cute cat"}],
    "stream": false
  }'
""",
}

PYTHON = """
import openai

openai.api_base = "http://localhost:8045/v1"
openai.api_key = "sk-text"

response = openai.ChatCompletion.create(
    model="gemini-2.0-flash-exp",
    messages=[{"role": "user", "content": "Hello"}],
    stream=True
)

for chunk in response:
    print(chunk.choices[0].delta.get("content", ""), end="")
"""

NODE = """
import OpenAI from 'openai';

const openai = new OpenAI({
  baseURL: 'http://localhost:8045/v1',
  apiKey: 'sk-text'
});

const stream = await openai.chat.completions.create({
  model: 'gemini-2.0-flash-exp',
  messages: [{ role: 'user', content: 'Hello' }],
  stream: true
});

for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content || '');
}
"""


def run_curl(text: str, port: int) -> Reply:
    """The printed line against ``port``: with curl itself where the machine has it, else spoken by hand."""
    words = shlex.split(text.replace("\\\n", " "))
    url = words[1].replace(":8045", f":{port}")
    if curl := shutil.which("curl"):
        command = [curl, "--silent", "--show-error", "--include", "--max-time", "30", url, *words[2:]]
        done = subprocess.run(command, capture_output=True, check=False, env=clean_environment({"NO_PROXY": "*"}))
        assert done.returncode == 0, done.stderr.decode()
        head, body = done.stdout.split(b"\r\n\r\n", 1)
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(n, v.strip()) for n, v in (line.split(":", 1) for line in lines)]
        return Reply(int(first.split(" ")[1]), headers, body)
    options = list(zip(words[2::2], words[3::2], strict=True))
    headers_sent = tuple(tuple(value.split(": ", 1)) for flag, value in options if flag == "-H")
    body_sent = next((value.encode() for flag, value in options if flag == "-d"), None)
    target = url.split(f":{port}", 1)[1]
    return call(port, "POST" if body_sent else "GET", target, headers=headers_sent, body=body_sent)  # type: ignore[arg-type]


@pytest.fixture(params=["sandbox", "upstream"])
def port(request: pytest.FixtureRequest) -> int:
    """The seed's promises hold on the sandbox as well as on an upstream."""
    if request.param == "sandbox":
        gateway: GatewayProcess = request.getfixturevalue("sandbox_gateway")
    else:
        gateway = request.getfixturevalue("world").gateway
    return gateway.port


def check_whole(body: Any, model: str = "gemini-2.0-flash-exp") -> dict[str, Any]:
    """The seed's answer shape; returns the only choice."""
    assert body["id"].startswith("chatcmpl-")
    assert body["object"] == "chat.completion"
    assert isinstance(body["created"], int)
    assert body["model"] == model
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert all(isinstance(usage[name], int) for name in ("prompt_tokens", "completion_tokens", "total_tokens"))
    (choice,) = body["choices"]
    assert choice["index"] == 0
    assert choice["message"]["role"] == "assistant"
    return choice  # type: ignore[no-any-return]


def check_stream(reply: Reply, model: str = "gemini-2.0-flash-exp") -> str:
    """The seed's stream shape; returns the text. A model that thinks aloud may do so before its first word."""
    assert reply.status == 200
    assert (reply.header("content-type") or "").split(";")[0] == "text/event-stream"
    assert reply.data[-1] == "[DONE]"
    assert reply.body.endswith(b"data: [DONE]\n\n")
    first, *others = reply.chunks
    assert {(c["id"], c["created"], c["model"], c["object"]) for c in reply.chunks} == {
        (first["id"], first["created"], model, "chat.completion.chunk")
    }
    assert first["id"].startswith("chatcmpl-")
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert first["choices"][0]["delta"].keys() & {"content", "reasoning_content"}
    for chunk in reply.chunks:
        assert "error" not in chunk
        assert chunk.get("usage") is None
        (choice,) = chunk["choices"]
        assert choice["index"] == 0
        assert "finish_reason" in choice
        assert choice["delta"].get("content", "") is not None
    for chunk in others:
        assert "role" not in chunk["choices"][0]["delta"]
    finishes = [c["choices"][0]["finish_reason"] for c in reply.chunks]
    assert finishes[-1] == "stop"
    assert set(finishes[:-1]) <= {None}
    return reply.text


def test_curl_models(port: int) -> None:
    reply = run_curl(SEED["models"], port)
    assert reply.status == 200
    assert reply.json["object"] == "list"
    ids = [model["id"] for model in reply.json["data"]]
    assert {"gemini-2.0-flash-exp", "gemimi-3.0-pro-image"} <= set(ids)
    assert len(ids) == len(set(ids))
    for model in reply.json["data"]:
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)


def test_curl_streaming(port: int) -> None:
    assert check_stream(run_curl(SEED["streaming"], port))


def test_the_first_chunk_has_role_and_first_text_together(world: World) -> None:
    first = run_curl(SEED["streaming"], world.gateway.port).chunks[0]
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": GREETING[0]}, "finish_reason": None}
    ]


def test_curl_whole(port: int) -> None:
    reply = run_curl(SEED["whole"], port)
    assert reply.status == 200
    assert (reply.header("content-type") or "").split(";")[0] == "application/json"
    assert (reply.header("x-request-id") or "").startswith("req_")
    choice = check_whole(reply.json)
    assert choice["message"]["content"]
    assert choice["finish_reason"] == "stop"


def test_curl_tools(port: int) -> None:
    choice = check_whole(run_curl(SEED["tools"], port).json)
    (made,) = choice["message"]["tool_calls"]
    assert made["type"] == "function"
    assert made["id"].startswith("call_")
    assert made["function"]["name"] == "get_weather"
    assert re.fullmatch(r'\{.*"location":.*\}', made["function"]["arguments"])
    assert choice["finish_reason"] == "tool_calls"


def test_curl_image_in_with_its_placeholder(port: int) -> None:
    assert check_stream(run_curl(SEED["image in"], port))


def test_the_placeholder_reaches_the_upstream_as_bytes(world: World) -> None:
    before = len(world.upstream.requests)
    run_curl(SEED["image in"], world.gateway.port)
    parts = world.upstream.requests[before].json["contents"][0]["parts"]
    assert parts[0] == {"text": "What is in this image?"}
    assert parts[1]["inlineData"]["mimeType"] == "image/jpeg"
    assert parts[1]["inlineData"]["data"].rstrip("=") == "/9j/4AAQSkZJRg"


def test_curl_image_out_is_markdown_that_needs_no_key(port: int) -> None:
    reply = run_curl(SEED["image out"], port)
    choice = check_whole(reply.json, model="gemimi-3.0-pro-image")
    found = re.search(
        r"!\[image\]\((http://localhost:\d+(/images/[A-Za-z0-9_-]+\.png))\)", choice["message"]["content"]
    )
    assert found, choice["message"]["content"]
    assert f":{port}/" in found[1]
    shown = call(port, "GET", found[2])
    assert shown.status == 200
    assert shown.header("content-type") == "image/png"
    assert shown.body.startswith(b"\x89PNG\r\n\x1a\n")


# The parameter table: what each row means upstream, its default included.

ROWS: list[tuple[str, Any, str, Any]] = [
    ("temperature", None, "temperature", 1),
    ("temperature", 0, "temperature", 0),
    ("temperature", 0.3, "temperature", 0.3),
    ("top_p", None, "topP", 0.85),
    ("top_p", 0.0, "topP", 0.0),
    ("top_p", 0.5, "topP", 0.5),
    ("top_k", None, "topK", 50),
    ("top_k", 7, "topK", 7),
    ("max_tokens", None, "maxOutputTokens", 8096),
    ("max_tokens", 100, "maxOutputTokens", 100),
]


PLAIN_MODEL = "gemini-2.5-flash-lite"
"""Takes every sampling parameter and does not think by itself: what is documented goes up as it stands."""


def _sent(world: World, **fields: Any) -> dict[str, Any]:
    before = len(world.upstream.requests)
    assert chat(world.gateway.port, **{"model": PLAIN_MODEL, **fields}).status == 200
    body: dict[str, Any] = world.upstream.requests[before].json
    return body


@pytest.mark.parametrize(("name", "value", "field", "wanted"), ROWS)
def test_parameter(world: World, name: str, value: Any, field: str, wanted: Any) -> None:
    assert _sent(world, **{name: value})["generationConfig"][field] == wanted


def test_absent_parameters_take_the_documented_defaults(world: World) -> None:
    config = _sent(world)["generationConfig"]
    assert config == {"temperature": 1, "topP": 0.85, "topK": 50, "maxOutputTokens": 8096}


def test_parameter_model_and_messages(world: World) -> None:
    before = len(world.upstream.requests)
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": [{"type": "text", "text": "Three"}]},
    ]
    assert chat(world.gateway.port, messages=messages, model="gemini-2.5-flash").status == 200
    request = world.upstream.requests[before]
    assert request.model == "gemini-2.5-flash"
    assert request.header("x-goog-api-key") == "upstream-key"
    assert request.json["systemInstruction"]["parts"] == [{"text": "Be kind."}]
    assert request.json["contents"] == [
        {"role": "user", "parts": [{"text": "One"}]},
        {"role": "model", "parts": [{"text": "Two"}]},
        {"role": "user", "parts": [{"text": "Three"}]},
    ]


@pytest.mark.parametrize(("stream", "kind"), [(None, "json"), (False, "json"), (True, "event-stream")])
def test_parameter_stream(world: World, stream: bool | None, kind: str) -> None:
    fields = {} if stream is None else {"stream": stream}
    assert kind in (chat(world.gateway.port, **fields).header("content-type") or "")


def test_parameter_tools(world: World) -> None:
    declared = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
    tool = {"type": "function", "function": {"name": "find", "description": "Finds", "parameters": declared}}
    (sent,) = _sent(world, tools=[tool])["tools"]
    (function,) = sent["functionDeclarations"]
    assert (function["name"], function["description"]) == ("find", "Finds")
    assert function["parametersJsonSchema"] == declared


@pytest.mark.parametrize("missing", ["model", "messages"])
def test_required_parameters(world: World, missing: str) -> None:
    body = {"model": "gemini-2.0-flash-exp", "messages": [{"role": "user", "content": "Hello"}]}
    del body[missing]
    before = len(world.upstream.requests)
    reply = call(world.gateway.port, "POST", CHAT, key=KEY, body=body)
    assert reply.status == 400
    assert reply.error["param"] == missing
    assert len(world.upstream.requests) == before


# The error table.

ERRORS: list[tuple[int, str, str, dict[str, Any]]] = [
    (400, "invalid_request_error", "invalid_type", {"temperature": "warm"}),
    (400, "invalid_request_error", "", {"text": "bad argument"}),
    (401, "invalid_request_error", "invalid_api_key", {"key": "sk-wrong"}),
    (404, "invalid_request_error", "model_not_found", {"model": "no-such-model"}),
    (429, "", "rate_limit_exceeded", {"text": "too often"}),
    (500, "server_error", "upstream_error", {"text": "internal"}),
    (500, "server_error", "upstream_overloaded", {"text": "overloaded"}),
]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "kind", "code", "fields"), ERRORS)
def test_error(world: World, status: int, kind: str, code: str, fields: dict[str, Any], stream: bool) -> None:
    reply = chat(world.gateway.port, stream=stream, **fields)
    assert reply.status == status, reply.body
    assert (reply.header("content-type") or "").split(";")[0] == "application/json"
    assert set(reply.json) == {"error"}
    made = reply.error
    assert isinstance(made["message"], str)
    assert made["message"]
    assert made["type"] == kind or not kind
    assert made["code"] == code or not code
    assert "param" in made
    if status == 429:
        assert reply.header("retry-after") == "7"
        assert made["message"].endswith("Please try again in 7s.")


def test_all_is_well_is_200(world: World) -> None:
    assert chat(world.gateway.port).status == 200


@pytest.mark.oldsdk
def test_python_snippet(world: World, old_python: str) -> None:
    code = PYTHON.replace(":8045", f":{world.gateway.port}")
    done = subprocess.run(
        [old_python, "-c", code], capture_output=True, text=True, check=False, env=clean_environment({"NO_PROXY": "*"})
    )
    assert (done.returncode, done.stdout) == (0, "".join(GREETING)), done.stderr


@pytest.mark.node
def test_node_snippet(world: World, node: str) -> None:
    code = NODE.replace(":8045", f":{world.gateway.port}")
    done = subprocess.run(
        [node, "--input-type=module"],
        input=code,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT / "tests" / "node",
        env=clean_environment({"NO_PROXY": "*"}),
    )
    assert (done.returncode, done.stdout) == (0, "".join(GREETING)), done.stderr
