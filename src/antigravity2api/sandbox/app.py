"""The sandbox: an emulator of Google's API on a port of its own, strict in what it takes, steady in what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from antigravity2api.sandbox import catalogue, vertex
from antigravity2api.sandbox.answers import Answer, answer, seed_of
from antigravity2api.sandbox.claude import check_claude
from antigravity2api.sandbox.config import check_config
from antigravity2api.sandbox.contents import Rules, check_contents
from antigravity2api.sandbox.exchange import Exchange, Timing, encode
from antigravity2api.sandbox.families import is_served, profile
from antigravity2api.sandbox.fault import Fault
from antigravity2api.sandbox.faults import PREFIX, fault_of
from antigravity2api.sandbox.google import GoogleError, Json, bad, model_not_found
from antigravity2api.sandbox.keys import check_key, check_token, credential_of
from antigravity2api.sandbox.messages import CODE_ASSIST, CODE_ASSIST_CLAUDE, GEMINI
from antigravity2api.sandbox.proto import check, parse_json
from antigravity2api.sandbox.routes import Route, route
from antigravity2api.sandbox.signing import Signer
from antigravity2api.sandbox.tokens import token_answer
from antigravity2api.sandbox.usage import prompt_tokens
from antigravity2api.sandbox.wire import Connection, Head, Left

MAX_BODY = 100 << 20
"""Google's limit for a request with inline data."""
_KEPT = 256
_KEPT_BYTES = 64 << 20
_KEY_IN_QUERY = re.compile(r"([?&]key=)[^&]*")
_SECRETS = frozenset({"authorization", "x-goog-api-key", "cookie", "proxy-authorization"})


@dataclass(slots=True)
class Seen:
    """A request that arrived, for tests and curious people to look at."""

    method: str
    target: str
    """Without the value of a ``key`` parameter."""
    headers: dict[str, str]
    """Lower-case names; values of secret headers are replaced by ``***``."""
    credential: str = field(repr=False)
    """The key or token itself."""
    operation: str = ""
    model: str = ""
    wrapped: bool = False
    body: Any = None
    """The decoded JSON, None where there was none or it could not be read."""
    size: int = 0
    outcome: str = "open"
    """``open``, then ``done`` (answered, faults included), ``error`` (refused) or ``left`` (the client went away)."""
    status: int = 0
    """Of a refusal."""


class Sandbox:
    """Start it on a loopback port, point a client at ``base_url``, look at ``requests``.

    It may share its event loop with the client. ``pace`` puts seconds between the events of a stream; ``beat`` and
    ``stall`` time the faults; ``secret`` keys the thought signatures, which outlive a restart while it is the same.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        pace: float = 0.0,
        beat: float = 0.2,
        stall: float = 600.0,
        secret: bytes = b"antigravity2api sandbox",
        max_body: int = MAX_BODY,
    ) -> None:
        self.host = host
        self.port = port
        self.timing = Timing(pace, beat, stall)
        self.requests: deque[Seen] = deque()
        self._kept_bytes = 0
        self._secret = secret
        self._max_body = max_body
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._failed_once: set[tuple[str, str]] = set()
        self._operations: dict[str, str] = {}
        self._onboarded: set[str] = set()
        self._tokens = 0

    @property
    def base_url(self) -> str:
        """The root to give to a client: ``http://127.0.0.1:PORT``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen; with port 0 the system picks one, found in ``port`` afterwards."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self._serve, self._connections), self.host, self.port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        tasks = [connection.task for connection in self._connections if connection.task is not None]
        for connection in list(self._connections):
            connection.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(server.wait_closed(), 1.0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def reset(self) -> None:
        """Forget the requests seen, the faults that have already happened once, and who was onboarded."""
        self.requests.clear()
        self._kept_bytes = 0
        self._failed_once.clear()
        self._operations.clear()
        self._onboarded.clear()

    # one request

    async def _serve(self, conn: Connection, head: Head) -> None:
        found = route(head)
        seen = self._note(head, found)
        ex = Exchange(
            conn,
            self.timing,
            found.model,
            stream=found.stream,
            sse=found.sse,
            wrapped=found.wrapped,
            headers=head.headers,
            request={},
            resource=vertex.resource_of(found) if found.vertex else "",
        )
        try:
            fault = fault_of(found.model)
            if fault is not None and fault.early and found.generates:
                _admit(head.headers, found)
                await fault.run(ex)
            else:
                body = await conn.read_body(head, self._max_body)
                seen.size = len(body)
                await self._answer(ex, found, seen, body)
            seen.outcome = "done"
        except GoogleError as error:
            seen.outcome, seen.status = "error", error.code
            await ex.send_error(error)
        except (Left, asyncio.CancelledError):
            seen.outcome = "left"
            raise

    def _note(self, head: Head, found: Route) -> Seen:
        headers = {name: "***" if name in _SECRETS else value for name, value in head.headers.items()}
        target = _KEY_IN_QUERY.sub(r"\1***", head.target)
        credential = credential_of(head.headers, found.query)
        seen = Seen(head.method, target, headers, credential, found.operation, found.model, found.wrapped)
        self.requests.append(seen)
        while len(self.requests) > _KEPT:
            self._forget(self.requests.popleft())
        return seen

    def _keep(self, seen: Seen, value: Any) -> None:
        """Hold on to a decoded body while there is room; the oldest go first."""
        seen.body = value
        self._kept_bytes += seen.size
        for old in self.requests:
            if self._kept_bytes <= _KEPT_BYTES:
                return
            self._forget(old)

    def _forget(self, seen: Seen) -> None:
        if seen.body is not None:
            seen.body = None
            self._kept_bytes -= seen.size

    async def _answer(self, ex: Exchange, found: Route, seen: Seen, body: bytes) -> None:
        if found.operation == "token":
            self._tokens += 1
            await token_answer(ex, body, self._tokens)
            return
        if not found.operation:
            raise GoogleError(404, "The requested URL was not found on this server.")
        if found.wrapped:
            await self._code_assist(ex, found, seen, body)
            return
        _admit(ex.headers, found)
        if found.vertex:
            await self._vertex(ex, found, seen, body)
            return
        match found.operation:
            case "listModels":
                await ex.send(200, encode(catalogue.list_models(found.query, found.version)))
            case "getModel":
                await ex.send(200, encode(catalogue.model_resource(found.model, found.version)))
            case "countTokens":
                value = self._parsed(seen, body)
                await ex.send(200, encode(_count(value, found)))
            case "generateContent" | "streamGenerateContent":
                _check_model(found.model, found)
                request = check(self._parsed(seen, body), "GenerateContentRequest", GEMINI)
                request.pop("model", None)
                await self._generate(ex, seen, request)
            case _:
                raise model_not_found(found.model, found.version, found.operation)

    async def _vertex(self, ex: Exchange, found: Route, seen: Seen, body: bytes) -> None:
        match found.operation:
            case "listPublisherModels":
                await ex.send(200, encode(vertex.list_models(found.query)))
            case "getPublisherModel":
                await ex.send(200, encode(vertex.get_model(found)))
            case "countTokens":
                await ex.send(200, encode(vertex.count(self._parsed(seen, body), found)))
            case "generateContent" | "streamGenerateContent":
                _check_fault(found.model, vertex.model_missing(ex.resource))
                vertex.check_model(found)
                await self._generate(ex, seen, vertex.read_request(self._parsed(seen, body), found))
            case _:
                raise GoogleError(404, "The requested URL was not found on this server.")

    def _parsed(self, seen: Seen, body: bytes) -> Any:
        value = parse_json(body)
        self._keep(seen, value)
        return value

    async def _generate(self, ex: Exchange, seen: Seen, request: Json) -> None:
        rules = self._rules(ex)
        ex.request = request
        ex.trace = seed_of(ex.model, request).hex()[:16]
        fault = fault_of(ex.model)
        if fault is not None and fault.name == "400-token-limit":  # its own refusal, not a shape error
            await fault.run(ex)
            return
        check_contents(request, rules)
        check_config(request, rules)
        if rules.profile.family == "claude":
            check_claude(request, rules)
        _check_length(request, rules)

        def make() -> Answer:
            return answer(request, rules)

        ex.make_answer = make
        if fault is not None and self._happens(fault, seen.credential):
            await fault.run(ex)
            return
        await ex.plain()

    def _rules(self, ex: Exchange) -> Rules:
        found = profile(ex.model)
        backend = "code-assist" if ex.wrapped else "vertex" if ex.resource else "gemini-api"
        return Rules(ex.model, found, Signer(self._secret, found.family, backend), ex.wrapped, bool(ex.resource))

    def _happens(self, fault: Fault, credential: str) -> bool:
        if not fault.once:
            return True
        key = (fault.name, credential)
        if key in self._failed_once:
            return False
        self._failed_once.add(key)
        return True

    # the wrapped form

    async def _code_assist(self, ex: Exchange, found: Route, seen: Seen, body: bytes) -> None:
        if found.operation == "getOperation":
            check_token(ex.headers, "")
            await ex.send(200, encode(self._operation(found.model, seen.credential)))
            return
        value = self._parsed(seen, body)
        asked = value.get("model") if isinstance(value, dict) else None
        model = asked if isinstance(asked, str) else ""
        seen.model = ex.model = model
        check_token(ex.headers, model)
        if found.generates:
            request = _unwrapped(value, model)
            _check_model(model, found)
            await self._generate(ex, seen, request)
            return
        await ex.send(200, encode(self._account(found, value, seen.credential)))

    def _account(self, found: Route, value: Any, token: str) -> Json:
        """The calls about the account: which project, which models, how much is left."""
        reset_time = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() + 5 * 3600))
        match found.operation:
            case "countTokens":
                request = check(value, "CountEnvelope", CODE_ASSIST).get("request") or {}
                return {"totalTokens": prompt_tokens({"contents": request.get("contents") or []}).total()}
            case "loadCodeAssist":
                check(value, "LoadCodeAssistRequest", CODE_ASSIST)
                known = not token.startswith("new-") or token in self._onboarded
                return catalogue.code_assist_account(onboarded=known)
            case "onboardUser":
                request = check(value, "OnboardUserRequest", CODE_ASSIST)
                catalogue.check_onboarding(request)
                name = f"operations/sandbox-{len(self._operations) + 1}"
                self._operations[name] = request.get("cloudaicompanionProject") or catalogue.PROJECT
                return catalogue.operation(name, done=False)
            case "fetchAvailableModels":
                check(value, "FetchAvailableModelsRequest", CODE_ASSIST)
                return catalogue.available_models(reset_time)
            case "retrieveUserQuota":
                check(value, "RetrieveUserQuotaRequest", CODE_ASSIST)
                return catalogue.user_quota(reset_time)
        raise GoogleError(404, "Requested entity was not found.")

    def _operation(self, name: str, token: str) -> Json:
        project = self._operations.get(name)
        if project is None:
            raise GoogleError(404, "Requested entity was not found.")
        self._onboarded.add(token)
        return catalogue.operation(name, done=True, project=project)


def _unwrapped(value: Any, model: str) -> Json:
    """The request inside the envelope, whose own fields are checked as well."""
    catalog = CODE_ASSIST_CLAUDE if model.startswith(("claude-", "gpt-oss-")) else CODE_ASSIST
    envelope = check(value, "Envelope", catalog)
    if not model:
        raise bad("Request contains an invalid argument.")
    if not envelope.get("project"):
        raise GoogleError(403, "The caller does not have permission: no project was given.")
    if envelope["project"] == "wrong-project":
        raise GoogleError(403, "The caller does not have permission on project 'wrong-project'.")
    request: Json = envelope.get("request") or {}
    request.pop("sessionId", None)
    return request


def _admit(headers: Mapping[str, str], found: Route) -> None:
    """The gate of the API that was asked."""
    if found.vertex:
        vertex.check_access(headers, found)
    else:
        check_key(headers, found.query, found.model)


def _check_fault(model: str, error: GoogleError) -> None:
    """A fault must be one that there is."""
    if model.startswith(PREFIX) and fault_of(model) is None:
        raise error


def _check_model(model: str, found: Route) -> None:
    error = GoogleError(404, "Requested entity was not found.")
    if not found.wrapped:
        error = model_not_found(model, found.version, found.operation)
    _check_fault(model, error)
    if not is_served(model, wrapped=found.wrapped):
        raise error


def _check_length(request: Json, rules: Rules) -> None:
    tokens, limit = prompt_tokens(request).total(), rules.profile.input_limit
    if limit is not None and tokens > limit:
        raise bad(f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit}).")


def _count(value: Any, found: Route) -> Json:
    """``countTokens`` in its two forms, of which one must be used."""
    _check_model(found.model, found)
    asked = check(value, "CountTokensRequest", GEMINI)
    inner = asked.get("generateContentRequest")
    if inner is not None and asked.get("contents"):
        raise bad("Only one of contents and generate_content_request may be set.")
    if inner is not None and inner.get("model", "").removeprefix("models/") != found.model:
        raise bad("* CountTokensRequest.generate_content_request.model: must be the model of the request.\n")
    request = inner if inner is not None else asked
    if not request.get("contents"):
        raise bad("* CountTokensRequest.contents: contents is not specified\n")
    tokens = prompt_tokens(request)
    details = [
        {"modality": kind, "tokenCount": count}
        for kind, count in sorted(tokens.items(), key=lambda item: item[0] != "TEXT")
    ]
    return {"totalTokens": tokens.total(), "promptTokensDetails": details}
