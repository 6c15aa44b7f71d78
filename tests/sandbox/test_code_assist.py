"""The wrapped form: envelope, account calls, other vendors' models, the token endpoint."""

import copy
import json
from typing import Any

import pytest

from antigravity2api.sandbox import Sandbox
from sandbox.rawclient import TIME, WEATHER, Reply, ask, parts_of, tools, user, wrapped

CLAUDE = "claude-opus-4-6-thinking"
METADATA = {"ideType": "IDE_UNSPECIFIED", "platform": "PLATFORM_UNSPECIFIED", "pluginType": "PLUGIN_UNSPECIFIED"}
GOOGLE_TIME = tools(TIME)


async def call(sandbox: Sandbox, method: str, body: Any, token: str = "token") -> Reply:
    return await ask(sandbox, f"/v1internal:{method}", body, authorization=f"Bearer {token}")


def nested(reply: Reply) -> str:
    """Another vendor's words inside Google's message."""
    assert reply.status == 400, reply.body
    return str(json.loads(reply.error["message"])["error"]["message"])


async def test_both_spellings_of_the_envelope_are_taken(sandbox: Sandbox) -> None:
    cli = {
        "model": "gemini-3.8-flash",
        "project": "p",
        "user_prompt_id": "1",
        "request": {**user("Hi"), "session_id": "2"},
    }
    assert (await call(sandbox, "generateContent", cli)).status == 200
    agent = await wrapped(
        sandbox,
        {**user("Hi"), "sessionId": "-1"},
        requestId="agent-1",
        requestType="agent",
        userAgent="antigravity2api",
    )
    assert agent.status == 200


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (
            {"model": "gemini-3.8-flash", "project": "p", "request": user("x"), "foo": 1},
            400,
            'Unknown name "foo": Cannot',
        ),
        ({"model": "gemini-3.8-flash", "project": "p", "request": {**user("x"), "foo": 1}}, 400, "at 'request'"),
        (
            {"model": "gemini-3.8-flash", "project": "p", "request": {**user("x"), "serviceTier": "flex"}},
            400,
            "serviceTier",
        ),
        ({"model": "gemini-3.8-flash", "request": user("x")}, 403, "permission"),
        ({"model": "gemini-3.8-flash", "project": "wrong-project", "request": user("x")}, 403, "permission"),
        ({"project": "p", "request": user("x")}, 400, "invalid argument"),
        ({"model": "nobody", "project": "p", "request": user("x")}, 404, "Requested entity was not found."),
        ({"model": "gemini-3.8-flash", "project": "p"}, 400, "contents is not specified"),
        ({"model": "gemini-3.8-flash", "project": "p", "request": user("")}, 400, "must have a text parameter"),
        ({"model": 5, "project": "p", "request": user("x")}, 400, "TYPE_STRING"),
        ([], 400, "Root element"),
    ],
)
async def test_bad_envelopes(sandbox: Sandbox, body: Any, status: int, word: str) -> None:
    reply = await call(sandbox, "generateContent", body)
    assert reply.status == status
    assert word in reply.error["message"]


async def test_only_a_bearer_token_opens(sandbox: Sandbox) -> None:
    body = {"model": "gemini-3.8-flash", "project": "p", "request": user("x")}
    target = "/v1internal:generateContent"
    for headers in ({"x_goog_api_key": "key"}, {"authorization": "Bearer expired"}, {"authorization": "Basic x"}):
        reply = await ask(sandbox, target, body, **headers)
        assert (reply.status, reply.error["status"]) == (401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"].startswith("Bearer")
    assert (await call(sandbox, "generateContent", body, "banned")).status == 403


async def test_onboarding(sandbox: Sandbox) -> None:
    known = (await call(sandbox, "loadCodeAssist", {"metadata": METADATA})).json
    assert known["cloudaicompanionProject"]
    assert known["currentTier"]["id"] == "free-tier"
    fresh = (await call(sandbox, "loadCodeAssist", {"metadata": METADATA}, "new-1")).json
    assert "currentTier" not in fresh
    assert [tier["id"] for tier in fresh["allowedTiers"] if tier.get("isDefault")] == ["free-tier"]
    begun = (await call(sandbox, "onboardUser", {"tierId": "free-tier", "metadata": METADATA}, "new-1")).json
    assert begun["done"] is False
    done = (await ask(sandbox, f"/v1internal/{begun['name']}", method="GET", authorization="Bearer new-1")).json
    assert done["response"]["cloudaicompanionProject"]["id"]
    assert "currentTier" in (await call(sandbox, "loadCodeAssist", {"metadata": METADATA}, "new-1")).json
    for body in ({"tierId": "free-tier", "cloudaicompanionProject": "p"}, {"tierId": "standard-tier"}):
        assert (await call(sandbox, "onboardUser", body)).error["status"] == "FAILED_PRECONDITION"
    assert (await call(sandbox, "onboardUser", {"tierId": "x"})).status == 400
    assert (await ask(sandbox, "/v1internal/operations/none", method="GET", authorization="Bearer t")).status == 404


async def test_lists(sandbox: Sandbox) -> None:
    models = (await call(sandbox, "fetchAvailableModels", {"project": "p"})).json["models"]
    assert models[CLAUDE]["supportsThinking"] is True
    assert 0 < models["gemini-3.7-flash-high"]["quotaInfo"]["remainingFraction"] <= 1
    assert "remainingFraction" not in models["gpt-oss-120b-medium"]["quotaInfo"]
    buckets = (await call(sandbox, "retrieveUserQuota", {"project": "p"})).json["buckets"]
    assert buckets[0]["remainingAmount"] == "840"
    assert (await call(sandbox, "fetchAvailableModels", {"foo": 1})).status == 400
    assert (await call(sandbox, "noSuchMethod", {})).status == 404


async def test_count_tokens_has_an_envelope_of_its_own(sandbox: Sandbox) -> None:
    body = {"request": {"model": "models/gemini-3.8-flash", **user("Hello, world")}}
    assert (await call(sandbox, "countTokens", body)).json == {"totalTokens": 3}
    assert (await call(sandbox, "countTokens", {**body, "model": "x"})).status == 400


def claude(question: str = "Weather in Oslo?", budget: int = 2048, **more: Any) -> dict[str, Any]:
    function = {
        "name": "get_weather",
        "description": "Current weather",
        "parameters": {"type": "OBJECT", "properties": {"location": {"type": "STRING"}}, "required": ["location"]},
    }
    config = {"maxOutputTokens": 8000, "thinkingConfig": {"includeThoughts": True, "thinkingBudget": budget}}
    return user(question, tools=tools(function), generationConfig={**config, **more})


async def test_claude_thinks_signs_and_calls(sandbox: Sandbox) -> None:
    request = claude()
    reply = (await wrapped(sandbox, request, CLAUDE)).json["response"]
    thought, called = parts_of(reply)
    assert reply["responseId"].startswith("msg_vrtx_")
    assert thought["thought"] is True
    assert "thoughtSignature" in thought
    assert "thoughtSignature" not in called
    assert called["functionCall"]["id"].startswith("toolu_vrtx_")
    result = {"id": called["functionCall"]["id"], "name": "get_weather", "response": {"output": "rain"}}
    request["contents"] += [
        {"role": "model", "parts": [thought, called]},
        {"role": "user", "parts": [{"functionResponse": result}]},
    ]
    assert "rain" in (await wrapped(sandbox, request, CLAUDE)).text
    for change, word in (
        (lambda parts: parts.pop(0), "Expected `thinking`"),
        (lambda parts: parts[0].pop("thoughtSignature"), "thinking.signature: Field required"),
        (lambda parts: parts[0].update(text="Otherwise."), "Invalid `signature` in `thinking` block"),
        (lambda parts: parts[0].update(thoughtSignature="skip_thought_signature_validator"), "Invalid `signature`"),
    ):
        spoiled = copy.deepcopy(request)
        change(spoiled["contents"][1]["parts"])
        assert word in nested(await wrapped(sandbox, spoiled, CLAUDE))


async def test_a_thought_may_return_joined_or_in_its_pieces(sandbox: Sandbox) -> None:
    request = claude("Why?")
    streamed = await wrapped(sandbox, request, CLAUDE, "streamGenerateContent")
    parts = [part for event in streamed.events for part in parts_of(event["response"])]
    thoughts = [part for part in parts if part.get("thought")]
    assert [("thoughtSignature" in part) for part in thoughts] == [False] * (len(thoughts) - 1) + [True]
    joined = {**thoughts[-1], "text": "".join(part["text"] for part in thoughts)}
    for history in (thoughts, [joined]):
        contents = [
            *request["contents"],
            {"role": "model", "parts": [*history, {"text": "So."}]},
            *user("And?")["contents"],
        ]
        assert (await wrapped(sandbox, {**request, "contents": contents}, CLAUDE)).status == 200


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (claude(budget=1023), "choose a value between 1024"),
        (claude(budget=8000), "must be greater than `thinking.budget_tokens`"),
        (claude(temperature=0.5), "`temperature` may only be set to 1"),
        (claude(topK=5), "`temperature` may only be set to 1"),
        (
            claude(budget=0, includeThoughts=False) | {"generationConfig": {"temperature": 1, "topP": 0.9}},
            "cannot both be",
        ),
        (user("x", tools=tools({"name": "a.b", "parameters": TIME["parameters"]})), "pattern"),
        (user("x", tools=tools({"name": "no_arguments"})), "at least one property"),
        (user("x", tools=tools(WEATHER)), 'Unknown name "parametersJsonSchema"'),
        (
            user(
                "x",
                tools=tools(
                    {
                        "name": "f",
                        "parameters": {"type": "OBJECT", "properties": {"a": {"type": "STRING", "minLength": 1}}},
                    }
                ),
            ),
            'Unknown name "minLength"',
        ),
    ],
)
async def test_claude_refuses(sandbox: Sandbox, request_: Any, word: str) -> None:
    reply = await wrapped(sandbox, request_, CLAUDE)
    assert reply.status == 400
    assert word in reply.error["message"]


async def test_ids_are_demanded(sandbox: Sandbox) -> None:
    request = claude(budget=0) | {"generationConfig": {}}
    request["contents"] += [
        {"role": "model", "parts": [{"functionCall": {"name": "get_weather", "args": {"location": "Oslo"}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "get_weather", "response": {}}}]},
    ]
    assert (await wrapped(sandbox, request, CLAUDE)).status == 400
    for index, kind in ((1, "functionCall"), (2, "functionResponse")):
        request["contents"][index]["parts"][0][kind]["id"] = "call_1"
    assert (await wrapped(sandbox, request, CLAUDE)).status == 200


async def test_open_models_answer_too(sandbox: Sandbox) -> None:
    assert (await wrapped(sandbox, user("Hello"), "gpt-oss-120b-medium")).text == "Hello! How can I help you today?"


async def token(sandbox: Sandbox, **form: str) -> Reply:
    body = "&".join(f"{name}={value}" for name, value in form.items()).encode()
    return await ask(sandbox, "/token", body, content_type="application/x-www-form-urlencoded")


async def test_tokens_are_refreshed(sandbox: Sandbox) -> None:
    first = (await token(sandbox, grant_type="refresh_token", refresh_token="r")).json
    second = (await token(sandbox, grant_type="refresh_token", refresh_token="r")).json
    assert first["access_token"] != second["access_token"]
    assert first["expires_in"] == 3599
    assert (await wrapped(sandbox, user("Hello"))).status == 200


@pytest.mark.parametrize(
    ("refresh", "status", "word"),
    [
        ("refresh-invalid-grant", 400, "invalid_grant"),
        ("refresh-invalid-client", 401, "invalid_client"),
        ("refresh-500", 500, "<title>"),
        ("refresh-html", 200, "<title>"),
        ("refresh-no-token", 200, "token_type"),
        ("refresh-slow", 200, "access_token"),
        ("refresh-short", 200, '"expires_in": 1'),
        ("", 400, "invalid_request"),
    ],
)
async def test_refresh_faults(sandbox: Sandbox, refresh: str, status: int, word: str) -> None:
    reply = await token(sandbox, grant_type="refresh_token", refresh_token=refresh)
    assert reply.status == status
    assert word in reply.body.decode()


async def test_other_grants(sandbox: Sandbox) -> None:
    assert (await token(sandbox, grant_type="password")).status == 400
    assert "refresh_token" in (await token(sandbox, grant_type="authorization_code", code="x")).json
    grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    assert (await token(sandbox, grant_type=grant, assertion="x")).status == 200
