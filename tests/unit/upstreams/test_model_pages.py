"""Pages of the upstreams' lists: how they are asked for, and what they say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.live_models import LiveModel
from antigravity2api.upstreams.antigravity import Antigravity
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.model_pages import Page, page_request, read_page
from antigravity2api.upstreams.shaping import address_of
from antigravity2api.upstreams.vertex import Vertex

GEMINI = GeminiApi(address_of("https://generativelanguage.googleapis.com"))
ANTIGRAVITY = Antigravity(address_of("https://cloudcode-pa.googleapis.com"))
AGENT = "antigravity2api/test"


def headers(request: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers}


def page(upstream: str, value: Any) -> Page:
    return read_page(upstream, json.dumps(value).encode())


def test_the_gemini_api_is_asked_with_the_key_in_a_header():
    request = page_request(GEMINI, Credential("g", "key"), agent=AGENT)
    assert (request.method, request.target, request.body) == ("GET", "/v1beta/models?pageSize=1000", b"")
    assert headers(request) == {"accept": "application/json", "user-agent": AGENT, "x-goog-api-key": "key"}
    assert page_request(GEMINI, Credential("g", "key"), "a/b=&", agent=AGENT).target.endswith("&pageToken=a%2Fb%3D%26")


def test_vertex_is_asked_at_the_credentials_place():
    request = page_request(Vertex(), Credential("v", "token", "p-1", "eu"), agent=AGENT)
    assert request.target == "/v1beta1/publishers/google/models?pageSize=100"
    assert request.address is not None
    assert request.address.host == "aiplatform.eu.rep.googleapis.com"
    assert headers(request)["authorization"] == "Bearer token"
    assert "x-goog-user-project" not in headers(request)
    billed = page_request(Vertex(), Credential("v", "token", "p-1"), agent=AGENT, quota_project=True)
    assert headers(billed)["x-goog-user-project"] == "p-1"
    express = headers(page_request(Vertex(), Credential("v", "key", express=True), agent=AGENT, quota_project=True))
    assert express["x-goog-api-key"] == "key"
    assert not express.keys() & {"authorization", "x-goog-user-project"}


def test_antigravity_is_asked_for_what_is_available():
    request = page_request(ANTIGRAVITY, Credential("a", "token", "p-1"), agent=AGENT)
    assert (request.method, request.target) == ("POST", "/v1internal:fetchAvailableModels")
    assert json.loads(request.body) == {"project": "p-1"}
    assert json.loads(page_request(ANTIGRAVITY, Credential("a", "token"), agent=AGENT).body) == {}


def test_a_broken_secret_asks_nobody():
    with pytest.raises(Fault):
        page_request(GEMINI, Credential("g", "a\r\nb"), agent=AGENT)


def test_a_page_of_the_gemini_api():
    models = [
        {
            "name": "models/gemini-3.8-flash",
            "displayName": "Gemini 3.8 Flash",
            "inputTokenLimit": 10,
            "outputTokenLimit": 5,
            "supportedGenerationMethods": ["countTokens", "generateContent"],
        },
        {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
        {"name": "models/imagen-4", "supportedGenerationMethods": ["predict"]},
        {"name": "models/aqa", "supportedGenerationMethods": ["generateAnswer"]},
        {"name": "models/silent", "inputTokenLimit": "many", "outputTokenLimit": -1, "displayName": 1},
        {"name": "tunedModels/x"},
        {"name": 1},
        "x",
    ]
    assert page("gemini", {"models": models, "nextPageToken": "next"}) == Page(
        [
            LiveModel(id="gemini-3.8-flash", name="Gemini 3.8 Flash", input_limit=10, output_limit=5),
            LiveModel(id="gemini-embedding-001", kind="embedding"),
            LiveModel(id="imagen-4", kind="imagen"),
            LiveModel(id="aqa", kind="other"),
            LiveModel(id="silent"),
        ],
        "next",
    )


def test_a_page_of_vertex_has_geminis_models():
    names = [
        "publishers/google/models/gemini-3.8-flash",
        "publishers/google/models/imagen-4",
        "publishers/x/models/y",
        1,
    ]
    value = {"publisherModels": [*({"name": name} for name in names), None]}
    assert page("vertex", value) == Page([LiveModel(id="gemini-3.8-flash")])


def test_the_map_of_antigravity_without_what_is_the_editors():
    value = {
        "models": {
            "gemini-3-flash": {"displayName": "Gemini 3 Flash", "maxTokens": 10, "maxOutputTokens": 5},
            "claude-x": {"quotaInfo": {"resetTime": "2026-11-20T15:00:00Z"}},
            "tab_flash": {"displayName": "tab"},
            "chat_1": {},
            "odd": 1,
        }
    }
    assert page("antigravity", value).models == [
        LiveModel(id="gemini-3-flash", name="Gemini 3 Flash", input_limit=10, output_limit=5),
        LiveModel(id="claude-x"),
    ]


@pytest.mark.parametrize("body", [b"", b"data: {}\n\n", b"[]", b"{}", b'{"models": 1}', b"<html>", b'{"models": null}'])
@pytest.mark.parametrize("upstream", ["gemini", "vertex", "antigravity"])
def test_what_is_no_page_is_a_bad_answer(upstream: str, body: bytes):
    with pytest.raises(Fault) as caught:
        read_page(upstream, body)
    assert caught.value.kind is Kind.BAD_ANSWER


@pytest.mark.parametrize("token", [1, None, "é", "x" * 5000, ""])
def test_a_strange_token_ends_the_list(token: Any):
    assert page("gemini", {"models": [], "nextPageToken": token}).following == ""
