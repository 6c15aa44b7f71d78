"""``logs`` after real requests: what was asked, tried, changed and answered, within its bounds and without a secret."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes.client import CHAT, Connection, Reply, bearer, call, chat
from fakes.gateway import GatewayProcess, run_cli
from fakes.upstream import (
    Answer,
    Close,
    Hang,
    ScriptedUpstream,
    as_asked,
    error,
    frame,
    parts_event,
    reason_info,
    sse,
    sse_bytes,
    text_events,
)

KEY = "client-key-of-no-known-form-7731"
UPSTREAM_KEYS = ("upstream-key-one-of-no-known-form", "upstream-key-two-of-no-known-form")
REFRESH = "1//0gPlantedRefreshToken_abc"
ACCESS = "ya29.planted-access-token.of_a_user"
QUESTION = "What is in the cellar?"
HELLO = as_asked(text_events("Hel", "lo"))
Starts = Callable[..., GatewayProcess]


@pytest.fixture
def start(upstream: ScriptedUpstream) -> Iterator[Starts]:
    """Starts gateways with a client key that looks like nothing; keyword arguments are settings."""
    with ExitStack() as stack:

        def made(*args: str, keys: tuple[str, ...] = UPSTREAM_KEYS[:1], **settings: object) -> GatewayProcess:
            named = {f"ANTIGRAVITY2API_{name.upper()}": str(value) for name, value in settings.items()}
            base = {"GEMINI_API_KEY": ",".join(keys), "GOOGLE_GEMINI_BASE_URL": upstream.url}
            return stack.enter_context(GatewayProcess(*args, env=base | named, key=KEY))

        yield made


def ask(gateway: GatewayProcess, text: str = QUESTION, **fields: Any) -> Reply:
    return chat(gateway.port, text, key=KEY, **fields)


def logs(gateway: GatewayProcess, *args: str, code: int = 0) -> Any:
    """A command's JSON."""
    done = run_cli("logs", *args, "--json", env={"ANTIGRAVITY2API_DATA_DIR": str(gateway.data_dir)})
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def show(gateway: GatewayProcess, reply: Reply) -> Any:
    """What is known of a request, once the gateway has ended and all is written."""
    if gateway.process is not None and gateway.process.poll() is None:
        gateway.stop()
    return logs(gateway, "show", reply.header("x-request-id") or "")


def words(gateway: GatewayProcess, *args: str) -> str:
    """What a command prints for people."""
    done = run_cli("logs", *args, env={"ANTIGRAVITY2API_DATA_DIR": str(gateway.data_dir)})
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def all_bytes(gateway: GatewayProcess) -> bytes:
    """Everything under ``logs``, opened."""
    found = []
    for folder, _, names in os.walk(gateway.data_dir / "logs"):
        for name in names:
            data = Path(folder, name).read_bytes()
            found.append(gzip.decompress(data) if name.endswith(".gz") else data)
    return b"\n".join(found)


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_requests_are_on_record_and_their_words_are_not(start: Starts, upstream: ScriptedUpstream, level: str) -> None:
    upstream.default = HELLO
    gateway = start(log_level=level)
    replies = [ask(gateway, stream=stream) for stream in (True, False)]
    refused = ask(gateway, messages="none")
    assert refused.status == 400
    gateway.stop()
    listed = logs(gateway, "list")
    assert [line["id"] for line in listed] == [
        reply.header("x-request-id") for reply in (refused, replies[1], replies[0])
    ]
    assert [line["id"] for line in logs(gateway, "list", "--failed")] == [refused.header("x-request-id")]
    assert len(logs(gateway, "list", "--last", "1")) == 1
    assert len(logs(gateway, "list", "--model", "gemini-2.0-flash-exp")) == 2
    assert logs(gateway, "list", "--model", "another") == []
    line = listed[-1]
    assert (line["upstream"], line["credential"], line["attempts"], line["status"]) == ("gemini", "gemini-1", 1, 200)
    assert (line["prompt_tokens"], line["completion_tokens"], line["stream"]) == (10, 20, True)
    found = show(gateway, replies[0])
    assert found["request"] == line
    assert found["bodies"] is None
    assert "ANTIGRAVITY2API_CAPTURE=on" in words(gateway, "show", line["id"])
    kept = all_bytes(gateway)
    for text in (QUESTION, "Hello", KEY, UPSTREAM_KEYS[0]):
        assert text.encode() not in kept
    assert ('"event":"request"' in gateway.stderr) is (level == "info")


def test_an_unknown_id_is_told(start: Starts, upstream: ScriptedUpstream) -> None:
    gateway = start()
    assert logs(gateway, "show", "req_0123456789abcdef", code=1) is None
    assert logs(gateway, "show", "../../etc/passwd", code=1) is None


@pytest.mark.parametrize("stream", [True, False])
def test_four_bodies_of_a_request_with_a_failed_try_and_a_repair(
    start: Starts, upstream: ScriptedUpstream, stream: bool
) -> None:
    wrong = error(400, "Thought signature is not valid.")
    gateway = start(keys=UPSTREAM_KEYS, capture="on")
    upstream.play(error(429, "Slow down.", headers=(("Retry-After", "7"),)), wrong, HELLO)
    call_ = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    call_["extra_content"] = {"google": {"thought_signature": base64.b64encode(b"x" * 40).decode()}}
    messages = [
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": None, "tool_calls": [call_]},
        {"role": "tool", "tool_call_id": "call_1", "content": "a barrel"},
    ]
    reply = ask(gateway, messages=messages, stream=stream, frequency_penalty=0.5)
    assert (reply.status, reply.text) == (200, "Hello"), reply.body
    found = show(gateway, reply)
    line, bodies = found["request"], found["bodies"]
    assert line["attempts"] == 3
    assert [one["outcome"] for one in line["tries"]] == ["rate_limited", "invalid_request", "ok"]
    assert line["tries"][0]["credential"] != line["credential"]
    assert found["changes"]
    assert all(change["why"] for change in found["changes"])

    assert bodies["client_sent"]["path"] == CHAT
    assert bodies["client_sent"]["body"]["messages"][0]["content"] == QUESTION
    assert [one["got"]["status"] for one in bodies["upstream"]] == [429, 400, 200]
    assert bodies["upstream"][0]["got"]["headers"]["retry-after"] == "7"
    assert bodies["upstream"][0]["got"]["body"]["error"]["message"] == "Slow down."
    assert all(QUESTION in json.dumps(one["sent"]["body"]) for one in bodies["upstream"])
    assert bodies["client_got"]["status"] == 200
    got = bodies["client_got"]["body"]
    assert "[DONE]" in got if stream else got["choices"][0]["message"]["content"] == "Hello"
    text = words(gateway, "show", line["id"])
    for piece in ("what the client sent", "try 1", "try 3: what went to gemini", "what the client got", "Slow down."):
        assert piece in text
    for secret in (KEY, *UPSTREAM_KEYS):
        assert secret not in text
        assert secret.encode() not in all_bytes(gateway)


def test_what_the_client_got_is_what_it_got(start: Starts, upstream: ScriptedUpstream) -> None:
    upstream.default = HELLO
    gateway = start(capture="on")
    replies = [ask(gateway, stream=stream) for stream in (True, False)]
    streamed = show(gateway, replies[0])["bodies"]
    assert streamed["client_got"]["body"] == replies[0].body.decode()
    assert streamed["upstream"][0]["got"]["body"].count("data: ") == 2
    assert show(gateway, replies[1])["bodies"]["client_got"]["body"] == replies[1].json


def test_planted_secrets_are_masked_wherever_they_stand(start: Starts, upstream: ScriptedUpstream) -> None:
    # The upstream repeats its own key, and so does the client with all it knows, also as others write their JSON.
    key = UPSTREAM_KEYS[0]
    upstream.play(
        error(403, f"The key {key} may not.", details=[reason_info("SERVICE_DISABLED")]),
        as_asked(text_events(f"Your key is {key}, ", f"and {ACCESS}.")),
        sse(text_events(f"Your key is {key}, ", f"and {ACCESS}.")),
    )
    gateway = start(capture="on", cooldown="off")
    said = f"I have {KEY}, {REFRESH}, {ACCESS} and {key}."
    plain = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": said}]}
    slashed = json.dumps(plain).replace("/", "\\/").encode()
    escaped = json.dumps(plain).replace("client-key", "\\u0063lient-key").encode()
    headers = (("User-Agent", f"curl {KEY}"), ("X-Other", ACCESS))
    for body in (slashed, escaped, json.dumps(plain | {"stream": True}).encode(), b"{not JSON: " + said.encode()):
        call(gateway.port, "POST", CHAT, key=KEY, body=body, headers=(*headers, ("Content-Type", "application/json")))
    for header in ("X-Api-Key", "X-Goog-Api-Key", "Api-Key"):
        call(gateway.port, "POST", CHAT, body=plain, headers=((header, KEY),))
    gateway.stop()
    ids = [line["id"] for line in logs(gateway, "list")]
    assert len(ids) >= 5
    shown = "".join(words(gateway, "show", one) for one in ids)
    kept = all_bytes(gateway).decode() + gateway.stderr
    for secret in (KEY, key, REFRESH, ACCESS):
        for text in (shown, kept):
            assert secret not in text
            assert secret.replace("/", "\\/") not in text
    assert "I have ***, ***, *** and ***." in shown
    assert "Your key is ***" in shown


@pytest.mark.slow
def test_endings_of_all_kinds(start: Starts, upstream: ScriptedUpstream) -> None:
    gateway = start(capture="on", cooldown="off")
    upstream.play(sse(text_events("so ", "far", finish=None), after=(Close(),)))
    broken = ask(gateway, stream=True)
    upstream.play(*[error(503, "The model is overloaded.")] * 3)
    failed = ask(gateway)
    assert failed.status == 500
    upstream.play(sse(text_events("so ", finish=None), after=(Hang(),)))
    with Connection(gateway.port) as connection:
        body = json.dumps({"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "x"}], "stream": True})
        connection.request("POST", CHAT, (*bearer(KEY), ("Content-Type", "application/json")), body.encode())
        left = connection.head()
        next(connection.events(left))
    upstream.requests[-1].gone.wait(10)
    found = show(gateway, broken)
    assert found["request"]["outcome"] == "broken" or found["request"]["fault"] == "truncated"
    assert "far" in found["bodies"]["upstream"][0]["got"]["body"]
    assert found["bodies"]["upstream"][0]["trouble"]
    assert '"error"' in found["bodies"]["client_got"]["body"]
    found = show(gateway, failed)
    assert found["request"]["outcome"] == "failed"
    assert [one["outcome"] for one in found["request"]["tries"]] == ["overloaded"] * 3
    assert [one["got"]["status"] for one in found["bodies"]["upstream"]] == [503] * 3
    assert found["bodies"]["client_got"]["status"] == 500
    found = show(gateway, left)
    assert found["request"]["outcome"] == "left"
    assert "so " in found["bodies"]["upstream"][0]["got"]["body"]


@pytest.mark.slow
def test_pictures_are_told_by_size(start: Starts, upstream: ScriptedUpstream) -> None:
    made = io.BytesIO()
    Image.frombytes("RGB", (150, 150), os.urandom(150 * 150 * 3)).save(made, "PNG")
    picture = base64.b64encode(made.getvalue()).decode()
    data = {"inlineData": {"mimeType": "image/png", "data": picture}}
    upstream.default = as_asked([parts_event(data, finish="STOP", usage=(10, 1290))])
    gateway = start(capture="on")
    content = [
        {"type": "text", "text": QUESTION},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
    ]
    replies = [ask(gateway, messages=[{"role": "user", "content": content}], stream=stream) for stream in (True, False)]
    gateway.stop()
    for reply in replies:
        assert reply.status == 200, reply.body
        bodies = show(gateway, reply)["bodies"]
        assert len(json.dumps(bodies)) < 20_000
        assert "bytes, sha256 of their base64 " in json.dumps(bodies["client_sent"])
        assert "bytes, sha256 of their base64 " in json.dumps(bodies["upstream"])


@pytest.mark.slow
def test_two_workers_write_into_one_record(start: Starts, upstream: ScriptedUpstream) -> None:
    upstream.default = HELLO
    gateway = start("--workers", "2", capture="on")
    replies: list[Reply] = []
    with ThreadPoolExecutor(8) as pool:  # who accepts a connection is the system's choice, and it may like one
        while len(replies) < 400 and len(list((gateway.data_dir / "logs").glob("requests-*.jsonl"))) < 2:
            numbers = range(len(replies), len(replies) + 24)
            replies += pool.map(lambda number: ask(gateway, f"Number {number}.", stream=number % 2 == 0), numbers)
    gateway.stop()
    listed = logs(gateway, "list", "--last", "1000")
    assert {line["id"] for line in listed} == {reply.header("x-request-id") for reply in replies}
    assert [line["ts"] for line in listed] == sorted((line["ts"] for line in listed), reverse=True)
    assert len(list((gateway.data_dir / "logs" / "bodies").iterdir())) == len(replies)
    assert len(list((gateway.data_dir / "logs").glob("requests-*.jsonl"))) == 2
    for number, reply in enumerate(replies[:6]):
        assert f"Number {number}." in json.dumps(show(gateway, reply)["bodies"]["client_sent"])


@pytest.mark.slow
def test_the_record_stays_within_its_bounds(start: Starts, upstream: ScriptedUpstream) -> None:
    noise = base64.b64encode(os.urandom(3000)).decode()
    upstream.default = as_asked(text_events(noise))
    gateway = start(capture="on", logs_max_bytes="200KB", log_level="warning")
    for number in range(150):
        assert ask(gateway, f"Number {number}. {noise}").status == 200
    last = ask(gateway, "The last one.")
    gateway.stop()
    folder = gateway.data_dir / "logs"
    sizes = [path.stat().st_size for path in [*folder.glob("requests-*"), *(folder / "bodies").iterdir()]]
    assert sum(sizes) < 300_000
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.rglob("*")])
    assert "The last one." in json.dumps(show(gateway, last)["bodies"])


@pytest.mark.slow
def test_a_long_answer_is_kept_up_to_a_limit(start: Starts, upstream: ScriptedUpstream) -> None:
    piece = "word " * 20_000
    frames = [frame(event) for event in text_events(*[piece] * 100)]
    upstream.default = sse_bytes(frames)
    gateway = start(capture="on")
    reply = ask(gateway, stream=True)
    assert len(reply.text) == len(piece) * 100
    found = show(gateway, reply)["bodies"]
    assert "kept" in found["client_got"]["body"]["cut"]
    assert len(found["client_got"]["body"]["begin"]) <= 8 << 20


def test_a_folder_that_cannot_be_written_costs_no_answer(start: Starts, upstream: ScriptedUpstream) -> None:
    upstream.default = HELLO
    gateway = start(capture="on")
    gateway.data_dir.joinpath("logs").mkdir(exist_ok=True)
    folder = gateway.data_dir / "logs"
    identity = (ask(gateway).header("x-request-id") or "").encode()
    end = time.monotonic() + 10  # until it is written: nobody makes the folder anew while it is moved
    while not any(identity in file.read_bytes() for file in folder.rglob("*.jsonl")):
        assert time.monotonic() < end
        time.sleep(0.01)
    moved = folder.rename(gateway.data_dir / "elsewhere")
    folder.write_text("a file")
    for _ in range(3):
        assert ask(gateway).status == 200
    folder.unlink()
    moved.rename(folder)
    assert ask(gateway).status == 200
    assert gateway.stop() == 0


def test_an_answer_that_is_a_whole_in_one_read(start: Starts, upstream: ScriptedUpstream) -> None:
    body = json.dumps({"candidates": [{"content": {"parts": [{"text": "One."}]}, "finishReason": "STOP"}]}).encode()
    upstream.default = Answer(headers=(("Content-Type", "application/json"),), steps=(body,))
    gateway = start(capture="on")
    reply = ask(gateway, stream=False)
    assert reply.text == "One."
    (attempt,) = show(gateway, reply)["bodies"]["upstream"]
    assert attempt["got"]["body"] == json.loads(body)


def test_what_each_schema_lost_is_told_tool_by_tool(start: Starts, upstream: ScriptedUpstream) -> None:
    upstream.default = HELLO
    gateway = start()
    plain = {"type": "object", "properties": {"a": {"type": "string"}}}
    strict = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}, "required": ["b"]}
    either = {"type": "object", "properties": {"a": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in (("plain", plain), ("strict", strict), ("either", either))
    ]
    replies = [ask(gateway, tools=tools, stream=stream) for stream in (True, False)]
    for reply in replies:
        assert reply.header("x-antigravity2api-applied") == "schema.pattern"
        found = show(gateway, reply)
        assert found["request"]["loosened"] == {"strict": ["pattern", "required"], "either": ["oneOf"]}
        whose = {change["note"]: change["why"] for change in found["changes"]}
        assert "pattern, required of strict" in whose["schema of strict"]
        assert "oneOf of either" in whose["schema of either"]
    assert "oneOf of either" in words(gateway, "show", replies[0].header("x-request-id") or "")


def test_many_changes_are_all_on_record(start: Starts, upstream: ScriptedUpstream) -> None:
    """The header is cut; the record is not."""
    upstream.default = HELLO
    gateway = start()
    odd = {f"a_quite_long_field_that_nobody_knows_{number}": 1 for number in range(16)}
    keywords = ("pattern", "minLength", "not", "if", "contains", "propertyNames", "dependentRequired", "multipleOf")
    keywords += ("maxLength", "uniqueItems", "unevaluatedProperties", "patternProperties", "minProperties", "$comment")
    text = {"type": "string"} | {key: {} for key in keywords}
    tool = {"name": "f", "parameters": {"type": "object", "properties": {"a": text}}}
    reply = ask(gateway, **odd, tools=[{"type": "function", "function": tool}])
    header = reply.header("x-antigravity2api-applied") or ""
    notes = [change["note"] for change in show(gateway, reply)["changes"]]
    assert {f"{name}:ignored" for name in odd} | {"schema.pattern", "schema.not"} <= set(notes)
    assert 900 < len(header) <= 1000 < len(", ".join(notes))
    assert set(header.split(", ")) <= set(notes), "none is cut in two"
