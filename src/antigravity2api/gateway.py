"""What requests share: the routes with their credentials, limits, retry budgets, and what upstreams taught us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from antigravity2api.credentials import Record
from antigravity2api.dialects.base import Toolbox
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.repair import Learned
from antigravity2api.gemini.usage import Usage
from antigravity2api.pool import Pool, RetryBudget
from antigravity2api.together import Together
from antigravity2api.upstreams.base import Transport, Upstream


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
    asked: str = ""
    """The model's name as the client spelled it."""
    upstream: str = ""
    credential: str = ""
    stream: bool = False
    attempts: int = 0
    first_event: float | None = None
    usage: Mapping[str, Any] | None = None
    counted: Usage | None = None
    """The same in clients' terms, where somebody has worked it out."""
    fault: Fault | None = None
    applied: tuple[str, ...] = ()
    loosened: Mapping[str, tuple[str, ...]] | None = None
    """Whose schema had to be loosened for the upstream, by which keywords."""
    tries: list[dict[str, Any]] = field(default_factory=list)
    """Each attempt, where there was more than one that served."""


class Renewal(Protocol):
    """Gets what a credential lacks before it can be used."""

    def renewable(self, record: Record) -> bool:
        """Whether a refused token can be replaced by a new one."""

    async def obtain(self, record: Record, *, refused: str | None, misplaced: bool) -> Credential:
        """The credential with a token that is alive (another one than ``refused``) and a project (looked for once more
        where it is ``misplaced``). Raises ``Fault``."""


class Grown(Protocol):
    """A request that looks at its limits by itself once one may be due."""

    started_at: float

    def look(self) -> None: ...


class Young:
    """The requests for which no limit can be due yet share one timer: most are over before the shortest limit, and a
    timer for each would be made only to be cancelled."""

    __slots__ = ("_jobs", "_loop", "_ringing", "_span")

    def __init__(self, loop: asyncio.AbstractEventLoop, span: float) -> None:
        self._loop = loop
        self._span = span
        """Within which time any limit of a request may be due."""
        self._jobs: dict[Grown, None] = {}
        """In the order of their beginning."""
        self._ringing = False

    def add(self, job: Grown) -> None:
        """One that has just begun."""
        self._jobs[job] = None
        if not self._ringing:
            self._ringing = True
            self._loop.call_later(self._span, self._ring)

    def drop(self, job: Grown) -> None:
        """One that is over."""
        self._jobs.pop(job, None)

    def _ring(self) -> None:
        """Let the older ones look at their limits; from then on each has a timer of its own."""
        self._ringing = False
        now = self._loop.time()
        grown = []
        for job in self._jobs:
            left = job.started_at + self._span - now
            if left > 0.001:
                self._ringing = True
                self._loop.call_later(left, self._ring)
                break
            grown.append(job)
        for job in grown:
            if job in self._jobs:
                del self._jobs[job]
                job.look()


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
        accounts: Renewal | None = None,
        serves: Callable[[Upstream, str], bool] | None = None,
    ) -> None:
        self.routes = routes
        """What others may change meanwhile: credentials come and go."""
        self.transport = transport
        self.box = box
        self.timing = timing
        self.loop = asyncio.get_running_loop()
        self.sending = Together(self.loop)
        """Requests that are understood and go up."""
        self.max_attempts = max_attempts
        self.learned = Learned()
        self.prefetch = prefetch
        self.accounts = accounts
        self.on_attempt: Callable[[str, str], None] | None = None
        """Hears the upstream and the outcome of each attempt."""
        self.on_repair: Callable[[str, str], None] | None = None
        """Hears the upstream and the note of each repair."""
        self._serves = serves or (lambda upstream, model: upstream.lists(model))
        self.young = Young(self.loop, min(timing.first_event, timing.gap, timing.heartbeat, timing.total))
        self._budgets: dict[str, RetryBudget] = {}

    @property
    def first_upstream(self) -> str:
        """The one that will most likely serve."""
        return self.routes[0].upstream.name if self.routes else ""

    def routes_for(self, model: str) -> list[Route]:
        """Who serves a model, in order; an unknown name goes to the first upstream as it is."""
        if len(self.routes) == 1:
            return list(self.routes)
        routes = [route for route in self.routes if self._serves(route.upstream, model)] or list(self.routes[:1])
        # One whose credentials all rest is asked when the others have failed.
        routes.sort(key=lambda route: not len(route.pool) or route.pool.free_in(model) > 0)
        return routes

    def may_retry(self, upstream: str) -> bool:
        """Take one from the retry budget of an upstream."""
        return self._budget(upstream).spend()

    def count(self, upstream: str) -> None:
        """One request goes to an upstream."""
        (self._budgets.get(upstream) or self._budget(upstream)).earn()

    def _budget(self, upstream: str) -> RetryBudget:
        budget = self._budgets.get(upstream)
        if budget is None:
            budget = self._budgets[upstream] = RetryBudget(clock=self.loop.time)
        return budget


__all__ = ["Gateway", "Route", "Timing", "Trace"]
