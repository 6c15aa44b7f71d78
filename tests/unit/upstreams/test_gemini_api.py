"""Calls → requests of the Gemini API, events back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.schema import Target
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.shaping import address_of

TABLE = ModelTable.load()
KEY = Credential("gemini-1", "AIzaTestKey_0123456789abcdefghijklmnop")
HELLO = {"contents": [{"role": "user", "parts": [{"text": "Hello é"}]}]}
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"city": {"type": ["string", "null"], "description": "where"}},
    "required": ["city"],
}
TOOLS = [
    {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}, {"name": "now"}]},
    {"googleSearch": {}},
]


def call(request: dict[str, Any], model: str = "gemini-3.8-flash", **more: Any) -> Call:
    known = {"asked_model": model, "profile": TABLE.profile(model), "stream": False, **more}
    return Call(dialect="chat", operation="chat", model=model, request=request, **known)


def upstream(url: str = "https://generativelanguage.googleapis.com", **more: Any) -> GeminiApi:
    return GeminiApi(address_of(url), TABLE, **more)


def sent(request: dict[str, Any], **more: Any) -> dict[str, Any]:
    return json.loads(upstream().prepare(call(request, **more), KEY).body)


def test_the_model_is_in_the_path_and_the_key_in_a_header_only():
    request = upstream().prepare(call(HELLO), KEY)
    assert (request.method, request.target) == ("POST", "/v1beta/models/gemini-3.8-flash:generateContent")
    headers = {name.lower(): value for name, value in request.headers}
    assert headers.pop("user-agent").startswith("antigravity2api/")
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "x-goog-api-key": KEY.secret,
    }
    assert KEY.secret not in request.target
    assert KEY.secret.encode() not in request.body
    assert KEY.secret not in repr(request)
    assert request.body == '{"contents":[{"role":"user","parts":[{"text":"Hello é"}]}]}'.encode()


def test_a_stream_asks_for_events():
    request = upstream(version="v1").prepare(call(HELLO, stream=True), KEY)
    assert request.target == "/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert ("Accept", "text/event-stream") in request.headers


def test_a_tuned_model_keeps_its_prefix():
    request = upstream().prepare(call(HELLO, model="tunedModels/my-own_1.0"), KEY)
    assert request.target == "/v1beta/tunedModels/my-own_1.0:generateContent"


@pytest.mark.parametrize(
    "model", ["../x", "a/b", "x?key=1", "x#", "x%2fy", "", "tunedModels/../x", "x y", "é", "x\r\n", "a" * 300, ".."]
)
def test_a_name_that_would_steer_the_url_is_refused(model):
    with pytest.raises(Fault) as caught:
        upstream().prepare(call(HELLO, model=model), KEY)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, "model")


@pytest.mark.parametrize("secret", ["", "with blank", "line\r\nbreak", "ключ", "x" * 9000])
def test_a_key_that_is_none_is_the_credentials_fault(secret):
    with pytest.raises(Fault) as caught:
        upstream().prepare(call(HELLO), Credential("gemini-1", secret))
    assert (caught.value.kind, caught.value.retry) == (Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL)
    assert not secret or secret not in caught.value.message


def test_what_only_other_surfaces_know_is_left_out_and_noted():
    request = {
        **HELLO,
        "modelArmorConfig": {},
        "host": "evil.example",
        "cachedContent": "cachedContents/x",
        "labels": {"a": "b"},
        "serviceTier": "flex",
        "safetySettings": [{"category": "A", "threshold": "OFF", "method": "SEVERITY"}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "streamFunctionCallArguments": True}},
        "tools": [{"retrieval": {}}, {"googleSearch": {"excludeDomains": ["x"], "searchTypes": {}}}],
        "generationConfig": {
            "topK": 3,
            "routingConfig": {},
            "audioTimestamp": True,
            "imageConfig": {"aspectRatio": "1:1", "personGeneration": "ALL"},
        },
    }
    before = copy.deepcopy(request)
    made = upstream().prepare(call(request), KEY)
    assert json.loads(made.body) == {
        **HELLO,
        "cachedContent": "cachedContents/x",
        "labels": {"a": "b"},
        "serviceTier": "flex",
        "safetySettings": [{"category": "A", "threshold": "OFF"}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "tools": [{"googleSearch": {"searchTypes": {}}}],
        "generationConfig": {"topK": 3, "imageConfig": {"aspectRatio": "1:1"}},
    }
    assert {"modelArmorConfig", "host", "routingConfig", "personGeneration", "retrieval"} <= set(made.notes)
    assert request == before


def test_schemas_go_up_as_json_schema_by_default():
    config = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    request = {**HELLO, "tools": TOOLS, "generationConfig": config}
    before = copy.deepcopy(request)
    body = sent(request)
    declarations = body["tools"][0]["functionDeclarations"]
    assert declarations[0]["parametersJsonSchema"]["properties"]["city"]["description"] == "where"
    assert "$schema" not in declarations[0]["parametersJsonSchema"]
    assert declarations[1] == {"name": "now"}
    assert body["tools"][1] == {"googleSearch": {}}
    assert body["generationConfig"]["responseJsonSchema"]["required"] == ["city"]
    assert request == before


@pytest.mark.parametrize("how", ["argument", "learned"])
def test_schemas_step_down_when_told(how):
    config = {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}
    request = {**HELLO, "tools": TOOLS, "generationConfig": config}
    if how == "argument":
        made = upstream().prepare(call(request), KEY, target=Target.OPENAPI)
    else:
        made = upstream().prepare(call(request, schema_target="openapi"), KEY)
    body = json.loads(made.body)
    parameters = body["tools"][0]["functionDeclarations"][0]["parameters"]
    assert parameters["type"] == "OBJECT"
    assert parameters["properties"]["city"]["nullable"] is True
    assert "parametersJsonSchema" not in body["tools"][0]["functionDeclarations"][0]
    assert body["generationConfig"]["responseSchema"]["type"] == "OBJECT"
    assert "responseJsonSchema" not in body["generationConfig"]


def test_a_schema_that_is_none_names_the_clients_field():
    tools = [{"functionDeclarations": [{"name": "a"}, {"name": "f", "parametersJsonSchema": "no"}]}]
    with pytest.raises(Fault) as caught:
        sent({**HELLO, "tools": tools})
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == "tools[1].function.parameters"


def test_preparing_twice_gives_the_same_bytes():
    made = call({**HELLO, "tools": TOOLS})
    assert upstream().prepare(made, KEY) == upstream().prepare(made, KEY)


def test_integers_past_64_bits_go_up():
    request = {**HELLO, "generationConfig": {"seed": 1 << 70}}
    assert sent(request)["generationConfig"]["seed"] == 1 << 70


def test_an_event_is_handed_on_as_it_is():
    event = {"candidates": []}
    assert upstream().unwrap(event) is event
    assert upstream().unwrap([event]) == event
    assert upstream().unwrap({"error": None, "candidates": [1]}) == {"candidates": [1]}


@pytest.mark.parametrize("event", [None, 1, "x", [], [1, 2], True])
def test_what_is_no_event_is_a_bad_answer(event):
    with pytest.raises(Fault) as caught:
        upstream().unwrap(event)
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one]])
def test_an_error_event_is_a_fault_of_its_own_kind(wrap):
    with pytest.raises(Fault) as caught:
        upstream().unwrap(wrap({"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}))
    assert (caught.value.kind, caught.value.message) == (Kind.RATE_LIMITED, "slow")


def test_neither_key_nor_private_host_come_back_in_a_sentence():
    made = upstream("https://gw.private.example/base")
    odd = Credential("gemini-1", "an-odd-key-without-form")
    made.prepare(call(HELLO), odd)
    text = json.dumps({"error": {"code": 500, "message": f"{odd.secret} at gw.private.example failed"}}).encode()
    assert made.classify(500, {}, text).message == "*** at [host] failed"
    assert made.classify(500, {}, b"other-secret x", secrets=("other-secret",)).message == "*** x"
    with pytest.raises(Fault) as caught:
        made.unwrap(json.loads(text))
    assert odd.secret not in caught.value.message


def test_the_table_says_what_is_served_here():
    made = upstream()
    assert made.lists("gemini-3.8-flash")
    assert not made.lists("claude-sonnet-4-6")
    assert not made.lists("nobody-knows")
    assert not GeminiApi(made.address).lists("gemini-3.8-flash")


@pytest.mark.parametrize("agent", ["antigravity/1.0", "GeminiCLI/1", "CloudCode x", "", "a\nb", "é"])
def test_no_other_client_is_imitated(agent):
    with pytest.raises(ValueError, match="user agent"):
        upstream(user_agent=agent)


@pytest.mark.parametrize("version", ["", "../x", "v1/..", "V1", "1"])
def test_the_version_is_a_path_segment(version):
    with pytest.raises(ValueError, match="version"):
        upstream(version=version)
