"""Three upstreams with credentials of different kinds under one model name: who is asked, in which order, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes.desk import Desk, account, eventually, generated, says, token_of
from fakes.google_accounts import GoogleAccounts, form_of, granted
from fakes.upstream import (
    Answer,
    Close,
    Recorded,
    ScriptedUpstream,
    as_asked,
    error,
    error_object,
    parts_event,
    plain,
    reason_info,
    sse,
    text_events,
)

pytestmark = pytest.mark.slow

MODEL = "gemini-3.1-flash-lite"
KEY = "AIza-key-of-a-test-0123456789"
SIGNATURE = "c2lnbmF0dXJlIG9mIHRoZSBmaXJzdCB1cHN0cmVhbQ=="
BUSY = error(429, "Resource has been exhausted (e.g. check quota).")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"location": {"type": "string"}}},
    },
}


def service_account() -> dict[str, str]:
    """Google's file, for an account that does not exist."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": "quiet-river-7",
        "private_key_id": "0123456789abcdef",
        "private_key": pem.decode(),
        "client_email": "gateway@quiet-river-7.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    }


class World:
    """The Gemini API, Vertex AI and Antigravity, each with a server and a credential of its own."""

    def __init__(self, desk: Desk, gemini: ScriptedUpstream, vertex: ScriptedUpstream) -> None:
        self.desk, self.gemini, self.vertex, self.google = desk, gemini, vertex, desk.google

    def answers(self, **scripts: Any) -> None:
        """What each says from now on; what is not named here serves with its own name."""
        self.gemini.default = scripts.get("gemini") or as_asked(text_events("gemini"))
        self.vertex.default = scripts.get("vertex") or as_asked(text_events("vertex"))
        antigravity = scripts.get("antigravity") or says("antigravity")
        self.google.scripts |= {"streamGenerateContent": antigravity, "generateContent": antigravity}

    def asked(self) -> list[str]:
        """How often each was asked for an answer, since the last look, in the form of a list of names."""
        found = ["gemini"] * len(self.gemini.requests) + ["vertex"] * len(self.vertex.requests)
        found += ["antigravity"] * len(generated(self.google))
        for server in (self.gemini, self.vertex, self.google):
            server.requests.clear()
        return found

    def chat(self, text: str = "Hello", **fields: Any) -> Any:
        return self.desk.chat(text, model=MODEL, **fields)


@pytest.fixture
def world() -> Iterator[Callable[..., World]]:
    with ExitStack() as stack:

        def made(order: str, **environ: str) -> World:
            google = stack.enter_context(GoogleAccounts())
            gemini, vertex = stack.enter_context(ScriptedUpstream()), stack.enter_context(ScriptedUpstream())
            google.scripts["token"] = lambda record: granted(
                "ya29.of-the-service-account" if "assertion" in form_of(record) else "ya29.of-the-user"
            )
            desk = Desk(
                google,
                ANTIGRAVITY2API_UPSTREAMS=order,
                GEMINI_API_KEY=KEY,
                GOOGLE_GEMINI_BASE_URL=gemini.url,
                GOOGLE_VERTEX_BASE_URL=vertex.url,
                **environ,
            )
            stack.enter_context(desk)
            desk.brings([account("1//0g-refresh-first")])
            desk.brings(service_account(), upstream="vertex")
            desk.serve()
            ready = World(desk, gemini, vertex)
            ready.answers()
            return ready

        yield made


@pytest.mark.parametrize(
    "order", ["antigravity,vertex,gemini", "vertex,gemini,antigravity", "gemini,antigravity,vertex"]
)
def test_the_operators_order_counts(world: Callable[..., World], order: str) -> None:
    made = world(order)
    first, second, third = order.split(",")
    explained = made.desk.cli("models", "--explain", MODEL, "--json").stdout
    assert [row["upstream"] for row in json.loads(explained)["upstreams"]] == [first, second, third]
    for stream in (True, False):
        assert made.chat(stream=stream).text == first
        assert made.asked() == [first]
    made.answers(**{first: BUSY})
    assert made.chat().text == second
    assert sorted(made.asked()) == sorted([first, second])
    made.answers(**{first: BUSY, second: BUSY})
    reply = made.chat("Another conversation.")
    assert (reply.status, reply.text) == (200, third)
    made.answers()
    explained = made.desk.cli("models", "--explain", MODEL, "--json").stdout
    told = [row["upstream"] for row in json.loads(explained)["upstreams"]]
    assert told == [third, first, second], "who rests is asked after the others"


def test_a_service_account_serves_with_one_token(world: Callable[..., World]) -> None:
    made = world("vertex,gemini,antigravity")
    for number in range(5):
        assert made.chat(f"Number {number}.").text == "vertex"
    (form,) = made.google.token_requests
    assert form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
    assert form["assertion"].count(".") == 2
    for record in made.vertex.requests:
        assert token_of(record) == "ya29.of-the-service-account"
        assert record.target.startswith(
            f"/v1/projects/quiet-river-7/locations/global/publishers/google/models/{MODEL}:"
        )
    for name, data in made.desk.everything_written().items():
        for secret in ("PRIVATE KEY", "ya29.of-the-service-account", KEY):
            assert secret.encode() not in data, f"{secret} stands in {name}"


def test_a_service_account_that_google_does_not_know(world: Callable[..., World]) -> None:
    made = world("vertex,gemini,antigravity")
    dead = plain({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, status=400)
    made.google.scripts["token"] = lambda record: dead if "assertion" in form_of(record) else granted("ya29.user")
    for number in range(6):
        assert made.chat(f"Number {number}.").text == "gemini"
    assert len(made.google.token_requests) == 1
    assert "vertex" not in made.asked()
    row = eventually(made.desk.credentials, lambda rows: any(row["state"] == "needs_login" for row in rows.values()))[
        "vertex-1"
    ]
    assert "Invalid JWT Signature" in row["message"]


@pytest.mark.parametrize(
    "broken",
    [
        sse(text_events("so ", "far", finish=None), after=(Close(),)),
        sse([*text_events("so ", "far", finish=None), {"error": error_object(503, "It broke off.")}]),
    ],
)
def test_nobody_else_is_asked_behind_the_first_byte(world: Callable[..., World], broken: Answer) -> None:
    made = world("gemini,vertex,antigravity")
    made.answers(gemini=broken)
    reply = made.chat(stream=True)
    assert (reply.status, reply.text) == (200, "so far")
    assert "error" in reply.chunks[-1]
    assert made.asked() == ["gemini"]


@pytest.mark.parametrize(
    "failing",
    [
        sse([{"error": error_object(503, "The model is overloaded.")}]),
        error(503, "The model is overloaded. Please try again later."),
        error(403, "It has not been used before.", details=[reason_info("SERVICE_DISABLED")]),
        error(500, "An internal error has occurred."),
        Answer(framing="raw", steps=(Close(),)),
    ],
    ids=["error event", "503", "403", "500", "break"],
)
@pytest.mark.parametrize("stream", [True, False])
def test_before_it_the_next_one_is_asked(world: Callable[..., World], failing: Answer, stream: bool) -> None:
    made = world("gemini,vertex,antigravity")
    made.answers(gemini=failing)
    reply = made.chat(stream=stream)
    assert (reply.status, reply.text) == (200, "vertex"), reply.body
    asked = made.asked()
    assert asked.count("vertex") == 1
    assert len(asked) <= 3


def test_a_signature_of_one_is_never_shown_to_another(world: Callable[..., World]) -> None:
    made = world("gemini,vertex,antigravity")
    call = {"functionCall": {"name": "get_weather", "args": {"location": "Paris"}}, "thoughtSignature": SIGNATURE}
    made.answers(gemini=as_asked([parts_event(call, finish="STOP", usage=(9, 9))]))
    question = {"role": "user", "content": "The weather in Paris?"}
    message = made.chat(messages=[question], tools=[TOOL]).json["choices"][0]["message"]
    (tool_call,) = message["tool_calls"]
    result = {"role": "tool", "tool_call_id": tool_call["id"], "content": "sunny"}
    conversation = [question, message, result]
    made.asked()

    made.answers()
    assert made.chat(messages=conversation, tools=[TOOL]).text == "gemini"
    assert SIGNATURE in made.gemini.requests[-1].body.decode()
    made.answers(gemini=BUSY)
    assert made.chat(messages=conversation, tools=[TOOL]).text == "vertex"
    assert SIGNATURE not in made.vertex.requests[-1].body.decode()
    made.answers(gemini=BUSY, vertex=BUSY)
    made.desk.cli("credentials", "disable", "vertex-1")
    eventually(lambda: made.desk.state("vertex-1"), lambda state: state == "disabled")
    assert made.chat(messages=conversation, tools=[TOOL]).text == "antigravity"
    assert SIGNATURE not in generated(made.google)[-1].body.decode()


def test_the_last_fault_is_the_clients_when_all_fail(world: Callable[..., World]) -> None:
    made = world("gemini,vertex,antigravity")

    def busy(record: Recorded) -> Answer:
        return BUSY

    made.answers(gemini=busy, vertex=busy, antigravity=busy)
    for stream in (True, False):
        reply = made.chat(f"Streamed: {stream}.", stream=stream)
        assert reply.status == 429
        assert float(reply.header("retry-after") or 0) >= 1
    assert len(made.asked()) <= 6
    made.answers()
    assert made.chat().status == 200, "and nobody is shut out"
