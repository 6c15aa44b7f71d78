"""The upstreams' own lists of models: how to ask for a page, and what a page says. Pure; nothing here generates."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import quote

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.gemini.live_models import LiveModel
from antigravity2api.upstreams.base import HttpRequest, Upstream
from antigravity2api.upstreams.shaping import header_secret
from antigravity2api.upstreams.vertex import Vertex

MOST_PAGES = 20
_GEMINI_PAGE = 1000
_VERTEX_PAGE = 100
_METHODS = (
    ("embedContent", "embedding"),
    ("predict", "imagen"),
    ("predictLongRunning", "video"),
    ("bidiGenerateContent", "live"),
)
"""What a model is for that has no ``generateContent``, by the first method that it has."""
_GENERATES = "generateContent"
_PUBLISHER = "publishers/google/models/"


class Page(NamedTuple):
    """One page, and the token of the next; empty at the end."""

    models: list[LiveModel]
    following: str = ""


def page_request(
    upstream: Upstream, credential: Credential, token: str = "", *, agent: str, quota_project: bool = False
) -> HttpRequest:
    """The request for a page of an upstream's list. ``quota_project`` names the project that pays: Vertex AI wants it
    of users, and not of service accounts. Raises ``Fault`` for a credential that is none."""
    secret = header_secret(credential)
    if upstream.name == "antigravity":
        from antigravity2api.upstreams import codeassist  # noqa: PLC0415 - most have no such account

        return codeassist.models_request(secret, credential.project, agent=agent)
    headers = [("Accept", "application/json"), ("User-Agent", agent)]
    following = f"&pageToken={quote(token, safe='')}" if token else ""
    if not isinstance(upstream, Vertex):
        headers.append(("x-goog-api-key", secret))
        return HttpRequest("GET", f"/v1beta/models?pageSize={_GEMINI_PAGE}{following}", tuple(headers), b"")
    headers.append(("x-goog-api-key", secret) if credential.express else ("Authorization", f"Bearer {secret}"))
    if quota_project and credential.project:
        headers.append(("x-goog-user-project", credential.project))
    target = f"/v1beta1/{_PUBLISHER[:-1]}?pageSize={_VERTEX_PAGE}{following}"
    return HttpRequest("GET", target, tuple(headers), b"", (), upstream.address_for(credential))


def read_page(upstream: str, body: bytes) -> Page:
    """What a page says. Raises ``Fault`` BAD_ANSWER for what is no page of a list."""
    try:
        value = loads_upstream(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        match upstream:
            case "antigravity" if isinstance(value.get("models"), dict):
                return Page(_of_code_assist(value))
            case "vertex" if isinstance(value.get("publisherModels"), list):
                return Page(_of_vertex(value["publisherModels"]), _token(value))
            case "gemini" if isinstance(value.get("models"), list):
                return Page(_of_gemini(value["models"]), _token(value))
    raise Fault(Kind.BAD_ANSWER, "The upstream's list of models cannot be read.", retry=Retry.SAME)


def _token(value: dict[str, Any]) -> str:
    token = value.get("nextPageToken")
    return token if isinstance(token, str) and token.isascii() and len(token) <= 4096 else ""


def _of_code_assist(value: dict[str, Any]) -> list[LiveModel]:
    from antigravity2api.upstreams.codeassist import read_models  # noqa: PLC0415 - as above

    return [
        LiveModel(id=model.id, name=model.title, input_limit=model.input_limit, output_limit=model.output_limit)
        for model in read_models(value)
    ]


def _of_gemini(models: list[Any]) -> list[LiveModel]:
    made = []
    for model in models:
        name = model.get("name") if isinstance(model, dict) else None
        if isinstance(name, str) and name.startswith("models/"):
            made.append(
                LiveModel(
                    id=name.removeprefix("models/"),
                    name=_text(model.get("displayName")),
                    kind=_kind(model.get("supportedGenerationMethods")),
                    input_limit=_limit(model.get("inputTokenLimit")),
                    output_limit=_limit(model.get("outputTokenLimit")),
                )
            )
    return made


def _of_vertex(models: list[Any]) -> list[LiveModel]:
    """Gemini's own; the publisher's other models have other methods, which its list does not tell."""
    made = []
    for model in models:
        name = model.get("name") if isinstance(model, dict) else None
        if isinstance(name, str) and name.startswith(f"{_PUBLISHER}gemini"):
            made.append(LiveModel(id=name.removeprefix(_PUBLISHER)))
    return made


def _kind(methods: Any) -> str:
    """Empty for what generates content, and where nothing is said."""
    if not isinstance(methods, list) or not methods or _GENERATES in methods:
        return ""
    return next((kind for method, kind in _METHODS if method in methods), "other")


def _text(value: Any) -> str:
    return value.strip()[:200] if isinstance(value, str) else ""


def _limit(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
