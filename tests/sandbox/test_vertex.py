"""The sandbox as Vertex AI: paths, gates, fields, signatures, lists."""

from typing import Any

import pytest

from antigravity2api.sandbox import FAULTS, PREFIX, Sandbox
from antigravity2api.sandbox.vertex import BAD_PROJECTS, MODELS
from sandbox.rawclient import PIXEL, Reply, ask, generate, parts_of, tools, user

HELLO = user("Hello")
TEXT = "Hello! How can I help you today?"
EXPRESS = "/v1/publishers/google/models/gemini-3.8-flash:generateContent"
BEARER = {"authorization": "Bearer token"}


def path(
    model: str = "gemini-3.8-flash", location: str = "global", project: str = "p-1", method: str = "generateContent"
) -> str:
    return f"/v1/projects/{project}/locations/{location}/publishers/google/models/{model}:{method}"


async def vertex(sandbox: Sandbox, body: Any = HELLO, token: str = "token", **where: str) -> Reply:
    return await ask(sandbox, path(**where), body, authorization=f"Bearer {token}")


def reason(reply: Reply) -> str:
    return next((item["reason"] for item in reply.error.get("details", ()) if "reason" in item), "")


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_project_is_served_with_a_token(sandbox: Sandbox, version: str) -> None:
    reply = await ask(sandbox, path().replace("/v1/", f"/{version}/"), HELLO, **BEARER)
    assert (reply.status, reply.text) == (200, TEXT)
    assert reply.json["usageMetadata"]["trafficType"] == "ON_DEMAND"
    assert reply.json["createTime"].startswith("2026-")
    seen = sandbox.requests[-1]
    assert (seen.operation, seen.model, seen.credential) == ("generateContent", "gemini-3.8-flash", "token")


async def test_express_mode_is_served_with_a_key_in_header_or_query(sandbox: Sandbox) -> None:
    target = "/v1/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
    assert (await ask(sandbox, target, HELLO, x_goog_api_key="express")).text == TEXT
    assert (await ask(sandbox, f"{target}&key=express", HELLO, accept="*/*")).text == TEXT
    assert "key=***" in sandbox.requests[-1].target


@pytest.mark.parametrize(
    ("target", "headers", "status", "word"),
    [
        (path(), {"accept": "*/*"}, 401, "CREDENTIALS_MISSING"),
        (path(), {"x_goog_api_key": "key"}, 401, "CREDENTIALS_MISSING"),
        (path(), {"authorization": "Bearer invalid"}, 401, "ACCESS_TOKEN_EXPIRED"),
        (path(), {"authorization": "Bearer no-role"}, 403, "IAM_PERMISSION_DENIED"),
        (path(), {"authorization": "Bearer limited"}, 429, ""),
        (path(), {"authorization": "Bearer suspended"}, 403, ""),
        (EXPRESS, BEARER, 400, ""),
        (
            EXPRESS,
            {"accept": "*/*"},
            401,
            "CREDENTIALS_MISSING",
        ),
        (
            EXPRESS,
            {"x_goog_api_key": "invalid"},
            400,
            "API_KEY_INVALID",
        ),
        (path(project="wrong-project"), BEARER, 403, "IAM_PERMISSION_DENIED"),
        (path(project="api-off"), BEARER, 403, "SERVICE_DISABLED"),
        (path(project="no-billing"), BEARER, 403, "BILLING_DISABLED"),
        (path(method="rawPredict"), BEARER, 404, ""),
        ("/v1/projects/p/locations/global/publishers/anthropic/models/claude-x:rawPredict", BEARER, 404, ""),
    ],
)
async def test_who_may_not(sandbox: Sandbox, target: str, headers: dict[str, str], status: int, word: str) -> None:
    reply = await ask(sandbox, target, HELLO, **headers)
    assert (reply.status, reason(reply)) == (status, word), reply.body


def test_every_bad_project_is_tried() -> None:
    assert set(BAD_PROJECTS) == {"wrong-project", "api-off", "no-billing"}


@pytest.mark.parametrize(
    ("model", "location", "status"),
    [
        ("gemini-4-neon", "global", 200),
        ("gemini-4-neon", "eu", 200),
        ("gemini-4-neon", "us-central1", 404),
        ("gemini-3.8-flash", "us-central1", 200),
        ("gemini-flash-latest", "global", 404),
        ("gemma-4-31b-it", "global", 404),
        ("claude-sonnet-4-6", "global", 404),
        ("gemini-fault-no-such-fault", "global", 404),
    ],
)
async def test_where_a_model_is(sandbox: Sandbox, model: str, location: str, status: int) -> None:
    reply = await vertex(sandbox, model=model, location=location)
    assert reply.status == status, reply.body
    if status == 404:
        name = f"projects/p-1/locations/{location}/publishers/google/models/{model}"
        assert f"Publisher Model `{name}` was not found" in reply.error["message"]


VERTEX_ONLY: list[dict[str, Any]] = [
    {"modelArmorConfig": {"promptTemplateName": "t"}},
    {"outputConfig": {"outputUriPrefix": "gs://b"}},
    {"generationConfig": {"audioTimestamp": True, "topK": 3.5}},
    {"generationConfig": {"routingConfig": {"autoMode": {}}}},
    {"safetySettings": [{"category": "HARM_CATEGORY_IMAGE_HATE", "threshold": "OFF", "method": "SEVERITY"}]},
    {"tools": [{"enterpriseWebSearch": {}}]},
    {"tools": [{"retrieval": {"disableAttribution": True}}]},
    {"tools": [{"googleSearch": {"excludeDomains": ["x.example"]}}]},
]
GEMINI_ONLY: list[dict[str, Any]] = [
    {"serviceTier": "flex"},
    {"store": True},
    {"generationConfig": {"enableEnhancedCivicAnswers": True}},
    {"tools": [{"fileSearch": {}}]},
    {"tools": [{"googleSearch": {"timeRangeFilter": {}}}]},
    {"tools": tools(), "toolConfig": {"includeServerSideToolInvocations": True}},
    {"safetySettings": [{"category": "HARM_CATEGORY_TOXICITY", "threshold": "OFF"}]},
    {"contents": [{"role": "user", "parts": [{"text": "Hello", "partMetadata": {}}]}]},
]


@pytest.mark.parametrize("more", VERTEX_ONLY)
async def test_fields_of_vertex(sandbox: Sandbox, more: dict[str, Any]) -> None:
    assert (await vertex(sandbox, {**HELLO, **more})).status == 200
    assert (await generate(sandbox, {**HELLO, **more})).status == 400


@pytest.mark.parametrize("more", GEMINI_ONLY)
async def test_fields_of_the_gemini_api(sandbox: Sandbox, more: dict[str, Any]) -> None:
    assert (await generate(sandbox, {**HELLO, **more})).status == 200
    reply = await vertex(sandbox, {**HELLO, **more})
    assert (reply.status, reply.error["status"]) == (400, "INVALID_ARGUMENT")


async def test_the_beta_version_knows_more(sandbox: Sandbox) -> None:
    body = {**HELLO, "generationConfig": {"modelConfig": {}}}
    assert (await vertex(sandbox, body)).status == 400
    assert (await ask(sandbox, path().replace("/v1/", "/v1beta1/"), body, **BEARER)).status == 200


async def test_the_highest_level_is_not_known(sandbox: Sandbox) -> None:
    body = {**HELLO, "generationConfig": {"thinkingConfig": {"thinkingLevel": "XHIGH"}}}
    reply = await vertex(sandbox, body, model="gemini-4-neon")
    assert "google.cloud.aiplatform.v1.ThinkingLevel" in reply.error["message"]
    assert (await generate(sandbox, body, "gemini-4-neon")).status == 200


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([{"text": ""}], 400),
        ([{"fileData": {"mimeType": "image/png", "fileUri": "gs://b/o.png"}}], 200),
        ([{"fileData": {"mimeType": "image/png", "fileUri": "files/abc"}}], 400),
        ([{"inlineData": {"mimeType": "image/png", "data": PIXEL}}, {"text": "What is it?"}], 200),
    ],
)
async def test_parts(sandbox: Sandbox, parts: list[Any], status: int) -> None:
    assert (await vertex(sandbox, {"contents": [{"role": "user", "parts": parts}]})).status == status


async def test_signatures_are_its_own(sandbox: Sandbox) -> None:
    question = {**user("What is the weather in Paris?"), "tools": tools()}
    made = parts_of((await vertex(sandbox, question)).json)
    answer = {"functionResponse": {**made[0]["functionCall"], "response": {"output": "sunny"}}}
    answer["functionResponse"].pop("args")
    contents = [*question["contents"], {"role": "model", "parts": made}, {"role": "user", "parts": [answer]}]
    assert (await vertex(sandbox, {**question, "contents": contents})).status == 200
    foreign = await generate(sandbox, {**question, "contents": contents})
    assert (foreign.status, foreign.error["message"]) == (400, "Corrupted thought signature.")


async def test_tokens_are_counted_from_the_parts_of_a_request(sandbox: Sandbox) -> None:
    body = {**HELLO, "systemInstruction": {"parts": [{"text": "Be brief."}]}, "tools": tools()}
    reply = await vertex(sandbox, body, method="countTokens")
    assert reply.json["totalTokens"] > 2
    assert reply.json["totalBillableCharacters"] == 5
    assert (await vertex(sandbox, {}, method="countTokens")).status == 400


@pytest.mark.parametrize("headers", [BEARER, {"x_goog_api_key": "express"}])
async def test_the_list_comes_in_pages_and_agrees_with_the_rest(sandbox: Sandbox, headers: dict[str, str]) -> None:
    names: list[str] = []
    token = ""
    while True:
        target = f"/v1beta1/publishers/google/models?pageSize=10&pageToken={token}"
        page = (await ask(sandbox, target, method="GET", **headers)).json
        names += [model["name"].removeprefix("publishers/google/models/") for model in page["publisherModels"]]
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert tuple(names) == tuple(MODELS)
    for name in names:
        body = user("Hello")
        reply = await vertex(sandbox, body, model=name)
        assert (reply.status == 200) == (name.startswith("gemini-") and "embedding" not in name), name
    one = await ask(sandbox, f"/v1/publishers/google/models/{names[0]}", method="GET", **headers)
    assert one.json["launchStage"] == "GA"
    assert (await ask(sandbox, "/v1/publishers/google/models/nobody", method="GET", **headers)).status == 404


async def test_the_list_needs_a_credential(sandbox: Sandbox) -> None:
    target = "/v1beta1/publishers/google/models"
    assert (await ask(sandbox, target, method="GET", accept="*/*")).status == 401
    assert (await ask(sandbox, target, method="GET", authorization="Bearer invalid")).status == 401
    assert (await ask(sandbox, f"{target}?pageSize=0", method="GET", **BEARER)).status == 400


@pytest.mark.parametrize(
    ("name", "status", "word"),
    [
        ("403-iam", 403, "IAM_PERMISSION_DENIED"),
        ("403-disabled", 403, "SERVICE_DISABLED"),
        ("404-model", 404, ""),
        ("429-vertex", 429, ""),
    ],
)
async def test_faults_speak_vertex(sandbox: Sandbox, name: str, status: int, word: str) -> None:
    reply = await vertex(sandbox, model=PREFIX + name)
    assert (reply.status, reason(reply)) == (status, word)
    assert "generativelanguage" not in reply.body.decode()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in FAULTS if name.startswith(("finish-", "prompt-", "429", "empty"))])
async def test_faults_are_there_too(sandbox: Sandbox, name: str) -> None:
    alike = await generate(sandbox, HELLO, PREFIX + name)
    sandbox.reset()
    assert (await vertex(sandbox, model=PREFIX + name)).status == alike.status
