"""One request from call to bytes: the order of steps, its limits, its answer.

Nothing is sent to the client before the first visible chunk (or the first heartbeat); until then another attempt is
allowed (``branch``), afterwards never. A client that leaves cancels the job, which closes the upstream exchange at
once.

The usual request runs in callbacks from its first byte to its last: a task and the coroutines in it cost about a
quarter of a plain answer. Whatever has to wait for something else (another attempt, a picture, several copies) goes on
in a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from antigravity2api.attempt import Attempt, Consumer, Copy, Whole, as_fault
from antigravity2api.branch import Branch, timed_out, too_long
from antigravity2api.dialects.base import Dialect, Encoder, Origin
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gateway import Gateway, Route, Trace
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import Fold, merge_copies
from antigravity2api.gemini.repair import apply_learned
from antigravity2api.gemini.types import Response
from antigravity2api.gemini.usage import usage_of
from antigravity2api.journal import Capture
from antigravity2api.media_prep import convert_gifs, has_gif
from antigravity2api.server.base import Headers, Responder

_STREAM_HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
_JSON = (b"content-type", b"application/json")
_LONGEST_APPLIED = 1000
_VERSION = (b"openai-version", b"2020-10-01")
"""Old OpenAI clients read this header and ``openai-processing-ms``, and expect a number in the latter."""


class Job:
    """One request under way: its call, its limits, its response. A ``server.base.Running``."""

    __slots__ = (
        "_body",
        "_task",
        "_timer",
        "affinity",
        "allowed",
        "answered",
        "attempts",
        "branch",
        "call",
        "capture",
        "clock",
        "dialect",
        "encoder",
        "expired",
        "gateway",
        "last_write",
        "notes",
        "origin",
        "over",
        "responder",
        "routes",
        "running",
        "started_at",
        "trace",
    )

    call: Call
    routes: list[Route]

    def __init__(self, gateway: Gateway, dialect: Dialect, origin: Origin, responder: Responder, trace: Trace) -> None:
        self.gateway = gateway
        self.dialect = dialect
        self.origin = origin
        self.responder = responder
        self.trace = trace
        self.clock = clock = gateway.loop.time
        self.attempts = 0
        self.allowed = gateway.max_attempts
        """How many attempts there may be, over all copies and pieces."""
        self.affinity: str | None = None
        """What the client said in a header about requests that belong together."""
        self.capture: Capture | None = None
        """Where bodies are kept for ``logs``, if the operator wants that."""
        self.notes: tuple[str, ...] = ()
        """What the upstream's file changed in the request last sent."""
        self.answered = False
        """Whether any byte of an answer was sent; a heartbeat is none."""
        self.expired = False
        """Whether the time for the whole answer is over."""
        self.over = False
        """Whether it has left."""
        self.branch: Branch | None = None
        """The only one, where there are not several copies."""
        self.encoder: Encoder | None = None
        self.running: list[Attempt] = []
        self.started_at = self.last_write = clock()
        self._body: bytes | bytearray | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- its course ------------------------------------------------------------------------------------------------

    def begin(self, body: bytes | bytearray) -> None:
        """Read the body and send the first attempt."""
        try:
            gateway = self.gateway
            if not gateway.routes:
                raise _no_upstream()
            if gateway.prefetch is not None or has_gif(body):
                self._go_on(self._prepared(body))
                return
            self._read(body)
            if self.call.copies == 1:
                gateway.sending.add(self._first_attempt)
            else:
                self._go_on(self._copies())
        except Exception as error:  # noqa: BLE001 - nothing may escape: the client has to be told
            self._fail(error)

    def cancel(self) -> None:
        """The client has left, or the gateway stops."""
        if self._task is not None:
            self._task.cancel()
            return
        if self.over:
            return
        if self.branch is not None:
            self.branch.drop()
        self._say_goodbye()
        self._leave()

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        """From here on in a task, which waits for what is to be waited for."""
        self._task = self.gateway.loop.create_task(work)
        self._task.add_done_callback(self._went_on)

    def _went_on(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            self._say_goodbye()
            self._leave()
        elif isinstance(error := task.exception(), Exception):
            self._fail(error)
        else:
            self._leave()

    async def _prepared(self, body: bytes | bytearray) -> None:
        """What a body needs before it can be read, and then the same course."""
        gateway = self.gateway
        if gateway.prefetch is not None:
            body = await gateway.prefetch(body)
        if has_gif(body):
            body = await convert_gifs(body)
        self._read(body)
        del body  # a large one must not live as long as the answer
        if self.call.copies == 1:
            await self._all_attempts(Branch(self, 0))
        else:
            await self._copies()

    def _first_attempt(self) -> None:
        if self.over:  # the client left before its turn came
            return
        try:
            branch = self.branch = Branch(self, 0)
            if branch.take().credential is None:
                self._go_on(self._all_attempts(branch))
            else:
                branch.send(self._first_ended)
        except Exception as error:  # noqa: BLE001 - nothing may escape: the client has to be told
            if self.branch is None:
                self._fail(error)
            else:
                self._first_ended(as_fault(error))

    async def _all_attempts(self, branch: Branch) -> None:
        await branch.run()
        self._finish(branch)

    def _first_ended(self, fault: Fault | None) -> None:
        """The first attempt is over: most requests are, too."""
        branch = self.branch
        if branch is None:
            return
        try:
            branch.ended(fault)
            if branch.goes_on(fault, used=self.answered):
                self._go_on(self._again(branch, fault))
                return
            if fault is not None:
                raise branch.given_up(fault)
            self._finish(branch)
        except Exception as error:  # noqa: BLE001 - it runs in a socket's callback, and the client has to be told
            self._fail(error)
            return
        self._leave()

    async def _again(self, branch: Branch, fault: Fault | None) -> None:
        await branch.again(fault)
        self._finish(branch)

    async def _copies(self) -> None:
        """Several answers to one request, each with attempts of its own."""
        if self.call.stream:
            self.encoder = self.new_encoder()
        branches = [Branch(self, index) for index in range(self.call.copies)]
        try:
            async with asyncio.TaskGroup() as group:
                for branch in branches:
                    group.create_task(branch.run())
        except BaseExceptionGroup as failures:  # what `except*` raises comes wrapped once more before Python 3.11.4
            raise _first_fault(failures) from None
        if self.encoder is not None:
            self.deliver(self.encoder.finish(), self.clock())
            self.responder.end()
        else:
            self._render(merge_copies([branch.response() for branch in branches]))

    def _finish(self, branch: Branch) -> None:
        """The only branch ended well."""
        if self.call.stream:
            self.responder.end()
        else:
            self._render(branch.response(), branch.whole.text if branch.whole is not None else None)

    def _render(self, response: Response, text: str | None = None) -> None:
        trace = self.trace
        meta = trace.usage = response.get("usageMetadata") or {}
        counted = trace.counted = usage_of(meta) if meta else None
        upstream = trace.upstream
        body = self.dialect.render(
            self.call, response, self.origin, self.gateway.box, upstream, text=text, usage=counted
        )
        self.responder.send(200, [_JSON, *self._own_headers()], body)

    def _fail(self, error: Exception) -> None:
        """Tell the client: a stream under way ends with an error event, whatever failed."""
        try:
            fault = self.trace.fault = as_fault(error)
            if not self.responder.started:
                self.responder.send(*self.dialect.error(fault))
            else:
                self._end_with(fault)
        finally:
            self._leave()

    def _say_goodbye(self) -> None:
        """Cancelled: the client left, and nothing reaches it any more; or the gateway stops, and the client is told."""
        fault = Fault(Kind.UNAVAILABLE, "The gateway was stopped before the answer was complete.", code="shutting_down")
        if not self.responder.started:
            self.responder.send(*self.dialect.error(fault))
        else:
            self._end_with(fault)

    def _end_with(self, fault: Fault) -> None:
        encoder = self.encoder or self.new_encoder()
        self.responder.write(encoder.fail(fault))
        self.responder.end()

    def _leave(self) -> None:
        """The end of the request, however it ended."""
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        else:
            self.gateway.young.drop(self)
        trace = self.trace
        trace.attempts = self.attempts
        if self.encoder is not None:
            trace.usage = self.encoder.usage
        if trace.model and (self.call.applied or self.notes or self.encoder is not None):
            trace.applied = self._applied()
        if self.branch is not None:
            self.branch = None  # each knows the other: leave no cycle behind
        self.responder.on_resume = None
        self.responder.leave()

    # -- the call and its upstream ---------------------------------------------------------------------------------

    def _read(self, body: bytes | bytearray) -> None:
        """Understand the body for the first upstream that serves its model."""
        gateway, trace = self.gateway, self.trace
        call = self.call = self.dialect.parse(body, self.origin, gateway.box)
        trace.dialect, trace.model, trace.stream = self.dialect.name, call.model, call.stream
        trace.asked = call.asked_model
        routes = self.routes = gateway.routes_for(call.model)
        self.allowed += call.copies - 1
        if len(gateway.routes) > 1:
            self._body = body
        self._translate_for(routes[0].upstream.name)
        if len(routes) < 2:
            self._body = None  # a large one must not live as long as the answer
        self.responder.on_resume = self._resume
        gateway.young.add(self)

    def _translate_for(self, upstream: str, *, moved: bool = False) -> None:
        """Translate again where the upstream is another: a signature of one is never shown to the other."""
        if self._body is not None and upstream != self.origin.upstream:
            self.origin = Origin(self.origin.base_url, self.origin.engine, upstream, moved)
            self.call = self.dialect.parse(self._body, self.origin, self.gateway.box)
        learned = self.gateway.learned
        if not learned.empty:
            self.call = apply_learned(self.call, learned, upstream)

    def change_upstream(self) -> bool:
        """Go on to the next upstream that serves the model, if there is one and no copy is under way elsewhere."""
        if len(self.routes) < 2 or self.call.copies > 1:
            return False
        self.routes = self.routes[1:]
        self._translate_for(self.routes[0].upstream.name, moved=True)
        return True

    # -- towards the client ----------------------------------------------------------------------------------------

    def new_consumer(self, branch: Branch) -> Consumer:
        """Where the chunks of one attempt go."""
        if not self.call.stream:
            ends = self.routes[0].upstream.thoughts_may_end
            branch.whole = Whole(Fold(accept_empty=branch.accept_empty(), thoughts_may_end=ends), self._check)
            return branch.whole
        if self.call.copies > 1 and self.encoder is not None:
            return Copy(self.encoder, branch.index)
        encoder = self.encoder = self.new_encoder()
        encoder.accept_empty = branch.accept_empty()
        return encoder

    def _check(self, response: Response) -> None:
        """Raises ``Fault`` where a whole answer is not fit for the client, as long as another attempt may follow."""
        self.notes += self.dialect.check(self.call, response, self.gateway.box)

    def new_encoder(self) -> Encoder:
        """A fresh encoder for the upstream that is asked now."""
        upstream = self.routes[0].upstream
        encoder = self.dialect.encoder(self.call, self.origin, self.gateway.box, upstream.name)
        encoder.thoughts_may_end = upstream.thoughts_may_end
        return encoder

    def deliver(self, data: bytes, now: float) -> None:
        """Send answer bytes; the first ones carry the head."""
        responder = self.responder
        if not self.answered:
            self.answered = True
            if self.trace.first_event is None:
                self.trace.first_event = now - self.started_at
            if not responder.started:
                responder.start(200, [*_STREAM_HEADERS, *self._own_headers()])
        responder.write(data)
        self.last_write = now
        if responder.paused:
            for attempt in self.running:
                if attempt.exchange is not None:
                    attempt.exchange.pause()

    def _resume(self) -> None:
        now = self.clock()
        for attempt in self.running:
            attempt.since = now
            if attempt.exchange is not None:
                attempt.exchange.resume()

    def _own_headers(self) -> Headers:
        spent = (self.clock() - self.started_at) * 1000
        headers = [(b"openai-processing-ms", b"%d" % spent), _VERSION]
        if (self.call.applied or self.notes or self.encoder is not None) and (applied := self._applied()):
            headers.append((b"x-antigravity2api-applied", _in_short(applied)))
        return headers

    def _applied(self) -> tuple[str, ...]:
        """What was changed so far: in the request, by the upstream's file, in the answer."""
        return (*self.call.applied, *self.notes, *(self.encoder.applied if self.encoder is not None else ()))

    # -- time ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Look at every limit, and come back when the next one may be due: one timer a request, none an event.

        Attempts that begin meanwhile need no timer of their own: it rings at least once in the shortest limit.
        """
        now = self.clock()
        timing = self.gateway.timing
        due = self.started_at + timing.total
        if now >= due:
            self.expired = True
            for attempt in self.running.copy():
                attempt.expire(too_long())
            return
        for attempt in self.running.copy():
            limit = timing.gap if attempt.events else timing.first_event
            if self.responder.paused:
                continue
            if now >= attempt.since + limit:
                attempt.expire(timed_out("The upstream stayed silent for too long.", Retry.SAME))
            else:  # the first event may come at once, and the shorter limit holds from then on
                due = min(due, attempt.since + limit)
        if self.over:
            return
        due = min(due, now + timing.gap, now + timing.first_event)
        if self.call.stream:
            if now >= self.last_write + timing.heartbeat and not self.responder.paused:
                self._beat()
            due = min(due, (now if self.responder.paused else self.last_write) + timing.heartbeat)
        self._timer = self.gateway.loop.call_later(max(due - now, 0.001), self.look)

    def _beat(self) -> None:
        if not self.responder.started:
            self.responder.start(200, [*_STREAM_HEADERS, *self._own_headers()])
        encoder = self.encoder or self.new_encoder()
        self.responder.write(encoder.ping())
        self.last_write = self.clock()


def _in_short(notes: Sequence[str]) -> bytes:
    """Notes as a header has room for: whole ones, as many as fit. ``logs show`` has them all."""
    text = ", ".join(notes)
    if len(text) > _LONGEST_APPLIED:
        text = text[: _LONGEST_APPLIED + 1].rpartition(", ")[0] or text[:_LONGEST_APPLIED]
    return text.encode("ascii", "replace")


def _first_fault(group: BaseExceptionGroup[BaseException]) -> Fault:
    """The first fault among failures; raises the group where there is none."""
    for error in group.exceptions:
        if isinstance(error, Fault):
            return error
        if isinstance(error, BaseExceptionGroup):
            return _first_fault(error)
    raise group


def _no_upstream() -> Fault:
    return Fault(
        Kind.CREDENTIAL,  # no 503: old SDKs lose its words and new ones ask again at once
        "No upstream is configured. Set GEMINI_API_KEY (a Gemini API key) and start the gateway again, "
        "give the running one a credential with antigravity2api credentials add, "
        "or try it without one: antigravity2api serve --sandbox.",
    )
