"""The application behind the server: routes, the key gate, and the way from a head to a handler.

Only the exact, case-sensitive path after one percent-decoding is a route. Everything but health and stored images needs
a key, known or not: an unknown path tells a stranger nothing.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass

from antigravity2api.affinity import HEADERS
from antigravity2api.dialects.base import Dialect, Origin
from antigravity2api.dialects.chat.listing import list_models, one_model
from antigravity2api.errors import Fault, Kind
from antigravity2api.gateway import Gateway, Trace
from antigravity2api.gemini.models import ModelEntry
from antigravity2api.gemini.usage import usage_of
from antigravity2api.job import Job
from antigravity2api.journal import Capture, Journal
from antigravity2api.metrics import Metrics
from antigravity2api.model_lists import ModelLists
from antigravity2api.server.auth import Keys
from antigravity2api.server.base import Admission, Handler, Head, Headers, Refusal, Responder
from antigravity2api.server.captured import CapturedResponder
from antigravity2api.server.request_log import generation, quoted, request_line
from antigravity2api.store.images import DiskImages
from antigravity2api.telemetry import Log, clean

_JSON: Headers = [(b"content-type", b"application/json")]
_ENGINE = re.compile(r"(?:/v1)?/engines/(?P<engine>.+)/chat/completions")
_MODEL = re.compile(r"(?:/v1)?/models/(?P<model>.+)")
_IMAGE = re.compile(r"/images/[^/]+")
_HOST = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_TOKEN = re.compile(r"(?=[^/]*[0-9A-Z])[0-9A-Za-z_-]{16,}|(?i:sk-|AIza)[^/]*")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a path offers: its methods, whether a key is needed, and whether a JSON body is expected."""

    methods: tuple[str, ...]
    handle: Handler
    open: bool = False
    body: bool = False


@dataclass(frozen=True, slots=True)
class _Known:
    """What was worked out for a head that may go on; kept with the head, and good for its repetitions."""

    keys: Keys
    """Who accepted it; other keys have to be asked again."""
    endpoint: Endpoint
    admission: Admission
    asked: str
    who: str
    """Members of the log line."""
    base_url: str | None
    engine: str | None
    affinity: str | None
    """What it says about requests that belong together."""


class App:
    """An ``Application`` (see ``server.base``) around one gateway."""

    def __init__(  # noqa: PLR0913 - each by its name
        self,
        gateway: Gateway,
        dialect: Dialect,
        keys: Keys,
        images: DiskImages,
        log: Log,
        *,
        max_body: int,
        metrics: Metrics | None = None,
        metrics_open: bool = False,
        lists: ModelLists | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.gateway = gateway
        self.chat = dialect
        self.keys = keys
        self.images = images
        self.log = log
        self.max_body = max_body
        self.metrics = metrics or Metrics(lambda model: gateway.box.models.entry(model) is not None)
        self._lists = lists
        self._journal = journal
        self.draining = False
        self._created = int(time.time())
        self._traces: dict[str, Trace] = {}
        chat = Endpoint(("POST",), self._chat, body=True)
        models = Endpoint(("GET", "HEAD"), self._models)
        self._routes = {
            "/v1/chat/completions": chat,
            "/chat/completions": chat,
            "/v1/models": models,
            "/models": models,
            "/metrics": Endpoint(("GET", "HEAD"), self._metrics, open=metrics_open),
            "/health/live": Endpoint(("GET", "HEAD"), self._live, open=True),
            "/health/ready": Endpoint(("GET", "HEAD"), self._ready, open=True),
        }

    def drain(self) -> None:
        """The shutdown has begun: readiness says so from now on."""
        self.draining = True

    # -- the server's side of the seam -----------------------------------------------------------------------------

    def admit(self, head: Head) -> Admission | Refusal:
        known: _Known | None = head.memo.get("known")
        if known is None or known.keys is not self.keys:
            admitted = self._admitted(head)
            if isinstance(admitted, Refusal):
                return admitted
            known = head.memo["known"] = admitted
        if known.endpoint.body:
            self._traces[head.request_id] = Trace()
            self.metrics.request_started()
        return known.admission

    def _admitted(self, head: Head) -> _Known | Refusal:
        endpoint = self._find(head.path)
        key = None
        if endpoint is None or not endpoint.open:
            key = self.keys.accepts(head.headers)
            if key is None:
                return self._refusal(
                    Fault(
                        Kind.UNAUTHORIZED,
                        "Incorrect API key provided. Send one of this gateway's keys as 'Authorization: Bearer KEY'.",
                        code="invalid_api_key",
                    ),
                    head,
                )
        if endpoint is None:
            return self._refusal(
                Fault(
                    Kind.NOT_FOUND, f"Unknown request URL: {head.method} {clean(head.path)[:200]}.", code="unknown_url"
                ),
                head,
            )
        if head.method not in endpoint.methods:
            allowed = ", ".join(endpoint.methods)
            refusal = self._refusal(
                Fault(Kind.METHOD_NOT_ALLOWED, f"This URL answers {allowed} only, not {head.method}."), head
            )
            refusal.headers.append((b"allow", allowed.encode()))
            return refusal
        if endpoint.body and (fault := _bad_media(head)) is not None:
            return self._refusal(fault, head)
        engine = None if head.path == "/v1/chat/completions" else _ENGINE.fullmatch(head.path)
        return _Known(
            self.keys,
            endpoint,
            Admission(endpoint.handle, self.max_body if endpoint.body else 0),
            self._asked(head),
            _who(head, key),
            _base_url(head),
            engine["engine"] if engine else None,
            next((value for name in HEADERS if (value := head.headers.get(name))), None),
        )

    def refuse(self, status: int, head: Head | None, message: str) -> Refusal:
        kinds = {
            408: (Kind.REQUEST_TIMEOUT, "request_timeout"),
            413: (Kind.TOO_LARGE, "request_too_large"),
            503: (Kind.UNAVAILABLE, "unavailable"),
            500: (Kind.INTERNAL, "internal_error"),
        }
        kind, code = kinds.get(status, (Kind.INVALID_REQUEST, "invalid_http_request"))
        _, headers, body = self.chat.error(Fault(kind, message, code=code))
        return Refusal(status, headers, body)

    def finished(self, head: Head, status: int, sent_bytes: int, seconds: float, outcome: str) -> None:
        trace = self._traces.pop(head.request_id, None)
        usage = trace.counted if trace is not None else None
        if usage is None and trace is not None and trace.usage:
            usage = usage_of(trace.usage, modalities=False)
        self.metrics.request_ended(trace, status, seconds, outcome, usage)
        known: _Known | None = head.memo.get("known")
        asked, who = (known.asked, known.who) if known is not None else (self._asked(head), _who(head, None))
        line = request_line(head.request_id, asked, status, seconds, sent_bytes, outcome, head.peer, who)
        if trace is not None and trace.model:
            line += generation(trace, usage)
        self.log.request((line + "}\n").encode())
        if trace is not None and trace.fault is not None and trace.fault.__cause__ is not None:
            self.log.event("error", trace.fault.message, error=_where(trace.fault.__cause__))

    # -- handlers --------------------------------------------------------------------------------------------------

    def _chat(self, head: Head, body: bytes | bytearray, responder: Responder) -> Job:
        known: _Known = head.memo["known"]
        origin = Origin(known.base_url or f"http://{head.local}", known.engine, self.gateway.first_upstream)
        trace = self._traces.get(head.request_id) or Trace()
        if self._journal is not None and self._journal.capture:
            return self._captured(self._journal, head, body, responder, origin, trace)
        job = Job(self.gateway, self.chat, origin, responder, trace)
        job.affinity = known.affinity
        job.begin(body)
        return job

    def _captured(
        self,
        journal: Journal,
        head: Head,
        body: bytes | bytearray,
        responder: Responder,
        origin: Origin,
        trace: Trace,
    ) -> Job:
        """The same with all bodies kept."""
        capture = Capture(head.request_id, _without_secrets(head.path), head.headers, body)
        job = Job(self.gateway, self.chat, origin, CapturedResponder(responder, capture, journal), trace)
        job.affinity = head.memo["known"].affinity
        job.capture = capture
        job.begin(body)
        return job

    async def _models(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        match = _MODEL.fullmatch(head.path)
        entries = self._entries()
        if match is None:
            responder.send(200, _JSON, list_models(entries, self._created))
            return
        name = match["model"].removeprefix("models/")
        entry = next((entry for entry in entries if entry.id == name), None)
        if entry is not None:
            responder.send(200, _JSON, one_model(entry, self._created))
            return
        fault = Fault(
            Kind.MODEL_NOT_FOUND,
            f"The model '{clean(name)[:200]}' does not exist or you do not have access to it. "
            "GET /v1/models lists the known ones.",
            param="model",
        )
        self._send(fault, responder)

    async def _image(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        found = await asyncio.to_thread(self.images.read, head.path)
        if found is None:
            self._send(Fault(Kind.NOT_FOUND, "No such image, or it has expired.", code="not_found"), responder)
            return
        data, mime_type = found
        headers: Headers = [
            (b"content-type", mime_type.encode()),
            (b"content-disposition", b"inline"),
            (b"cache-control", b"private, max-age=86400, immutable"),
            (b"content-security-policy", b"default-src 'none'; sandbox"),
        ]
        responder.send(200, headers, data)

    async def _metrics(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        media, page = self.metrics.render(head.headers.get("accept", ""))
        responder.send(200, [(b"content-type", media.encode()), (b"cache-control", b"no-store")], page)

    async def _live(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        responder.send(200, _JSON, b'{"status":"live"}')

    async def _ready(self, head: Head, body: bytes | bytearray, responder: Responder) -> None:
        if self.draining:
            responder.send(503, [*_JSON, (b"retry-after", b"5")], b'{"status":"draining"}')
        else:
            responder.send(200, _JSON, b'{"status":"ready"}')

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _find(self, path: str) -> Endpoint | None:
        found = self._routes.get(path)
        if found is not None:
            return found
        if _ENGINE.fullmatch(path):
            return self._routes["/v1/chat/completions"]
        if _MODEL.fullmatch(path):
            return self._routes["/v1/models"]
        if _IMAGE.fullmatch(path):
            return Endpoint(("GET", "HEAD"), self._image, open=True)
        return None

    def _asked(self, head: Head) -> str:
        """What was asked for, as members of a log line."""
        method = head.method if head.method.isalpha() else "?"
        path = head.path if head.path in self._routes else _without_secrets(head.path)
        return f'"method":"{method}","path":{quoted(path)}'

    def _entries(self) -> list[ModelEntry]:
        """The models that can be used now; without any upstream the Gemini API's are shown."""
        routes, table = self.gateway.routes, self.gateway.box.models.entries()
        if not routes:
            entries = [entry for entry in table if entry.surface == "gemini"]
        elif self._lists is not None:
            self._lists.wanted()
            entries = self._lists.entries()
        else:
            entries = [
                entry for entry in table if any(route.upstream.lists(entry.alias_of or entry.id) for route in routes)
            ]
        return [entry for entry in entries if entry.kind in ("chat", "image")]

    def _refusal(self, fault: Fault, head: Head) -> Refusal:
        self._traces.pop(head.request_id, None)
        return Refusal(*self.chat.error(fault))

    def _send(self, fault: Fault, responder: Responder) -> None:
        responder.send(*self.chat.error(fault))


def _where(error: BaseException) -> str:
    """The kind of an unexpected exception and the place it came from; its text may quote what a client sent."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    place = f" at {last.tb_frame.f_code.co_name}:{last.tb_lineno}" if last is not None else ""
    return type(error).__name__ + place


def _bad_media(head: Head) -> Fault | None:
    if head.headers.get("content-type") == "application/json" and "content-encoding" not in head.headers:
        return None
    encoding = head.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        return Fault(
            Kind.UNSUPPORTED_MEDIA, "Compressed request bodies are not read; send the JSON without Content-Encoding."
        )
    media = head.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media and media != "application/json" and not media.endswith("+json") and media != "text/json":
        return Fault(Kind.UNSUPPORTED_MEDIA, "Send the body as 'Content-Type: application/json'.")
    return None


def _base_url(head: Head) -> str | None:
    """The address the client used, for image links; a Host header that is no plain host is not repeated."""
    host = head.headers.get("host", "")
    return f"http://{host}" if _HOST.fullmatch(host) else None


def _who(head: Head, key: str | None) -> str:
    """Who asked, as members of a log line."""
    who = f',"key":"{key}"' if key else ""
    client_id = head.headers.get("x-client-request-id") or head.headers.get("x-request-id")
    return f'{who},"client_id":"{client_id}"' if client_id and _CLIENT_ID.fullmatch(client_id) else who


def _without_secrets(path: str) -> str:
    """A path for the log. An image's name is its key, and people type keys into places where none belongs."""
    return clean(_TOKEN.sub("…", path))
