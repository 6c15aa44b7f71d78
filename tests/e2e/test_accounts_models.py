"""Lists of models beside accounts: live lists that cost no generation, and who would serve a name now."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fakes.client import Reply, call
from fakes.desk import KEY, Desk, account, eventually, generated, says, token_of
from fakes.google_accounts import GoogleAccounts, form_of, granted
from fakes.upstream import Recorded, ScriptedUpstream, as_asked, error, plain, reason_info, retry_info, text_events

pytestmark = pytest.mark.slow

Sits = Callable[..., Desk]
MODEL = "gemini-3.1-flash-lite"
API_KEY = "AIza-key-of-a-test-0123456789"
LISTED = {
    "models": [
        {
            "name": f"models/{name}",
            "displayName": name,
            "inputTokenLimit": 1000,
            "outputTokenLimit": 100,
            "supportedGenerationMethods": ["generateContent"],
        }
        for name in (MODEL, "gemini-9-ultra")
    ]
}


@pytest.fixture
def google() -> Iterator[GoogleAccounts]:
    with GoogleAccounts() as made:
        made.scripts["token"] = lambda record: granted("ya29." + form_of(record)["refresh_token"].rpartition("-")[2])
        yield made


@pytest.fixture
def desk(google: GoogleAccounts) -> Iterator[Sits]:
    with ExitStack() as stack:
        yield lambda *args, **environ: stack.enter_context(Desk(google, *args, **environ))


def models(made: Desk) -> Reply:
    return call(made.port, "GET", "/v1/models", key=KEY)


def names(made: Desk) -> set[str]:
    reply = models(made)
    assert reply.status == 200
    return {row["id"] for row in reply.json["data"]}


def both(upstream: ScriptedUpstream, **more: str) -> dict[str, str]:
    return {"GEMINI_API_KEY": API_KEY, "GOOGLE_GEMINI_BASE_URL": upstream.url, **more}


def test_a_live_list_is_used_and_generates_nothing(
    google: GoogleAccounts, upstream: ScriptedUpstream, desk: Sits
) -> None:
    upstream.when(lambda record: record.method == "GET", plain(LISTED))
    made = desk(ANTIGRAVITY2API_LIVE_MODELS="on", **both(upstream))
    made.brings([account("1//0g-refresh-one")])
    made.serve()
    assert MODEL in names(made), "the table speaks until the list is there"
    listed = eventually(lambda: names(made), lambda seen: "gemini-9-ultra" in seen, within=20)
    assert "claude-sonnet-4-6" in eventually(
        lambda: names(made), lambda seen: "gemini-3-flash" in seen or "claude-sonnet-4-6" in seen, within=20
    )
    assert "gemini-2.0-flash-lite" not in listed, "neither has it"
    one = call(made.port, "GET", "/v1/models/gemini-9-ultra", key=KEY)
    assert (one.status, one.json["id"]) == (200, "gemini-9-ultra")
    assert call(made.port, "GET", "/v1/models/gemini-nobody", key=KEY).status == 404
    assert generated(google) == []
    assert {record.method for record in upstream.requests} == {"GET"}
    assert API_KEY not in "".join(record.target for record in upstream.requests)

    made.gateway.stop()
    asked = len(upstream.requests)
    made.serve()
    assert "gemini-9-ultra" in names(made), "kept for the next start"
    assert len(upstream.requests) == asked


def test_the_list_is_there_while_everything_is_down(
    google: GoogleAccounts, upstream: ScriptedUpstream, desk: Sits
) -> None:
    upstream.default = error(503, "Down.")
    made = desk(ANTIGRAVITY2API_LIVE_MODELS="on", **both(upstream))
    made.brings([account("1//0g-refresh-one")])
    made.serve()
    google.stop()
    for _ in range(3):
        assert {MODEL, "gemini-2.5-flash"} <= names(made)
    eventually(lambda: made.gateway.stderr, lambda text: "could not be asked for its models" in text, within=20)
    assert {MODEL, "gemini-2.5-flash"} <= names(made)
    assert models(made).status == 200


def test_a_model_that_the_list_lacks_goes_elsewhere(
    google: GoogleAccounts, upstream: ScriptedUpstream, desk: Sits
) -> None:
    upstream.when(lambda record: record.method == "GET", plain({"models": LISTED["models"][1:]}))
    upstream.default = as_asked(text_events("gemini"))
    google.scripts["fetchAvailableModels"] = plain({"models": {MODEL: {"displayName": "x"}}})
    google.scripts["streamGenerateContent"] = google.scripts["generateContent"] = says("antigravity")
    made = desk(ANTIGRAVITY2API_LIVE_MODELS="on", **both(upstream))
    made.brings([account("1//0g-refresh-one")])
    made.serve()
    eventually(lambda: names(made), lambda seen: "gemini-9-ultra" in seen, within=20)
    assert made.chat(model=MODEL).text == "antigravity"
    assert made.chat(model="gemini-9-ultra").text == "gemini"
    assert made.chat(model="gemini-quite-unknown").text == "gemini", "an unknown name goes to the first one"


def explained(made: Desk, name: str) -> dict[str, Any]:
    return dict(json.loads(made.cli("models", "--explain", name, "--json").stdout))


def test_who_would_serve_is_who_does(google: GoogleAccounts, upstream: ScriptedUpstream, desk: Sits) -> None:
    spent = error(429, "Used up.", details=[reason_info("QUOTA_EXHAUSTED"), retry_info("5000s")])
    refused = {"one": spent}

    def answer(record: Recorded) -> Any:
        return refused.get(token_of(record).removeprefix("ya29.")) or says("antigravity")(record)

    google.scripts["streamGenerateContent"] = google.scripts["generateContent"] = answer
    upstream.default = as_asked(text_events("gemini"))
    made = desk(**both(upstream, ANTIGRAVITY2API_UPSTREAMS="antigravity,gemini"))
    one, two, three = made.brings([account(f"1//0g-refresh-{name}") for name in ("one", "two", "three")])
    made.cli("credentials", "set", two, "--priority", "1")
    made.cli("credentials", "disable", three)
    assert explained(made, MODEL)["now"] == {"upstream": "antigravity", "credential": one}
    made.serve()

    assert made.chat(model=MODEL).text == "antigravity"
    assert [token_of(record) for record in generated(google)] == ["ya29.one", "ya29.two"]
    report = explained(made, MODEL)
    assert report["now"] == {"upstream": "antigravity", "credential": two}
    says_of = {row["id"]: row["says"] for row in report["upstreams"][0]["credentials"]}
    assert says_of[two] == "would serve"
    assert "cooling until" in says_of[one]
    assert "quota used up" in says_of[one]
    assert "Used up." in says_of[one]
    assert says_of[three] == "disabled by the operator"
    assert explained(made, "claude-sonnet-4-6")["now"]["credential"] == one, "another quota"
    text = made.cli("models", "--explain", MODEL).stdout
    for word in (one, two, three, "cooling until", "would serve", "gemini-1"):
        assert word in text

    refused["two"] = spent
    made.chat(model=MODEL)
    assert explained(made, MODEL)["now"]["upstream"] == "gemini", "all rest here, and another upstream is free"
    assert "asked when the others have failed" in made.cli("models", "--explain", MODEL).stdout
    assert made.chat(model=MODEL).text == "gemini"
    made.cli("credentials", "disable", one, two)
    assert explained(made, MODEL)["now"] == {"upstream": "gemini", "credential": "gemini-1"}
    assert explained(made, "claude-sonnet-4-6")["now"] is None
