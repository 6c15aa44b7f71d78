"""Calls → the Cloud Code Assist envelope, events back, what its errors mean."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini import models
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.models import ModelTable
from antigravity2api.upstreams.antigravity import Antigravity, session_id
from antigravity2api.upstreams.shaping import address_of

TABLE = ModelTable.load()
DATA = tomllib.loads((Path(models.__file__).parent / "models.toml").read_text(encoding="utf-8"))
TOKEN = Credential("antigravity-1", "ya29.token", "example-project-1")
CLAUDE = "claude-opus-4-6-thinking"
GEMINI = "gemini-3.7-flash-high"
HELLO = {"contents": [{"role": "user", "parts": [{"text": "Weather?"}]}]}
TOOLS = [
    {
        "functionDeclarations": [
            {
                "name": "get_weather",
                "parametersJsonSchema": {
                    "type": "object",
                    "properties": {"city": {"type": "string", "minLength": 2}},
                    "required": ["city"],
                },
            },
            {"name": "now"},
        ]
    }
]
OURS = frozenset({"temperature", "topP", "topK", "maxOutputTokens"})


def call(request: dict[str, Any], model: str = GEMINI, **more: Any) -> Call:
    known = {"asked_model": model, "profile": TABLE.profile(model), "stream": False, **more}
    return Call(dialect="chat", operation="chat", model=model, request=request, **known)


def upstream(**more: Any) -> Antigravity:
    return Antigravity(address_of("https://cloudcode-pa.googleapis.com"), TABLE, **more)


def envelope(request: dict[str, Any], model: str = GEMINI, **more: Any) -> dict[str, Any]:
    before = copy.deepcopy(request)
    made = upstream().prepare(call(request, model, **more), TOKEN)
    assert request == before
    return json.loads(made.body)


def inner(request: dict[str, Any], model: str = GEMINI, **more: Any) -> dict[str, Any]:
    return envelope(request, model, **more)["request"]


def config(given: dict[str, Any], model: str = CLAUDE, **more: Any) -> dict[str, Any]:
    return inner({**HELLO, "generationConfig": given}, model, **more).get("generationConfig", {})


# -- the envelope ------------------------------------------------------------------------------------------------------


def test_the_envelope_says_honestly_who_we_are():
    body = envelope(HELLO)
    assert re.fullmatch(
        r"agent-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", body.pop("requestId")
    )
    session = body["request"].pop("sessionId")
    assert re.fullmatch(r"-\d{1,19}", session)
    assert body == {
        "project": "example-project-1",
        "model": GEMINI,
        "requestType": "agent",
        "userAgent": "antigravity2api",
        "request": HELLO,
    }


def test_the_token_is_in_a_header_and_nothing_else_is_claimed():
    request = upstream(request_id=lambda: "agent-1").prepare(call(HELLO, stream=True), TOKEN)
    assert (request.method, request.target) == ("POST", "/v1internal:streamGenerateContent?alt=sse")
    headers = {name.lower(): value for name, value in request.headers}
    assert headers.pop("user-agent").startswith("antigravity2api/")
    assert headers == {
        "content-type": "application/json",
        "accept": "text/event-stream",
        "authorization": "Bearer ya29.token",
    }
    assert b"ya29" not in request.body
    assert upstream().prepare(call(HELLO), TOKEN).target == "/v1internal:generateContent"


def test_the_same_input_gives_the_same_bytes_but_for_the_request_id():
    fixed = [upstream(request_id=lambda: "agent-1").prepare(call(HELLO), TOKEN) for _ in range(2)]
    assert fixed[0] == fixed[1]
    assert envelope(HELLO)["requestId"] != envelope(HELLO)["requestId"]


def test_a_conversation_keeps_its_session():
    longer = {"contents": [*HELLO["contents"], {"role": "model", "parts": [{"text": "Sunny"}]}, *HELLO["contents"]]}
    other = {"contents": [{"role": "user", "parts": [{"text": "Else"}]}]}
    assert session_id(call(HELLO)) == session_id(call(longer)) != session_id(call(other))
    image = {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]}
    assert session_id(call(image, affinity="a")) != session_id(call(image, affinity="b"))


@pytest.mark.parametrize("project", [None, "", "  ", "a\nb"])
def test_no_project_is_ever_invented(project):
    with pytest.raises(Fault) as caught:
        upstream().prepare(call(HELLO), Credential("antigravity-1", "ya29.token", project))
    assert caught.value.kind is Kind.CREDENTIAL
    assert "ANTIGRAVITY_PROJECT" in caught.value.message


def test_a_name_that_is_none_is_refused():
    with pytest.raises(Fault) as caught:
        upstream().prepare(call(HELLO, "../x"), TOKEN)
    assert caught.value.param == "model"


def test_what_the_envelope_does_not_know_is_left_out_and_noted():
    request = {
        **HELLO,
        "safetySettings": [],
        "labels": {"a": "b"},
        "serviceTier": "flex",
        "generationConfig": {"seed": 7, "routingConfig": {}, "stopSequences": ["x"]},
    }
    made = upstream().prepare(call(request), TOKEN)
    body = json.loads(made.body)["request"]
    assert body["generationConfig"] == {"seed": 7, "stopSequences": ["x"]}
    assert set(body) == {"contents", "generationConfig", "sessionId"}
    assert set(made.notes) == {"safetySettings", "labels", "serviceTier", "routingConfig"}


def test_cached_content_is_for_another_upstream():
    with pytest.raises(Fault) as caught:
        upstream().prepare(call({**HELLO, "cachedContent": "cachedContents/x"}), TOKEN)
    assert (caught.value.kind, caught.value.retry) == (Kind.INVALID_REQUEST, Retry.OTHER_UPSTREAM)


def test_gemini_models_get_googles_own_schema_form():
    request = {
        **HELLO,
        "tools": TOOLS,
        "generationConfig": {"responseJsonSchema": {"type": "object", "properties": {"a": {"type": "string"}}}},
    }
    for learned in (None, "json_schema"):
        body = inner(request, schema_target=learned)
        weather, now = body["tools"][0]["functionDeclarations"]
        assert weather["parameters"]["type"] == "OBJECT"
        assert weather["parameters"]["properties"]["city"]["type"] == "STRING"
        assert "parametersJsonSchema" not in weather
        assert now == {"name": "now"}
        assert body["generationConfig"]["responseSchema"]["type"] == "OBJECT"
        assert "toolConfig" not in body


def test_the_output_limit_of_the_model_holds():
    limit = TABLE.profile(GEMINI).output_limit
    assert config({"maxOutputTokens": 10**7}, GEMINI) == {"maxOutputTokens": limit}
    assert config({"maxOutputTokens": 5}, GEMINI) == {"maxOutputTokens": 5}


# -- Claude ------------------------------------------------------------------------------------------------------------


def test_claude_gets_bare_schemas_and_a_placeholder_for_no_arguments():
    weather, now = inner({**HELLO, "tools": TOOLS}, CLAUDE)["tools"][0]["functionDeclarations"]
    assert "minLength" not in weather["parameters"]["properties"]["city"]
    assert weather["parameters"]["required"] == ["city"]
    assert len(now["parameters"]["properties"]) == 1
    assert "parametersJsonSchema" not in weather


@pytest.mark.parametrize(
    ("given", "mode"), [(None, "VALIDATED"), ("AUTO", "VALIDATED"), ("NONE", "NONE"), ("ANY", "ANY")]
)
def test_claudes_calls_are_validated_unless_the_client_chose(given, mode):
    request = {**HELLO, "tools": TOOLS}
    if given:
        request["toolConfig"] = {"functionCallingConfig": {"mode": given}}
    assert inner(request, CLAUDE)["toolConfig"]["functionCallingConfig"]["mode"] == mode
    assert "toolConfig" not in inner(HELLO, CLAUDE)


@pytest.mark.parametrize(
    ("given", "ours", "expected"),
    [
        ({"temperature": 1, "topP": 0.85, "topK": 50}, OURS, {"temperature": 1}),
        ({"temperature": 0.2, "topP": 0.85, "topK": 50}, {"topP", "topK"}, {"temperature": 0.2}),
        ({"temperature": 1, "topP": 0.5, "topK": 50}, {"temperature", "topK"}, {"topP": 0.5}),
        ({"temperature": 0.2, "topP": 0.5}, set(), {"temperature": 0.2, "topP": 0.5}),
        ({"temperature": 0.2, "topK": 9}, set(), {"temperature": 0.2, "topK": 9}),
    ],
)
def test_one_sampling_knob_is_enough_for_claude(given, ours, expected):
    assert config(given, defaulted=frozenset(ours)) == {**expected, "maxOutputTokens": 64000}


@pytest.mark.parametrize(
    ("asked", "limit", "budget"),
    [
        ({"thinkingBudget": 9000}, 64000, 9000),
        ({"thinkingBudget": 100000}, 20000, 19999),
        ({"thinkingBudget": 10}, 20000, 1024),
        ({"thinkingBudget": 9000}, 1024, None),
        ({"thinkingBudget": 0}, 64000, None),
        ({"thinkingBudget": -1}, 64000, 16384),
        ({"thinkingLevel": "LOW"}, 64000, 8192),
        ({}, 64000, None),
    ],
)
def test_claudes_budget_stays_within_the_output_limit(asked, limit, budget):
    made = config({"maxOutputTokens": limit, "thinkingConfig": {"includeThoughts": True, **asked}})
    assert made["maxOutputTokens"] == limit
    expected = None if budget is None else {"includeThoughts": True, "thinkingBudget": budget}
    assert made.get("thinkingConfig") == expected


def test_sampling_does_not_go_with_claudes_thinking():
    given = {"temperature": 0.2, "topP": 0.85, "topK": 50, "thinkingConfig": {"thinkingBudget": 2048}}
    made = upstream().prepare(
        call({**HELLO, "generationConfig": given}, CLAUDE, defaulted=frozenset({"topP", "topK"})), TOKEN
    )
    assert json.loads(made.body)["request"]["generationConfig"] == {
        "maxOutputTokens": 64000,
        "thinkingConfig": {"thinkingBudget": 2048, "includeThoughts": True},
    }
    assert made.notes == ("temperature",)


def test_knobs_that_claude_does_not_have_are_noted():
    made = upstream().prepare(
        call({**HELLO, "generationConfig": {"seed": 1, "presencePenalty": 0.5, "stopSequences": ["x"]}}, CLAUDE), TOKEN
    )
    assert json.loads(made.body)["request"]["generationConfig"] == {"maxOutputTokens": 64000, "stopSequences": ["x"]}
    assert set(made.notes) == {"seed", "presencePenalty"}


def test_claudes_history_has_signed_thoughts_first_and_ids_that_pair():
    contents = [
        *HELLO["contents"],
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "a", "args": {}}, "thoughtSignature": "skip_thought_signature_validator"},
                {"text": "so"},
                {"functionCall": {"name": "b", "args": {}, "id": "toolu:1"}},
                {"text": "unsigned", "thought": True},
                {"text": "signed", "thought": True, "thoughtSignature": "U0lH"},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "a", "response": {"output": 1}}},
                {"functionResponse": {"name": "b", "response": {"output": 2}, "id": "toolu:1"}},
            ],
        },
    ]
    given = {"contents": contents, "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}}}
    body = inner(given, CLAUDE)
    assert body["contents"][1]["parts"] == [
        {"text": "signed", "thought": True, "thoughtSignature": "U0lH"},
        {"text": "so"},
        {"functionCall": {"name": "a", "args": {}, "id": "call_1_0"}},
        {"functionCall": {"name": "b", "args": {}, "id": "toolu_1"}},
    ]
    assert [part["functionResponse"]["id"] for part in body["contents"][2]["parts"]] == ["call_1_0", "toolu_1"]
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 2048, "includeThoughts": True}


def test_without_the_signed_thought_of_the_last_calls_claude_does_not_think():
    contents = [
        *HELLO["contents"],
        {"role": "model", "parts": [{"text": "lost", "thought": True}, {"functionCall": {"name": "a", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "a", "response": {}}}]},
    ]
    request = {"contents": contents, "generationConfig": {"thinkingConfig": {"thinkingBudget": 2048}}}
    made = upstream().prepare(call(request, CLAUDE), TOKEN)
    body = json.loads(made.body)["request"]
    assert "thinkingConfig" not in body["generationConfig"]
    assert len(body["contents"][1]["parts"]) == 1
    assert {"thinkingConfig:off without the signed thought of these calls", "unsigned thoughts"} <= set(made.notes)


# -- images ------------------------------------------------------------------------------------------------------------


def test_drawing_has_no_tools_no_thinking_and_no_session():
    request = {
        **HELLO,
        "systemInstruction": {"parts": [{"text": "Only cats."}]},
        "tools": TOOLS,
        "generationConfig": {
            "temperature": 1,
            "maxOutputTokens": 8096,
            "thinkingConfig": {"thinkingLevel": "HIGH"},
            "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"},
        },
    }
    made = upstream().prepare(call(request, "gemini-3.1-flash-image", defaulted=OURS), TOKEN)
    body = json.loads(made.body)
    assert body["requestType"] == "image_gen"
    assert body["request"] == {
        "contents": [{"role": "user", "parts": [{"text": "Only cats."}, {"text": "Weather?"}]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "imageConfig": {"aspectRatio": "16:9"}},
    }
    assert {"imageSize", "tools", "thinkingConfig", "systemInstruction"} <= set(made.notes)


# -- back --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "chunk"),
    [
        ({"response": {"candidates": []}, "traceId": "x"}, {"candidates": []}),
        ({"traceId": "x"}, {}),
        ({"response": None, "traceId": "x"}, {}),
        ({}, {}),
        ({"candidates": [], "modelVersion": "m"}, {"candidates": [], "modelVersion": "m"}),
        ([{"response": {"candidates": [1]}}], {"candidates": [1]}),
    ],
)
def test_an_event_is_unwrapped(event, chunk):
    assert upstream().unwrap(event) == chunk


NOTICES = [
    "Claude Opus 4.5 is no longer available. Please switch to Claude Opus 4.6.",
    "Gemini 3.5 Flash is no longer available. Please switch to Gemini 3.7 Flash in the latest version of Antigravity.",
    "claude-sonnet-4-5 is no longer available. please switch to claude-sonnet-4-6.\n",
]
NO_TOKENS = [{}, {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}, {"trafficType": "X"}, None]


def told(text: str, usage: Any = None, *, more: Any = (), **candidate: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": text}, *more]}
    response = {"candidates": [{"content": content, "finishReason": "STOP", **candidate}]}
    return {"response": response if usage is None else {**response, "usageMetadata": usage}}


@pytest.mark.parametrize("usage", NO_TOKENS)
@pytest.mark.parametrize("text", NOTICES)
def test_a_notice_in_the_place_of_an_answer_is_a_model_that_is_not_there(text, usage):
    with pytest.raises(Fault) as caught:
        upstream().unwrap(told(text, usage))
    fault = caught.value
    assert (fault.kind, fault.param, fault.retry) == (Kind.MODEL_NOT_FOUND, "model", Retry.OTHER_UPSTREAM)
    assert fault.message == text.strip()


@pytest.mark.parametrize(
    "event",
    [
        told(NOTICES[0], {"promptTokenCount": 9, "candidatesTokenCount": 17, "totalTokenCount": 26}),
        told(NOTICES[0], {"candidatesTokenCount": 17}),
        told(NOTICES[0], {"totalTokenCount": 17}),
        told(NOTICES[0], finishReason="STOP", content={"parts": [{"text": NOTICES[0], "thought": True}]}),
        told(NOTICES[0], more=[{"text": " That is what it says."}]),
        told(NOTICES[0], more=[{"functionCall": {"name": "f", "args": {}}}]),
        told(f'It says: "{NOTICES[0]}"'),
        told(f"{NOTICES[0]}\nIs there anything else?"),
        told("Flour is no longer available: " + NOTICES[0]),
        told("The printer is no longer available."),
        told(""),
        {"response": {"candidates": [{"content": {"parts": [{"text": NOTICES[0]}]}}]}},
        {"response": {"candidates": [{"finishReason": "STOP"}]}},
        {"response": {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": 1}]}}]}},
        {"response": {"candidates": [1, 2], "usageMetadata": 1}},
    ],
)
def test_an_answer_is_never_mistaken_for_a_notice(event):
    assert upstream().unwrap(event) == event["response"]


@pytest.mark.parametrize("event", [None, 1, [], "x", {"response": 1}, {"response": "x"}])
def test_an_event_of_another_form_is_a_bad_answer(event):
    with pytest.raises(Fault) as caught:
        upstream().unwrap(event)
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"response": one}, lambda one: [one]])
def test_an_error_is_found_in_and_beside_the_response(wrap):
    with pytest.raises(Fault) as caught:
        upstream().unwrap(wrap({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}))
    assert caught.value.kind is Kind.OVERLOADED


def error(code: int, message: str, status: str, reason: str | None = None, links: Any = (), **metadata: str) -> bytes:
    details: list[dict[str, Any]] = []
    if reason:
        domain = {"reason": reason, "domain": "cloudcode-pa.googleapis.com", "metadata": metadata}
        details.append({"@type": "type.googleapis.com/google.rpc.ErrorInfo", **domain})
    if links:
        details.append({"@type": "type.googleapis.com/google.rpc.Help", "links": [{"url": url} for url in links]})
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": details}}).encode()


ERRORS = [
    (429, error(429, "x", "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", quotaResetDelay="479ms"), "rate_limited", 0.479),
    (429, error(429, "x", "RESOURCE_EXHAUSTED", "QUOTA_EXHAUSTED", quotaResetDelay="1h43m56s"), "rate_limited", 6236.0),
    (429, error(429, "x", "RESOURCE_EXHAUSTED", "INSUFFICIENT_G1_CREDITS_BALANCE"), "rate_limited", None),
    (429, error(429, "Resource has been exhausted (e.g. check quota).", "RESOURCE_EXHAUSTED"), "rate_limited", None),
    (503, error(503, "No capacity", "UNAVAILABLE", "MODEL_CAPACITY_EXHAUSTED"), "overloaded", None),
    (429, error(429, "No capacity", "RESOURCE_EXHAUSTED", "MODEL_CAPACITY_EXHAUSTED"), "overloaded", None),
    (403, error(403, "x", "PERMISSION_DENIED", "SECURITY_POLICY_VIOLATED"), "credential", None),
    (401, error(401, "x", "UNAUTHENTICATED"), "credential", None),
    (404, error(404, "Requested entity was not found.", "NOT_FOUND"), "model_not_found", None),
    (400, error(400, "x", "INVALID_ARGUMENT"), "invalid_request", None),
    (499, error(499, "x", "CANCELLED"), "upstream_error", None),
]


@pytest.mark.parametrize(("status", "body", "kind", "wait"), ERRORS)
def test_errors_by_the_table(status, body, kind, wait):
    fault = upstream().classify(status, {}, body)
    assert fault.kind == kind
    assert fault.retry_after == (wait if wait is None else pytest.approx(wait))


def test_a_verification_comes_with_its_link():
    link = "https://accounts.google.com/signin/continue?x=1"
    for made in (
        error(403, "Verify your account.", "PERMISSION_DENIED", "VALIDATION_REQUIRED", validation_link=link),
        error(403, "Verify your account.", "PERMISSION_DENIED", "VALIDATION_REQUIRED", [link, "https://other"]),
    ):
        fault = upstream().classify(403, {}, made)
        assert (fault.kind, fault.retry) == (Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL)
        assert fault.link == link
        assert link not in fault.message, "it is the account owner's, and the message goes to clients"
    evil = error(403, "Verify.", "PERMISSION_DENIED", "VALIDATION_REQUIRED", validation_link="javascript:alert(1)")
    assert upstream().classify(403, {}, evil).link is None


@pytest.mark.parametrize("reason", ["TOS_VIOLATION", None, "SOMETHING"])
def test_a_closed_account_is_not_worked_around(reason):
    text = "This service has been disabled in this account for violation of Terms of Service. Please submit an appeal."
    metadata = {"appeal_url": "https://forms.gle/appeal"} if reason else {}
    fault = upstream().classify(403, {}, error(403, text, "PERMISSION_DENIED", reason, **metadata))
    assert (fault.kind, fault.reason, fault.retry) == (Kind.CREDENTIAL, "TOS_VIOLATION", Retry.OTHER_UPSTREAM)
    assert fault.link == ("https://forms.gle/appeal" if reason else None)


def test_a_project_that_is_not_ours_is_told_apart_and_not_named():
    made = upstream()
    made.prepare(call(HELLO), TOKEN)
    fault = made.classify(
        403, {}, error(403, "The caller does not have permission on example-project-1", "PERMISSION_DENIED")
    )
    assert fault.reason == "PROJECT_PERMISSION_DENIED"
    assert "example-project-1" not in fault.message


def test_claudes_own_error_is_unwrapped():
    text = json.dumps({"type": "error", "error": {"type": "invalid_request_error", "message": "messages.1: bad block"}})
    fault = upstream().classify(400, {}, error(400, text, "INVALID_ARGUMENT"))
    assert (fault.kind, fault.message, fault.param) == (Kind.INVALID_REQUEST, "messages.1: bad block", "messages")


def test_what_is_served_here():
    made = upstream()
    assert made.lists(CLAUDE)
    assert made.lists("claude-sonnet-9")
    assert made.lists("gemini-3.1-flash-lite")
    assert made.lists("gemini-3.1-flash-image")
    assert made.lists("gemini-3.8-flash")
    assert not made.lists("gemini-embedding-001")
    assert not made.lists("gemini-2.5-pro")
    assert not made.lists("nobody-knows")
    assert not Antigravity(made.address).lists(CLAUDE)


@pytest.mark.parametrize(
    ("name", "sent", "kind"),
    [
        ("gemini-2.0-flash-exp", "gemini-3.7-flash-high", "agent"),
        ("gemimi-3.0-pro-image", "gemini-3.1-flash-image", "image_gen"),
        ("gemini-2.0-flash-lite", "gemini-3.1-flash-lite", "agent"),
        ("gemini-3.1-pro-preview", "gemini-pro-agent", "agent"),
    ],
)
def test_a_model_of_another_surface_is_sent_by_the_id_it_has_here_and_told(name, sent, kind):
    model = TABLE.resolve(name)
    made = upstream().prepare(call(HELLO, model), TOKEN)
    body = json.loads(made.body)
    assert (body["model"], body["requestType"]) == (sent, kind)
    assert f"model:{sent}" in made.notes
    assert upstream().lists(model)


@pytest.mark.parametrize("model", [GEMINI, CLAUDE, "gemini-3.1-flash-lite", "gemini-9-x", "gemini-2.5-pro"])
def test_any_other_name_is_sent_as_it_is(model):
    made = upstream().prepare(call(HELLO, model), TOKEN)
    assert json.loads(made.body)["model"] == model
    assert not any(note.startswith("model:") for note in made.notes)


def test_without_a_table_the_name_is_sent_as_it_is():
    made = Antigravity(address_of("https://host"), None).prepare(call(HELLO, "gemini-3.8-flash"), TOKEN)
    assert json.loads(made.body)["model"] == "gemini-3.8-flash"


def test_an_operators_table_may_give_other_ids_of_a_surface():
    table = ModelTable({**DATA, "ids_on": {"antigravity": {"gemini-2.5-pro": "gemini-3.1-pro-low"}}}, {})
    made = Antigravity(address_of("https://host"), table)
    assert made.lists("gemini-2.5-pro")
    assert not made.lists("gemini-3.8-flash")
    assert json.loads(made.prepare(call(HELLO, "gemini-2.5-pro"), TOKEN).body)["model"] == "gemini-3.1-pro-low"


def test_the_limits_of_the_model_that_is_sent_hold():
    rows = [*DATA["model"], {"id": "small-here", "family": "gemini-3", "output_limit": 100, "levels": ["LOW"]}]
    table = ModelTable({**DATA, "model": rows, "ids_on": {"antigravity": {"gemini-3.8-flash": "small-here"}}}, {})
    request = {**HELLO, "generationConfig": {"maxOutputTokens": 5000}}
    made = Antigravity(address_of("https://host"), table).prepare(call(request, "gemini-3.8-flash"), TOKEN)
    assert json.loads(made.body)["request"]["generationConfig"]["maxOutputTokens"] == 100


@pytest.mark.parametrize("agent", ["antigravity/2.9.0 linux/amd64", "GeminiCLI/1.0", "google-api-nodejs-client/9"])
def test_no_other_client_is_imitated(agent):
    with pytest.raises(ValueError, match="user agent"):
        upstream(user_agent=agent)
