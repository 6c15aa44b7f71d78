"""Calls → requests of Vertex AI, events back, and what its refusals tell the operator."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.schema import Target
from antigravity2api.upstreams.base import Address
from antigravity2api.upstreams.vertex import Vertex

TABLE = ModelTable.load()
TOKEN = Credential("vertex-1", "ya29.test-token_0123456789", "my-project")
KEY = Credential("vertex-2", "AQ.express-key_0123456789abcdef", express=True)
HELLO: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello é"}]}]}
SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "properties": {"city": {}}}
STREAM = "streamGenerateContent?alt=sse"


def call(request: dict[str, Any], model: str = "gemini-3.8-flash", **more: Any) -> Call:
    known = {"asked_model": model, "profile": TABLE.profile(model), "stream": False, **more}
    return Call(dialect="chat", operation="chat", model=model, request=request, **known)


def vertex(**more: Any) -> Vertex:
    return Vertex(models=TABLE, **more)


def sent(request: dict[str, Any], credential: Credential = TOKEN, upstream: Vertex | None = None, **more: Any) -> Any:
    return json.loads((upstream or vertex()).prepare(call(request, **more), credential).body)


def noted(request: dict[str, Any], **more: Any) -> tuple[str, ...]:
    return vertex().prepare(call(request, **more), TOKEN).notes


def refused(request: dict[str, Any] = HELLO, credential: Credential = TOKEN, **more: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        vertex().prepare(call(request, **more), credential)
    return caught.value


def error(code: int, message: str, word: str = "", reason: str = "", **metadata: str) -> bytes:
    node: dict[str, Any] = {"code": code, "message": message, "status": word}
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        node["details"] = [{"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": metadata}]
    return json.dumps({"error": node}).encode()


# -- where a request goes


def test_a_token_goes_to_its_project_and_stays_in_a_header():
    request = vertex().prepare(call(HELLO), TOKEN)
    assert request.method == "POST"
    assert request.target == (
        "/v1/projects/my-project/locations/global/publishers/google/models/gemini-3.8-flash:generateContent"
    )
    headers = {name.lower(): value for name, value in request.headers}
    assert headers.pop("user-agent").startswith("antigravity2api/")
    assert headers == {
        "content-type": "application/json",
        "accept": "application/json",
        "authorization": f"Bearer {TOKEN.secret}",
    }
    assert request.body == '{"contents":[{"role":"user","parts":[{"text":"Hello é"}]}]}'.encode()
    assert (request.address, TOKEN.secret in repr(request)) == (None, False)


def test_an_express_key_goes_without_a_project_and_never_into_the_url():
    request = vertex(location="europe-west4").prepare(call(HELLO, stream=True), KEY)
    assert request.target == f"/v1/publishers/google/models/gemini-3.8-flash:{STREAM}"
    assert request.address == Address("aiplatform.googleapis.com", 443, True)
    headers = dict(request.headers)
    assert headers["x-goog-api-key"] == KEY.secret
    assert headers["Accept"] == "text/event-stream"
    assert "Authorization" not in headers


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_location_has_its_host(location: str, host: str):
    assert vertex(location=location).address == Address(host, 443, True)
    own = vertex()
    credential = Credential("v", "token", "p-1", location)
    request = own.prepare(call(HELLO), credential)
    assert (request.address or own.address).host == host
    assert f"/projects/p-1/locations/{location}/" in request.target


def test_another_root_takes_all_locations_with_its_path():
    own = vertex(location="us-central1", base_url="http://127.0.0.1:9/proxy/vertex")
    assert own.address == Address("127.0.0.1", 9, False, "/proxy/vertex")
    for credential in (TOKEN, KEY, Credential("v", "token", "p-1", "eu")):
        assert own.prepare(call(HELLO), credential).address in (None, own.address)


def test_the_project_may_be_the_upstreams_own():
    request = vertex(project="shared-project").prepare(call(HELLO), Credential("v", "token"))
    assert request.target.startswith("/v1/projects/shared-project/")


@pytest.mark.parametrize("project", [None, "", " ", "a/b", "..", "x?y", "é", "p\r\nx: y"])
def test_a_project_is_never_made_up(project: str | None):
    fault = refused(credential=Credential("v", "token", project))
    assert (fault.kind, fault.retry, fault.reason) == (Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL, "PROJECT_MISSING")
    assert "GOOGLE_CLOUD_PROJECT" in fault.message


@pytest.mark.parametrize("location", ["evil.example.com/", "x.y", "-", "a b", "é", "us\r\n", "a" * 50, "@evil"])
def test_a_location_cannot_steer_the_host(location: str):
    fault = refused(credential=Credential("v", "token", "p-1", location))
    assert (fault.kind, fault.reason) == (Kind.CREDENTIAL, "LOCATION_MALFORMED")


@pytest.mark.parametrize("secret", ["", "a b", "a\r\nx: y", "é"])
def test_a_broken_secret_is_the_credentials_fault(secret: str):
    fault = refused(credential=Credential("v", secret, "p-1"))
    assert (fault.kind, fault.reason) == (Kind.CREDENTIAL, "CREDENTIAL_MALFORMED")


# -- models


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "publishers/google/models/gemini-3.8-flash"])
def test_googles_models_go_by_their_bare_name(model: str):
    assert (
        vertex()
        .prepare(call(HELLO, model=model), TOKEN)
        .target.endswith("/publishers/google/models/gemini-3.8-flash:generateContent")
    )
    assert vertex().lists(model)


@pytest.mark.parametrize("model", ["publishers/anthropic/models/claude-sonnet-4-6", "tunedModels/mine"])
def test_other_vendors_models_are_for_another_upstream(model: str):
    fault = refused(model=model)
    assert (fault.kind, fault.retry, fault.param) == (Kind.MODEL_NOT_FOUND, Retry.OTHER_UPSTREAM, "model")
    assert not vertex().lists(model)


def test_a_moving_name_is_sent_as_the_model_that_stands_for_it():
    request = vertex().prepare(call(HELLO, model="gemini-flash-latest"), TOKEN)
    assert "/models/gemini-3.8-flash:" in request.target
    assert request.notes == ("model:gemini-3.8-flash",)


@pytest.mark.parametrize(
    ("model", "listed"),
    [
        ("gemini-4-neon", True),
        ("gemini-flash-latest", True),
        ("gemma-4-31b-it", False),
        ("claude-sonnet-4-6", False),
        ("nobody-knows", False),
    ],
)
def test_it_lists_what_the_table_knows_here(model: str, listed: bool):
    assert vertex().lists(model) is listed


def test_an_unknown_name_is_passed_on():
    assert "/models/gemini-9-next:" in vertex().prepare(call(HELLO, model="gemini-9-next"), TOKEN).target


@pytest.mark.parametrize("model", ["../x", "a/b", "x?key=1", "x#", "", "x y", "é", "x\r\n"])
def test_a_name_that_would_steer_the_url_is_refused(model: str):
    fault = refused(model=model)
    assert (fault.kind, fault.param) == (Kind.INVALID_REQUEST, "model")


# -- fields

VERTEX_ONLY: dict[str, Any] = {
    **HELLO,
    "labels": {"team": "a"},
    "modelArmorConfig": {"promptTemplateName": "t"},
    "outputConfig": {"outputUriPrefix": "gs://b/x"},
    "continuationToken": "dG9rZW4=",
    "generationConfig": {
        "audioTimestamp": True,
        "routingConfig": {"autoMode": {}},
        "imageConfig": {
            "aspectRatio": "1:1",
            "imageSize": "2K",
            "personGeneration": "ALLOW_ADULT",
            "prominentPeople": "BLOCK_PROMINENT_PEOPLE",
            "imageOutputOptions": {"mimeType": "image/jpeg", "compressionQuality": 80},
        },
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"},
    },
    "tools": [
        {"functionDeclarations": [{"name": "now"}]},
        {"googleSearch": {"excludeDomains": ["x.example"], "blockingConfidence": "BLOCK_ONLY_EXTREMELY_HIGH"}},
        {"retrieval": {"vertexAiSearch": {"datastore": "d"}}},
        {"enterpriseWebSearch": {}},
        {"parallelAiSearch": {"apiKey": "k"}},
        {"exaAiSearch": {"apiKey": "k"}},
        {"googleMaps": {"groundingTypes": {"places": {}}}},
    ],
    "toolConfig": {
        "functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": True},
        "retrievalConfig": {"languageCode": "de"},
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF", "method": "SEVERITY"}],
}
PARTS: list[Any] = [
    {"text": "a", "thoughtSignature": "c2ln"},
    {"functionCall": {"id": "c1", "name": "f", "args": {"partMetadata": 1, "toolCall": 2}}},
    {"functionResponse": {"id": "c1", "name": "f", "response": {"willContinue": True}, "scheduling": "SILENT"}},
    {"inlineData": {"mimeType": "image/png", "data": "AA==", "displayName": "n"}, "mediaResolution": {"level": "X"}},
    {"fileData": {"mimeType": "image/png", "fileUri": "gs://bucket/o.png"}, "videoMetadata": {"fps": 1}},
    {"text": "", "thoughtSignature": "c2ln"},
    {"thought": True, "text": "t"},
]


def test_what_vertex_knows_stays_as_it_is():
    assert sent(VERTEX_ONLY) == VERTEX_ONLY
    assert noted(VERTEX_ONLY) == ()
    contents = {"contents": [{"role": "user", "parts": PARTS}]}
    assert sent(contents) == contents


def test_what_only_the_gemini_api_knows_is_left_out_and_noted():
    request = {
        "contents": [
            {"role": "model", "parts": [{"toolCall": {"id": "t"}, "thoughtSignature": "c2ln"}]},
            {
                "role": "user",
                "parts": [
                    {"text": "x", "partMetadata": {"a": 1}, "mediaProcessing": "STATIC"},
                    {"toolResponse": {"id": "t"}},
                    {"functionResponse": {"name": "f", "response": {}, "willContinue": False}},
                    {"text": "y", "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW", "numTokens": 3}},
                ],
            },
        ],
        "serviceTier": "flex",
        "store": True,
        "generationConfig": {"enableEnhancedCivicAnswers": True, "modelConfig": {}, "topK": 3},
        "tools": [
            {"fileSearch": {}},
            {"mcpServers": [{}]},
            {"googleSearch": {"timeRangeFilter": {}}},
        ],
        "toolConfig": {"includeServerSideToolInvocations": True},
        "safetySettings": [
            {"category": "HARM_CATEGORY_DEROGATORY", "threshold": "OFF"},
            {"category": "HARM_CATEGORY_JAILBREAK", "threshold": "OFF"},
        ],
    }
    before = copy.deepcopy(request)
    assert sent(request) == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "x"},
                    {"functionResponse": {"name": "f", "response": {}}},
                    {"text": "y", "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"}},
                ],
            }
        ],
        "generationConfig": {"topK": 3},
        "tools": [{"googleSearch": {}}],
        "safetySettings": [{"category": "HARM_CATEGORY_JAILBREAK", "threshold": "OFF"}],
    }
    assert set(noted(request)) == {
        "serviceTier", "store", "toolCall", "toolResponse", "partMetadata", "mediaProcessing", "willContinue",
        "numTokens", "enableEnhancedCivicAnswers", "modelConfig", "fileSearch", "mcpServers", "timeRangeFilter",
        "includeServerSideToolInvocations", "safetySettings",
    }  # fmt: skip
    assert request == before


def test_the_beta_version_has_two_fields_more():
    request = {
        "contents": [{"role": "user", "parts": [{"text": "x", "mediaProcessing": "STATIC"}]}],
        "generationConfig": {"modelConfig": {"featureSelectionPreference": "BALANCED"}},
    }
    beta = vertex(version="v1beta1")
    assert sent(request, upstream=beta) == request
    assert beta.prepare(call(request), TOKEN).target.startswith("/v1beta1/projects/")
    assert sent(request) == {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {}}


def test_tools_that_nobody_knows_here_take_their_choice_along():
    request = {**HELLO, "tools": [{"fileSearch": {}}], "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}
    assert sent(request) == HELLO


def test_the_highest_thinking_level_has_another_word():
    request = {**HELLO, "generationConfig": {"thinkingConfig": {"thinkingLevel": "XHIGH", "includeThoughts": True}}}
    body = sent(request, model="gemini-4-neon")
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH", "includeThoughts": True}
    assert noted(request) == ("thinkingLevel:HIGH",)


def test_schemas_are_json_schema_unless_learned_otherwise():
    request = {
        **HELLO,
        "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA},
    }
    body = sent(request)
    (declaration,) = body["tools"][0]["functionDeclarations"]
    assert declaration["parametersJsonSchema"]["type"] == "object"
    assert "$schema" not in declaration["parametersJsonSchema"]
    assert "responseJsonSchema" in body["generationConfig"]
    body = sent(request, schema_target=Target.OPENAPI.value)
    assert body["tools"][0]["functionDeclarations"][0]["parameters"]["type"] == "OBJECT"
    assert "responseSchema" in body["generationConfig"]


def test_a_cache_is_named_within_the_project():
    request = {**HELLO, "cachedContent": "cachedContents/abc"}
    assert sent(request)["cachedContent"] == "projects/my-project/locations/global/cachedContents/abc"
    assert sent(request, KEY)["cachedContent"] == "cachedContents/abc"
    whole = {**HELLO, "cachedContent": "projects/p/locations/eu/cachedContents/abc"}
    assert sent(whole)["cachedContent"] == whole["cachedContent"]


@pytest.mark.parametrize("uri", ["https://generativelanguage.googleapis.com/v1beta/files/abc-1", "files/abc"])
def test_files_of_the_gemini_api_are_for_the_gemini_api(uri: str):
    part = {"fileData": {"mimeType": "image/png", "fileUri": uri}}
    for parts in ([part], [part, {"text": "x", "partMetadata": {}}]):
        fault = refused({"contents": [{"role": "user", "parts": parts}]})
        assert (fault.kind, fault.retry) == (Kind.INVALID_REQUEST, Retry.OTHER_UPSTREAM)


def test_other_files_pass():
    uris = ("gs://b/files/x", "https://example.com/files/x.png", "https://www.youtube.com/watch?v=files")
    parts = [{"fileData": {"mimeType": "image/png", "fileUri": uri}} for uri in uris]
    request = {"contents": [{"role": "user", "parts": parts}]}
    assert sent(request) == request


# -- events


def test_events_are_taken_as_they_are():
    event = {"candidates": [], "createTime": "2026-11-20T10:00:00Z"}
    assert vertex().unwrap(event) is event
    assert vertex().unwrap({"error": None, "candidates": []}) == {"candidates": []}


def test_an_error_within_a_stream_is_understood():
    body = json.loads(error(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"))
    for event in (body, [body]):
        with pytest.raises(Fault) as caught:
            vertex().unwrap(event)
        assert caught.value.kind is Kind.RATE_LIMITED


@pytest.mark.parametrize("event", [1, None, "x", [1, 2]])
def test_what_is_no_object_is_a_bad_answer(event: Any):
    with pytest.raises(Fault) as caught:
        vertex().unwrap(event)
    assert caught.value.kind is Kind.BAD_ANSWER


# -- refusals

ROLE = "roles/aiplatform.user"
DENIED = "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/secret-1'."
NOT_USED = "Vertex AI API has not been used in project 123456789 before or it is disabled."


@pytest.mark.parametrize(
    ("body", "reason", "hint"),
    [
        (error(403, DENIED, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED"), "IAM_PERMISSION_DENIED", ROLE),
        (error(403, DENIED, "PERMISSION_DENIED"), "IAM_PERMISSION_DENIED", ROLE),
        (error(403, NOT_USED, "PERMISSION_DENIED", "SERVICE_DISABLED"), "SERVICE_DISABLED", "Enable the Vertex AI API"),
        (error(403, NOT_USED, "PERMISSION_DENIED"), "SERVICE_DISABLED", "Enable the Vertex AI API"),
        (error(403, "Billing is off.", "PERMISSION_DENIED", "BILLING_DISABLED"), "BILLING_DISABLED", "on billing"),
        (error(403, "Project 'x' not found.", "PERMISSION_DENIED", "CONSUMER_INVALID"), "CONSUMER_INVALID", "exist"),
        (error(400, "API key not valid.", "INVALID_ARGUMENT", "API_KEY_INVALID"), "API_KEY_INVALID", "express-mode"),
        (error(401, "API keys are not supported.", "", "CREDENTIALS_MISSING"), "CREDENTIALS_MISSING", "express-mode"),
        (error(401, "Expired.", "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED"), "ACCESS_TOKEN_EXPIRED", ""),
        (error(403, "No.", "PERMISSION_DENIED"), None, ""),
    ],
)
def test_a_refused_credential_says_what_to_do(body: bytes, reason: str | None, hint: str):
    status = json.loads(body)["error"]["code"]
    fault = vertex().classify(status, {}, body)
    assert (fault.kind, fault.retry, fault.reason) == (Kind.CREDENTIAL, Retry.OTHER_CREDENTIAL, reason)
    assert hint in fault.message
    assert fault.upstream_status == status
    assert "secret-1" not in fault.message
    assert "123456789" not in fault.message


def test_a_model_that_the_location_lacks_is_explained():
    name = "projects/secret-1/locations/us-central1/publishers/google/models/gemini-4-neon"
    body = error(404, f"Publisher Model `{name}` was not found.", "NOT_FOUND")
    fault = vertex().classify(404, {}, body)
    assert (fault.kind, fault.retry, fault.param) == (Kind.MODEL_NOT_FOUND, Retry.OTHER_UPSTREAM, "model")
    assert "GOOGLE_CLOUD_LOCATION=global" in fault.message
    assert "us-central1" in fault.message
    assert "secret-1" not in fault.message


def test_a_model_that_is_nowhere_gets_no_advice():
    body = error(
        404, "Publisher Model `projects/p/locations/global/publishers/google/models/x` not found.", "NOT_FOUND"
    )
    assert "GOOGLE_CLOUD_LOCATION" not in vertex().classify(404, {}, body).message


def test_where_credentials_have_several_locations_another_one_is_asked():
    body = error(404, "Publisher Model `x` not found.", "NOT_FOUND")
    fault = vertex(locations=["us-central1"]).classify(404, {}, body)
    assert (fault.kind, fault.retry) == (Kind.MODEL_NOT_FOUND, Retry.OTHER_CREDENTIAL)


def test_a_shared_quota_says_no_delay_and_a_minutes_quota_one():
    shared = vertex().classify(429, {}, error(429, "Resource exhausted. Please try again later.", "RESOURCE_EXHAUSTED"))
    assert (shared.kind, shared.retry, shared.retry_after) == (Kind.RATE_LIMITED, Retry.OTHER_CREDENTIAL, None)
    metric = "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project"
    assert vertex().classify(429, {}, error(429, metric, "RESOURCE_EXHAUSTED")).retry_after == 60


def test_a_body_that_is_too_large_here_may_fit_elsewhere():
    fault = vertex().classify(413, {}, b"")
    assert (fault.kind, fault.retry) == (Kind.TOO_LARGE, Retry.OTHER_UPSTREAM)


def test_secrets_project_and_a_private_root_are_never_told():
    own = vertex(base_url="https://vertex.corp-proxy.example")
    own.prepare(call(HELLO), TOKEN)
    text = f"vertex.corp-proxy.example refused {TOKEN.secret} of my-project"
    fault = own.classify(500, {}, error(500, text))
    assert "corp-proxy" not in fault.message
    assert TOKEN.secret not in fault.message
    assert "my-project" not in fault.message


@pytest.mark.parametrize("more", [{"version": "../v1"}, {"user_agent": "antigravity/1.0"}, {"base_url": "ftp://x"}])
def test_a_wrong_construction_is_told(more: dict[str, str]):
    with pytest.raises(ValueError, match=r"\w"):
        vertex(**more)
