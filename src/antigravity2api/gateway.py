"""One request from call to bytes: the order of steps, and the only place that decides about another attempt.

Nothing is sent to the client before the first visible chunk (or the first heartbeat); until then another attempt is
allowed, afterwards never. A client that leaves cancels ``serve``, which closes the upstream exchange at once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from antigravity2api.attempt import Attempt, Consumer, as_fault
from antigravity2api.dialects.base import Dialect, Encoder, Origin, Toolbox
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.fold import Fold, merge_copies, truncated
from antigravity2api.gemini.repair import Learned, Lesson, RepairState, apply_learned, repair
from antigravity2api.gemini.types import Chunk, Response
from antigravity2api.media_prep import convert_gifs, has_gif
from antigravity2api.pool import Pool, RetryBudget
from antigravity2api.server.base import Headers, Responder
from antigravity2api.upstreams.base import Transport, Upstream

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_VERSION = (b"openai-version", b"2020-10-01")
"""Old OpenAI clients read this header and ``openai-processing-ms``, and expect a number in the latter."""
_AGAIN = {
    Kind.UPSTREAM_ERROR: 1,
    Kind.UPSTREAM_TIMEOUT: 1,
    Kind.MALFORMED_CALL: 1,
    Kind.EMPTY: 1,
    Kind.BAD_ANSWER: 1,
    Kind.TRUNCATED: 2,
    Kind.UNREACHABLE: 2,
    Kind.OVERLOADED: 2,
}
"""How often one kind of failure is tried again within a request; slow or costly ones less."""
_PAUSED_KINDS = frozenset({Kind.UPSTREAM_ERROR, Kind.OVERLOADED, Kind.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Route:
    """An upstream with its credentials; routes stand in the operator's order."""

    upstream: Upstream
    pool: Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds; the contract's defaults."""

    first_event: float = 300.0
    gap: float = 120.0
    total: float = 600.0
    heartbeat: float = 15.0


@dataclass(slots=True)
class Trace:
    """What the log and the counters learn of one request. No prompt, no answer, no secret."""

    dialect: str = ""
    model: str = ""
    upstream: str = ""
    credential: str = ""
    stream: bool = False
    attempts: int = 0
    first_event: float | None = None
    usage: Mapping[str, Any] | None = None
    fault: Fault | None = None
    applied: tuple[str, ...] = ()


class Gateway:
    """Everything that requests share: routes, transport, toolbox, and what upstreams taught us about models."""

    def __init__(
        self,
        routes: Sequence[Route],
        transport: Transport,
        box: Toolbox,
        *,
        timing: Timing,
        max_attempts: int = 3,
        prefetch: Callable[[bytes | bytearray], Awaitable[bytes | bytearray]] | None = None,
    ) -> None:
        self.routes = list(routes)
        self.transport = transport
        self.box = box
        self.timing = timing
        self.soonest = min(timing.first_event, timing.gap, timing.heartbeat, timing.total)
        """Within which time any limit of a request may be due."""
        self.max_attempts = max_attempts
        self.learned = Learned()
        self.first_upstream = self.routes[0].upstream.name if self.routes else ""
        self._prefetch = prefetch
        self._budgets = {
            route.upstream.name: RetryBudget(clock=asyncio.get_running_loop().time) for route in self.routes
        }

    async def serve(
        self, dialect: Dialect, body: bytes | bytearray, origin: Origin, responder: Responder, trace: Trace
    ) -> None:
        """Answer one generation request. Raises ``Fault`` only while nothing has been sent."""
        if not self.routes:
            raise Fault(
                Kind.CREDENTIAL,  # no 503: old SDKs lose its words and new ones ask again at once
                "No upstream is configured. Set GEMINI_API_KEY (a Gemini API key) and start the gateway again, "
                "or try it without one: antigravity2api serve --sandbox.",
            )
        if self._prefetch is not None:
            body = await self._prefetch(body)
        if has_gif(body):
            body = await convert_gifs(body)
        run = _Run(self, dialect, body, origin, responder, trace)
        del body  # a large one must not live as long as the answer
        await run.serve()

    def routes_for(self, model: str) -> list[Route]:
        """Who serves a model, in order; an unknown name goes to the first upstream as it is."""
        if len(self.routes) == 1:
            return self.routes
        return [route for route in self.routes if route.upstream.lists(model)] or self.routes[:1]

    def may_retry(self, upstream: str) -> bool:
        """Take one from the retry budget of an upstream."""
        return self._budgets[upstream].spend()

    def count(self, upstream: str) -> None:
        """One request goes to an upstream."""
        self._budgets[upstream].earn()


class _Run:
    """One request under way: its call, its timers, its response."""

    __slots__ = (
        "_body",
        "_timer",
        "answered",
        "attempts",
        "call",
        "dialect",
        "encoder",
        "expired",
        "gateway",
        "last_write",
        "loop",
        "notes",
        "origin",
        "responder",
        "routes",
        "running",
        "started_at",
        "trace",
    )

    def __init__(
        self,
        gateway: Gateway,
        dialect: Dialect,
        body: bytes | bytearray,
        origin: Origin,
        responder: Responder,
        trace: Trace,
    ) -> None:
        self.gateway = gateway
        self.dialect = dialect
        self.responder = responder
        self.trace = trace
        self.loop = asyncio.get_running_loop()
        self.origin = origin
        self.call = self._parse(body)
        self.routes = gateway.routes_for(self.call.model)
        self._body = body if len(gateway.routes) > 1 else None
        self._translate_for(self.routes[0].upstream.name)
        if len(self.routes) < 2:
            self._body = None  # a large one must not live as long as the answer
        trace.dialect, trace.model, trace.stream = dialect.name, self.call.model, self.call.stream
        self.attempts = 0
        self.notes: tuple[str, ...] = ()
        """What the upstream's file changed in the request last sent."""
        self.answered = False
        """Whether any byte of an answer was sent; a heartbeat is none."""
        self.expired = False
        """Whether the time for the whole answer is over."""
        self.encoder: Encoder | None = None
        self.running: list[Attempt] = []
        self.started_at = self.loop.time()
        self.last_write = self.started_at

    async def serve(self) -> None:
        self._timer: asyncio.TimerHandle = self.loop.call_later(self.gateway.soonest, self._watch)
        self.responder.on_resume = self._resume
        try:
            if self.call.stream:
                await self._serve_stream()
            else:
                await self._serve_whole()
        except asyncio.CancelledError:
            self._say_goodbye()
            raise
        except Exception as error:  # noqa: BLE001 - a stream under way ends with an error event, whatever failed
            fault = as_fault(error)
            self.trace.fault = fault
            if not self.responder.started:
                raise fault  # noqa: B904 - it is the error, or has it as its cause
            encoder = self.encoder or self._new_encoder(self.routes[0])
            self.responder.write(encoder.fail(fault))
            self.responder.end()
        finally:
            self._timer.cancel()
            self.responder.on_resume = None
            if self.encoder is not None:
                self.trace.usage = self.encoder.usage
            self.trace.attempts = self.attempts
            self.trace.applied = (*self.call.applied, *self.notes)

    def _say_goodbye(self) -> None:
        """Cancelled: the client left, and nothing reaches it any more; or the gateway stops, and the client is told."""
        fault = Fault(Kind.UNAVAILABLE, "The gateway was stopped before the answer was complete.", code="shutting_down")
        if not self.responder.started:
            self.responder.send(*self.dialect.error(fault))
            return
        encoder = self.encoder or self._new_encoder(self.routes[0])
        self.responder.write(encoder.fail(fault))
        self.responder.end()

    async def _serve_stream(self) -> None:
        if self.call.copies == 1:
            await _Branch(self, 0).run()
        else:
            self.encoder = self._new_encoder(self.routes[0])
            await self._all_branches()
            self.deliver(self.encoder.finish(), self.loop.time())
        self.responder.end()

    async def _serve_whole(self) -> None:
        if self.call.copies == 1:
            branch = _Branch(self, 0)
            await branch.run()
            response = branch.response()
        else:
            response = merge_copies([branch.response() for branch in await self._all_branches()])
        self.trace.usage = response.get("usageMetadata") or {}
        body = self.dialect.render(self.call, response, self.origin, self.gateway.box, self.trace.upstream)
        self.responder.send(200, [(b"content-type", b"application/json"), *self._own_headers()], body)

    async def _all_branches(self) -> list[_Branch]:
        branches = [_Branch(self, index) for index in range(self.call.copies)]
        try:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch.run())
        except* Fault as group_of_faults:
            raise _first_fault(group_of_faults) from None
        return branches

    # -- the call and its upstream ---------------------------------------------------------------------------------

    def _parse(self, body: bytes | bytearray) -> Call:
        return self.dialect.parse(body, self.origin, self.gateway.box)

    def _translate_for(self, upstream: str, *, moved: bool = False) -> None:
        """Translate again where the upstream is another: a signature of one is never shown to the other."""
        if upstream != self.origin.upstream and self._body is not None:
            self.origin = Origin(self.origin.base_url, self.origin.engine, upstream, moved)
            self.call = self._parse(self._body)
        self.call = apply_learned(self.call, self.gateway.learned, upstream)

    def change_upstream(self) -> bool:
        """Go on to the next upstream that serves the model, if there is one and no copy is under way elsewhere."""
        if len(self.routes) < 2 or self.call.copies > 1:
            return False
        self.routes = self.routes[1:]
        self._translate_for(self.routes[0].upstream.name, moved=True)
        return True

    # -- towards the client ----------------------------------------------------------------------------------------

    def new_consumer(self, branch: _Branch) -> Consumer:
        if not self.call.stream:
            ends = self.routes[0].upstream.thoughts_may_end
            branch.whole = _Whole(Fold(accept_empty=branch.accept_empty(), thoughts_may_end=ends))
            return branch.whole
        if self.call.copies > 1:
            return _Copy(self, branch.index)
        self.encoder = self._new_encoder(self.routes[0])
        self.encoder.accept_empty = branch.accept_empty()
        return self.encoder

    def end(self, attempt: Attempt) -> None:
        """An attempt is over, well or not."""
        self.running.remove(attempt)
        exchange, attempt.exchange = attempt.exchange, None  # each knows the other: leave no cycle behind
        if exchange is not None:
            exchange.close()  # nothing, where the answer is complete
        if attempt.first_at is not None and self.trace.first_event is None and not self.call.stream:
            self.trace.first_event = attempt.first_at - self.started_at

    def _new_encoder(self, route: Route) -> Encoder:
        encoder = self.dialect.encoder(self.call, self.origin, self.gateway.box, route.upstream.name)
        encoder.thoughts_may_end = route.upstream.thoughts_may_end
        return encoder

    def deliver(self, data: bytes, now: float) -> None:
        """Send answer bytes; the first ones carry the head."""
        if not self.answered:
            self.answered = True
            if self.trace.first_event is None:
                self.trace.first_event = now - self.started_at
            if not self.responder.started:
                self.responder.start(200, [*_STREAM_HEADERS, *self._own_headers()])
        responder = self.responder
        responder.write(data)
        self.last_write = now
        if responder.paused:
            for attempt in self.running:
                if attempt.exchange is not None:
                    attempt.exchange.pause()

    def _resume(self) -> None:
        now = self.loop.time()
        for attempt in self.running:
            attempt.since = now
            if attempt.exchange is not None:
                attempt.exchange.resume()

    def _own_headers(self) -> Headers:
        spent = (self.loop.time() - self.started_at) * 1000
        headers = [(b"openai-processing-ms", b"%d" % spent), _VERSION]
        if applied := (*self.call.applied, *self.notes):
            headers.append((b"x-antigravity2api-applied", ", ".join(applied)[:1000].encode("ascii", "replace")))
        return headers

    # -- time ------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        """Look at every limit, and come back when the next one may be due: one timer a request, none an event.

        Attempts that begin meanwhile need no timer of their own: it rings at least once in the shortest limit.
        """
        now = self.loop.time()
        timing = self.gateway.timing
        due = self.started_at + timing.total
        if now >= due:
            self.expired = True
            for attempt in self.running.copy():
                attempt.expire(_too_long())
            return
        for attempt in self.running.copy():
            limit = timing.gap if attempt.events else timing.first_event
            if self.responder.paused:
                continue
            if now >= attempt.since + limit:
                attempt.expire(_timeout("The upstream stayed silent for too long.", Retry.SAME))
            else:  # the first event may come at once, and the shorter limit holds from then on
                due = min(due, attempt.since + limit)
        due = min(due, now + timing.gap, now + timing.first_event)
        if self.call.stream:
            if now >= self.last_write + timing.heartbeat and not self.responder.paused:
                self._beat()
            due = min(due, (now if self.responder.paused else self.last_write) + timing.heartbeat)
        self._timer = self.loop.call_later(max(due - now, 0.001), self._watch)

    def _beat(self) -> None:
        if not self.responder.started:
            self.responder.start(200, [*_STREAM_HEADERS, *self._own_headers()])
        encoder = self.encoder or self._new_encoder(self.routes[0])
        self.responder.write(encoder.ping())
        self.last_write = self.loop.time()


class _Branch:
    """The attempts that make up one answer (one of ``copies``)."""

    __slots__ = ("again", "attempts", "emptied", "index", "lesson", "repairs", "repeated", "run_", "tried", "whole")

    def __init__(self, run: _Run, index: int) -> None:
        self.run_ = run
        self.index = index
        self.whole: _Whole | None = None
        """Where the answer is collected if it is not streamed."""
        self.attempts = 0
        self.tried: list[str] = []
        self.again: dict[Kind, int] = {}
        self.repairs: RepairState | None = None
        self.lesson: Lesson | None = None
        """What the last repair would teach, if it turns out to help."""
        self.emptied = False
        self.repeated = False

    async def run(self) -> None:
        """Try until an answer is complete; raises the last ``Fault`` when no further attempt can help."""
        run = self.run_
        run.gateway.count(run.routes[0].upstream.name)
        while True:
            fault, partial = await self._once()
            if fault is None:
                self._learn()
                return
            if partial or not self._may_go_on(fault):
                raise self._given_up(fault)
            if fault.kind in _PAUSED_KINDS:
                await asyncio.sleep(random.uniform(0.05, 0.15) * 2**self.attempts)  # noqa: S311 - no secret

    def _learn(self) -> None:
        """Remember what helped, now that it did: a client's own mistake teaches nothing about the model."""
        if self.lesson is not None:
            run = self.run_
            run.gateway.learned.note(run.routes[0].upstream.name, run.call.model, self.lesson)

    def response(self) -> Response:
        """The whole answer, once ``run`` has ended well."""
        return self.whole.response if self.whole is not None else {}

    def accept_empty(self) -> bool:
        """Whether an empty answer has to be taken as it is: it was tried again, or there is no other try."""
        return self.emptied or self.attempts >= self.run_.gateway.max_attempts

    async def _once(self) -> tuple[Fault | None, bool]:
        """One attempt: how it ended, and whether its answer was already partly used."""
        run = self.run_
        if run.expired:
            return _too_long(), False
        route = run.routes[0]
        lease = route.pool.pick(run.call.model, self.tried) or route.pool.pick(run.call.model)
        if lease is None:
            return Fault(Kind.CREDENTIAL, f"The upstream {route.upstream.name} has no credential."), False
        attempt: Attempt | None = None
        try:
            attempt = self._begin(route, lease.credential)
            fault = await attempt.done
        except Fault as refused:
            fault = refused
        except asyncio.CancelledError:
            lease.drop()
            raise
        finally:
            if attempt is not None:
                run.end(attempt)
        lease.release(fault)
        if run.call.copies == 1:
            return fault, run.answered
        return fault, bool(attempt and attempt.events and run.call.stream)

    def _begin(self, route: Route, credential: Credential) -> Attempt:
        """Send the request. Raises ``Fault`` where the upstream has no words for it."""
        run = self.run_
        upstream = route.upstream
        self.attempts += 1
        run.attempts += 1
        self.tried.append(credential.id)
        run.trace.upstream, run.trace.credential = upstream.name, credential.id
        request = upstream.prepare(run.call, credential)
        attempt = Attempt(upstream, run.new_consumer(self), run.deliver, run.loop)
        attempt.exchange = run.gateway.transport.open(request.address or upstream.address, request, attempt)
        run.running.append(attempt)
        run.notes = request.notes
        return attempt

    def _may_go_on(self, fault: Fault) -> bool:
        """Whether, and with what change, another attempt is worth it."""
        run = self.run_
        gateway = run.gateway
        if self.attempts >= gateway.max_attempts or run.attempts >= gateway.max_attempts + run.call.copies - 1:
            return False
        upstream = run.routes[0].upstream
        if fault.retry is Retry.REPAIRED or (
            fault.kind is Kind.INVALID_REQUEST and fault.retry is not Retry.OTHER_UPSTREAM
        ):
            return self._mend(fault)
        if fault.retry is Retry.NEVER:
            return False
        if not gateway.may_retry(upstream.name):
            return False
        if fault.retry is Retry.OTHER_UPSTREAM:
            return self._next_upstream()
        if fault.retry is Retry.OTHER_CREDENTIAL:
            if len(set(self.tried)) < len(run.routes[0].pool):
                return True
            if fault.upstream_status == 401 and not self.repeated:
                self.repeated = True  # a passing refusal stays unseen; there is nothing to refresh on an API key
                return True
            return self._next_upstream()
        count = self.again.get(fault.kind, 0)
        if count >= _AGAIN.get(fault.kind, 1):
            return self._next_upstream()
        self.again[fault.kind] = count + 1
        self.emptied = self.emptied or fault.kind is Kind.EMPTY
        return True

    def _next_upstream(self) -> bool:
        if not self.run_.change_upstream():
            return False
        self.tried.clear()
        self.again.clear()
        self.repairs = self.lesson = None
        return True

    def _mend(self, fault: Fault) -> bool:
        run = self.run_
        if self.repairs is None:
            self.repairs = RepairState(run.routes[0].upstream.schema_form)
        mended = repair(run.call, fault, self.repairs)
        if mended is None:
            return False
        self.lesson = mended.learn
        run.call = mended.call
        self.tried.clear()
        return True

    def _given_up(self, fault: Fault) -> Fault:
        if fault.kind is Kind.RATE_LIMITED and fault.retry_after is None:
            run = self.run_
            fault.retry_after = max(1.0, run.routes[0].pool.free_in(run.call.model))
        return fault


class _Whole:
    """Collects a whole answer; the mapping to the dialect is made from the folded response."""

    __slots__ = ("_fold", "feed", "response")

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self.feed = fold.feed
        self.response: Response = {}

    def finish(self) -> bytes:
        self.response = self._fold.response()
        return b""


class _Copy:
    """One of several streams that share an encoder: its only candidate gets the copy's index."""

    __slots__ = ("_ended", "_index", "_run")

    def __init__(self, run: _Run, index: int) -> None:
        self._run = run
        self._index = index
        self._ended = False

    def feed(self, chunk: Chunk) -> bytes:
        candidates = chunk.get("candidates")
        if not candidates:  # usage alone: an entry that says whose it is
            candidates = [{}]
        if isinstance(candidates, list):
            moved = [{**entry, "index": self._index} for entry in candidates if isinstance(entry, dict)]
            self._ended = self._ended or any(entry.get("finishReason") for entry in moved)
            chunk = {**chunk, "candidates": moved}
        self._ended = self._ended or "promptFeedback" in chunk
        encoder = self._run.encoder
        return encoder.feed(chunk) if encoder is not None else b""

    def finish(self) -> bytes:
        """Nothing yet: the encoder ends when every copy has. A cut copy is known at once. Raises ``Fault``."""
        if not self._ended:
            raise truncated()
        return b""


def _too_long() -> Fault:
    return _timeout("The whole answer took too long.", Retry.NEVER)


def _timeout(message: str, retry: Retry) -> Fault:
    return Fault(Kind.UPSTREAM_TIMEOUT, message, retry=retry, code="upstream_timeout")


def _first_fault(group: BaseExceptionGroup[Fault]) -> Fault:
    for error in group.exceptions:
        if isinstance(error, Fault):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first_fault(error)
    raise group


__all__ = ["Gateway", "Route", "Timing", "Trace"]
