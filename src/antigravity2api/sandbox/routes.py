"""Which operation a request is for, read from its line alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from antigravity2api.sandbox.wire import Head

_MODELS = re.compile(r"/(v1beta|v1alpha|v1)/models", re.ASCII)
_MODEL = re.compile(r"/(v1beta|v1alpha|v1)/models/([^/:]+)", re.ASCII)
_METHOD = re.compile(r"/(v1beta|v1alpha|v1)/models/([^/:]+):([A-Za-z]+)", re.ASCII)
_INTERNAL = re.compile(r"/v1internal:([A-Za-z]+)", re.ASCII)
_OPERATION = re.compile(r"/v1internal/(operations/[\w-]+)", re.ASCII)
_PARENT = r"projects/([A-Za-z0-9._:-]+)/locations/([a-z0-9-]+)/"
_PUBLISHED = re.compile(rf"/(v1|v1beta1)/(?:{_PARENT})?publishers/google/models/([^/:]+):([A-Za-z]+)", re.ASCII)
_PUBLISHER = re.compile(r"/(v1beta1)/publishers/google/models", re.ASCII)
_PUBLISHER_MODEL = re.compile(r"/(v1|v1beta1)/publishers/google/models/([^/:]+)", re.ASCII)
_GENERATE = frozenset({"generateContent", "streamGenerateContent"})


@dataclass(frozen=True, slots=True)
class Route:
    """An operation: the method's name, the model in the path, the API version, and whether it is the wrapped form."""

    operation: str
    """``generateContent``, ``countTokens``, ``listModels`` …; empty for a path that leads nowhere."""
    query: dict[str, str]
    model: str = ""
    version: str = "v1beta"
    wrapped: bool = False
    vertex: bool = False
    project: str = ""
    location: str = ""

    @property
    def parent(self) -> str:
        """The first part of a resource's name on Vertex AI; empty in express mode."""
        return f"projects/{self.project}/locations/{self.location}/" if self.project else ""

    @property
    def generates(self) -> bool:
        """Whether an answer of a model is asked for."""
        return self.operation in _GENERATE

    @property
    def stream(self) -> bool:
        """Whether it shall come in events."""
        return self.operation == "streamGenerateContent"

    @property
    def sse(self) -> bool:
        """Whether the events are server-sent events and not one JSON list."""
        return self.query.get("alt", self.query.get("$alt")) == "sse"


def route(head: Head) -> Route:
    """The route of a request."""
    split = urlsplit(head.target)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    path = split.path
    if head.method == "GET":
        if match := _MODELS.fullmatch(path):
            return Route("listModels", query, version=match[1])
        if match := _MODEL.fullmatch(path):
            return Route("getModel", query, unquote(match[2]), match[1])
        if match := _OPERATION.fullmatch(path):
            return Route("getOperation", query, match[1], wrapped=True)
        if match := _PUBLISHER.fullmatch(path):
            return Route("listPublisherModels", query, version=match[1], vertex=True)
        if match := _PUBLISHER_MODEL.fullmatch(path):
            return Route("getPublisherModel", query, unquote(match[2]), match[1], vertex=True)
    if head.method == "POST":
        if match := _METHOD.fullmatch(path):
            return Route(match[3], query, unquote(match[2]), match[1])
        if match := _INTERNAL.fullmatch(path):
            return Route(match[1], query, version="v1internal", wrapped=True)
        if match := _PUBLISHED.fullmatch(path):
            version, project, location, model, operation = match.groups(default="")
            return Route(operation, query, unquote(model), version, vertex=True, project=project, location=location)
        if path == "/token":
            return Route("token", query)
    return Route("", query)
