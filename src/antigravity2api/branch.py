"""The attempts that make up one answer, and the only place that decides about another one.

After a failure: with another credential, with what the upstream refused mended, or at the next upstream, as long as
nothing of the answer was used. After a piece of a long answer: with the token for the next piece, also where the
connection broke behind a checkpoint.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from antigravity2api.affinity import affinity_of
from antigravity2api.attempt import Attempt, Consumer, Whole
from antigravity2api.credentials import is_found
from antigravity2api.dialects.base import Dialect, Encoder
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gateway import Gateway, Route, Trace
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.continuation import Continuation
from antigravity2api.gemini.repair import RepairState, repair
from antigravity2api.gemini.types import Response
from antigravity2api.journal import Capture
from antigravity2api.pool import Lease
from antigravity2api.upstreams.base import Sink
from antigravity2api.upstreams.errors import CAPACITY_REASONS

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
_RESUMED_KINDS = frozenset({Kind.TRUNCATED, Kind.UNREACHABLE, Kind.OVERLOADED, Kind.UPSTREAM_ERROR})
"""Failures after which an answer can be taken up at its last token."""

_MOST_TOKENLESS = 10
_QUICK = 1.0
"""So many credentials without a token cost a request no attempt, as long as that is known within so many seconds: the
upstream was not asked. No longer is one waited for while another could serve."""


class Owner(Protocol):
    """The request that the attempts are made for, as they see it."""

    gateway: Gateway
    dialect: Dialect
    call: Call
    routes: list[Route]
    trace: Trace
    clock: Callable[[], float]
    running: list[Attempt]
    notes: tuple[str, ...]
    attempts: int
    allowed: int
    affinity: str | None
    started_at: float
    capture: Capture | None
    encoder: Encoder | None
    """The consumer of a stream that no other attempt shares."""

    @property
    def answered(self) -> bool: ...

    @property
    def expired(self) -> bool: ...

    def deliver(self, data: bytes, now: float) -> None: ...

    def new_consumer(self, branch: Branch) -> Consumer: ...

    def change_upstream(self) -> bool: ...


class Branch:
    """The attempts of one of ``copies`` answers."""

    __slots__ = (
        "_again",
        "_attempt",
        "_consumer",
        "_emptied",
        "_lease",
        "_misplaced",
        "_moved",
        "_refused",
        "_renewed",
        "_repairs",
        "_repeated",
        "_restarted",
        "_same",
        "_story",
        "_token",
        "_tokenless",
        "_tried",
        "attempts",
        "index",
        "job",
        "whole",
    )

    def __init__(self, job: Owner, index: int) -> None:
        self.job = job
        self.index = index
        self.whole: Whole | None = None
        """Where the answer is collected if it is not streamed."""
        self.attempts = 0
        """For the piece under way, which is nearly always the whole answer."""
        self._attempt: Attempt | None = None
        self._lease: Lease | None = None
        self._consumer: Consumer | None = None
        self._tried: list[str] = []
        self._again: dict[Kind, int] = {}
        self._same = False
        """Whether the next attempt may go to a credential that was tried: the failure was not its own."""
        self._repairs: RepairState | None = None
        self._emptied = False
        self._repeated = self._renewed = self._moved = False
        self._refused: str | None = None
        """The token that got a 401 and is to be replaced before the next attempt."""
        self._misplaced = False
        """Whether the project was refused, and is to be looked for once more."""
        self._story: Continuation | None = None
        self._token: str | None = None
        """Where the answer goes on with the next attempt."""
        self._tokenless = 0
        """How many credentials had no token."""
        self._restarted = False
        """Whether an answer in pieces was begun anew."""
        job.gateway.count(job.routes[0].upstream.name)

    def response(self) -> Response:
        """The whole answer, once the branch has ended well."""
        return self.whole.response if self.whole is not None else {}

    def accept_empty(self) -> bool:
        """Whether an empty answer has to be taken as it is: it was tried again, or there is no other try."""
        return self._emptied or self.attempts >= self.job.gateway.max_attempts

    # -- one attempt -----------------------------------------------------------------------------------------------

    def take(self) -> Lease:
        """The credential for the next attempt. Raises ``Fault`` where there is none or no time; what is taken is given
        back by ``ended`` or ``drop``."""
        job = self.job
        if job.expired:
            raise too_long()
        if self._lease is not None:
            return self._lease
        pool = job.routes[0].pool
        model = job.call.model
        affinity = affinity_of(job.affinity, job.call) if len(pool) > 1 else None
        lease = pool.pick(model, self._tried, affinity, again=self._same)
        if lease is None and self._tried:
            lease = pool.pick(model, (), affinity)
        if lease is None:
            fault = pool.nobody()
            fault.retry = Retry.OTHER_UPSTREAM
            raise fault
        self._lease = lease
        self._tried.append(lease.record.id)
        trace = job.trace
        trace.upstream, trace.credential = job.routes[0].upstream.name, lease.record.id
        return lease

    async def furnish(self) -> None:
        """Get the token or the project that the credential lacks. Raises ``Fault``."""
        lease, accounts = self._lease, self.job.gateway.accounts
        if lease is None or lease.credential is not None or accounts is None:
            return
        refused, self._refused = self._refused, None
        misplaced, self._misplaced = self._misplaced, False
        begun = self.job.clock()
        left = self.job.started_at + self.job.gateway.timing.total - begun
        pool = self.job.routes[0].pool
        waiting = min(left, _QUICK) if pool.spare(self.job.call.model, self._tried, warm=True) else left
        try:
            async with asyncio.timeout(max(waiting, 0.0)):
                lease.credential = await accounts.obtain(lease.record, refused=refused, misplaced=misplaced)
        except TimeoutError:
            if waiting >= left:
                raise too_long() from None
            raise _not_ready(lease) from None  # what was begun goes on, and the next request finds it done
        except Fault:
            self._tokenless += 1
            if self._tokenless > _MOST_TOKENLESS or self.job.clock() > begun + _QUICK:
                self.attempts += 1  # it took its time, and counts as one
            raise

    def send(self, over: Callable[[Fault | None], None]) -> None:
        """Send the request with what was taken; ``over`` hears how it ended. Raises ``Fault`` where the upstream has no
        words for it."""
        job, lease = self.job, self._lease
        if lease is None or lease.credential is None:
            raise Fault(Kind.CREDENTIAL, "The credential has no token.", retry=Retry.OTHER_CREDENTIAL)
        credential = lease.credential
        upstream = job.routes[0].upstream
        call = job.call
        self.attempts += 1
        job.attempts += 1
        if self._token is not None:
            call = call.with_request({**call.request, "continuationToken": self._token})
        else:
            self._consumer = None
        request = upstream.prepare(call, credential)
        job.notes = request.notes
        job.trace.loosened = request.loosened
        consumer = self._consumer = self._consumer or job.new_consumer(self)
        attempt = self._attempt = Attempt(
            upstream,
            consumer,
            job.deliver,
            job.clock,
            over,
            self._story if self._token else None,
            job.encoder if consumer is job.encoder else None,
        )
        job.running.append(attempt)
        sink: Sink = attempt
        if job.capture is not None:
            sink = job.capture.sent(upstream.name, credential.id, credential.secret, request, attempt)
        attempt.exchange = job.gateway.transport.open(request.address or upstream.address, request, sink)

    def ended(self, fault: Fault | None) -> None:
        """The attempt is over: give the credential back with a judgement, unless it is to be used once more."""
        attempt, job = self._attempt, self.job
        self._end()
        if attempt is not None:
            self._story, self._token = attempt.story, attempt.following
        if fault is not None or self.attempts > 1 or job.trace.tries:
            self._note_try(attempt, fault)
        gateway = job.gateway
        if gateway.on_attempt is not None:
            gateway.on_attempt(job.routes[0].upstream.name, "ok" if fault is None else fault.kind.value)
        lease = self._lease
        if lease is not None:
            if fault is not None and self._is_mendable(lease, fault):
                return
            self._lease = None
            lease.release(fault)
        if fault is None and (self._repairs is not None or self._story is not None):
            self._learn()

    def drop(self) -> None:
        """The attempt is not wanted any more: give the credential back without one."""
        gateway = self.job.gateway
        if self._attempt is not None and gateway.on_attempt is not None:
            gateway.on_attempt(self.job.routes[0].upstream.name, "left")
        self._end()
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.drop()

    def _end(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        job = self.job
        job.running.remove(attempt)
        attempt.count_last()
        exchange, attempt.exchange = attempt.exchange, None  # each knows the other: leave no cycle behind
        if exchange is not None:
            exchange.close()  # nothing, where the answer is complete
        if attempt.first_at is not None and job.trace.first_event is None and not job.call.stream:
            job.trace.first_event = attempt.first_at - job.started_at

    def _note_try(self, attempt: Attempt | None, fault: Fault | None) -> None:
        """What ``logs`` tells of attempts, where there was more than one that served."""
        trace = self.job.trace
        told: dict[str, Any] = {"upstream": trace.upstream, "credential": trace.credential}
        if attempt is not None:
            told["ms"] = round((self.job.clock() - attempt.begun) * 1000, 1)
        if fault is None:
            told["outcome"] = "ok"
        else:
            told |= {"outcome": fault.kind.value, "status": fault.upstream_status, "reason": fault.reason}
            told["message"] = fault.message
        trace.tries.append(told)

    def _learn(self) -> None:
        if self._story is not None:
            self.job.notes += self._story.notes()
        if self._repairs is not None:
            job = self.job
            upstream = job.routes[0].upstream.name
            for lesson in self._repairs.lessons:  # what helped, now that it did
                job.gateway.learned.note(upstream, job.call.model, lesson)

    # -- several attempts ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Try until an answer is complete; raises the last ``Fault`` when no further attempt can help."""
        fault, used = await self._once()
        if self.goes_on(fault, used=used):
            await self.again(fault)
        elif fault is not None:
            raise self.given_up(fault)

    async def again(self, fault: Fault | None) -> None:
        """The same after an attempt that ended with ``fault`` and is followed by another one."""
        while True:
            if fault is not None and fault.kind in _PAUSED_KINDS:
                await asyncio.sleep(random.uniform(0.05, 0.15) * 2**self.attempts)  # noqa: S311 - no secret
            fault, used = await self._once()
            if not self.goes_on(fault, used=used):
                if fault is None:
                    return
                raise self.given_up(fault)

    async def _once(self) -> tuple[Fault | None, bool]:
        """One attempt: how it ended, and whether its answer was already partly used."""
        job = self.job
        done: asyncio.Future[Fault | None] = job.gateway.loop.create_future()
        try:
            self.take()
            await self.furnish()
            self.send(partial(_settle, done))
            fault = await done
        except Fault as refused:
            fault = refused
        except BaseException:
            self.drop()
            raise
        events = self._attempt.events if self._attempt is not None else 0
        self.ended(fault)
        if job.call.copies == 1:
            return fault, job.answered
        return fault, bool(events and job.call.stream)

    def goes_on(self, fault: Fault | None, *, used: bool) -> bool:
        """Whether another attempt follows one that ``ended`` so. What is to be different then is noted."""
        if fault is None:
            if self._token is None:
                return False
            self._next_piece()
            return True
        if self._lease is not None:  # its token or its project is renewed first
            return True
        if self._story is not None and fault.kind in _RESUMED_KINDS and not self.job.expired:
            self._token = self._story.resume()
            if self._token is not None:
                self._next_piece()
                return True
        if used or (self._story is not None and self._restarted):
            return False
        # What can be taken up nowhere begins anew, once: every piece has tries of its own, nothing else would end it.
        self._restarted = self._restarted or self._story is not None
        return self._may_go_on(fault)

    def _next_piece(self) -> None:
        """What counts for one piece begins anew."""
        self.job.allowed += self.attempts
        self.attempts = 0
        self._tried.clear()
        self._again.clear()

    def _is_mendable(self, lease: Lease, fault: Fault) -> bool:
        """Whether the credential is kept: what was refused is its token or its project, and another can be had."""
        job, accounts = self.job, self.job.gateway.accounts
        if accounts is None or job.answered or lease.credential is None or self._is_last():
            return False
        record = lease.record
        if fault.upstream_status == 401 and not self._renewed and accounts.renewable(record):
            self._renewed = True
            self._refused = lease.credential.secret
        elif fault.reason == "PROJECT_PERMISSION_DENIED" and is_found(record) and not self._moved:
            self._moved = self._misplaced = True
        else:
            return False
        lease.credential = None
        return True

    def _is_last(self) -> bool:
        most = self.job.gateway.max_attempts
        return self.attempts >= most or self.job.attempts >= self.job.allowed

    def _may_go_on(self, fault: Fault) -> bool:
        """Whether, and with what change, another attempt is worth it."""
        job = self.job
        if self._is_last():
            return False
        if fault.retry is Retry.REPAIRED or (
            fault.kind is Kind.INVALID_REQUEST and fault.retry is not Retry.OTHER_UPSTREAM
        ):
            return self._mend(fault)
        if fault.retry is Retry.NEVER:
            return False
        self._same = fault.retry is Retry.SAME
        if fault.retry is Retry.OTHER_UPSTREAM:
            return self._next_upstream()
        if fault.retry is Retry.OTHER_CREDENTIAL:
            return self._has_another(fault) or self._next_upstream()
        count = self._again.get(fault.kind, 0)
        most = _AGAIN.get(fault.kind, 1) if len(job.routes) == 1 else 1  # or nothing is left for the other upstream
        if count >= most or not self._is_allowed():
            return self._next_upstream()
        self._again[fault.kind] = count + 1
        self._emptied = self._emptied or fault.kind is Kind.EMPTY
        if fault.reason in CAPACITY_REASONS and not count:
            del self._tried[-1:]  # the model has no room, whoever asks; and the prompt cache is with this credential
        return True

    def _has_another(self, fault: Fault) -> bool:
        """Whether another credential of the same upstream, or the same one, is worth asking."""
        pool, model = self.job.routes[0].pool, self.job.call.model
        if pool.spare(model, self._tried):
            return True  # what one credential may not says nothing about an upstream in trouble
        if pool.worth(model, self._tried):
            return self._is_allowed()
        if fault.upstream_status == 401 and not self._repeated and not self._renewed and self._is_allowed():
            self._repeated = True  # a passing refusal stays unseen; there is nothing to refresh on an API key
            return True
        return False

    def _is_allowed(self) -> bool:
        """Whether the upstream may be asked once more by the retry budget, which keeps one in trouble from more."""
        return self.job.gateway.may_retry(self.job.routes[0].upstream.name)

    def _next_upstream(self) -> bool:
        if not self.job.change_upstream():
            return False
        self._tried.clear()
        self._again.clear()
        self._repairs = None
        return True

    def _mend(self, fault: Fault) -> bool:
        job = self.job
        if self._repairs is None:
            self._repairs = RepairState(job.routes[0].upstream.schema_form)
        self._repairs.left = job.gateway.max_attempts - self.attempts
        mended = repair(job.call, fault, self._repairs)
        if mended is None:
            return False
        gateway = job.gateway
        if gateway.on_repair is not None:
            gateway.on_repair(job.routes[0].upstream.name, mended.note)
        job.call = mended.call
        self._tried.clear()
        return True

    def given_up(self, fault: Fault) -> Fault:
        """The fault as the client hears it."""
        if fault.kind is Kind.RATE_LIMITED and fault.retry_after is None:
            job = self.job
            fault.retry_after = max(1.0, job.routes[0].pool.free_in(job.call.model))
        if fault.upstream_status is not None and fault.param is not None:
            self.job.dialect.blame(self.job.call, fault)
        return fault


def _not_ready(lease: Lease) -> Fault:
    text = f"The credential {lease.record.id} is not ready yet."
    return Fault(Kind.CREDENTIAL, text, retry=Retry.OTHER_CREDENTIAL, reason="NOT_READY")


def too_long() -> Fault:
    """The time for the whole answer is over."""
    return timed_out("The whole answer took too long.", Retry.NEVER)


def timed_out(message: str, retry: Retry) -> Fault:
    """A limit on the upstream is over."""
    return Fault(Kind.UPSTREAM_TIMEOUT, message, retry=retry, code="upstream_timeout")


def _settle(done: asyncio.Future[Fault | None], fault: Fault | None) -> None:
    if not done.done():  # who waited for it may have been cancelled
        done.set_result(fault)
