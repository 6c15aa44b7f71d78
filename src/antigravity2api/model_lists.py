"""Which models the upstreams have, asked now and then in the background, and remembered over restarts.

No request of a client ever waits for it, and none of its own generates anything. Until an upstream could be asked, the
model table speaks for it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from antigravity2api import __version__
from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini import live_models
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.live_models import LiveList, LiveModel
from antigravity2api.gemini.models import ModelEntry, ModelTable
from antigravity2api.upstreams.base import Transport, Upstream
from antigravity2api.upstreams.model_pages import MOST_PAGES, page_request, read_page
from antigravity2api.upstreams.transport import fetch

INTERVAL = 3600.0
FIRST = 5.0
"""Seconds after the start, unless somebody wants the list earlier."""
LONGEST_KEPT = 7 * 86400.0
"""A list that is older says nothing any more."""
_SHORTEST = 60.0
_LOOK = 60.0
"""How often another process's list is looked for."""
_TIMEOUT = 15.0
_LARGEST = 8 << 20
READ = "SELECT credential, fetched, body FROM model_lists WHERE upstream = ? ORDER BY fetched DESC LIMIT 1"
WRITE = (
    "INSERT INTO model_lists (upstream, credential, fetched, body) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (upstream, credential) DO UPDATE SET fetched = excluded.fetched, body = excluded.body"
)
FORGET = "DELETE FROM model_lists WHERE upstream = ? AND credential <> ?"

CredentialFor = Callable[[str], Awaitable[Credential]]
"""A credential of an upstream, by its name. Raises ``Fault`` where there is none now."""
Report = Callable[[str, str, str], None]
"""Level, event, reason."""


class Cache(Protocol):
    """The database as a running gateway uses it: quick, and never an error."""

    def read(self, sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None: ...

    def write(self, sql: str, parameters: Sequence[Any], size: int = 0) -> None: ...


def place_of(upstream: Upstream) -> str:
    """The root that an upstream's list belongs to."""
    address = upstream.address
    return f"{address.host}:{address.port}{address.prefix}"


def kept_list(cache: Cache, upstream: Upstream, now: float) -> LiveList | None:
    """The list that was last kept for this root, unless it is too old."""
    row = cache.read(READ, (upstream.name,))
    if row is None or not isinstance(row[2], bytes) or not isinstance(row[1], int | float):
        return None
    found = live_models.from_bytes(row[2], upstream=upstream.name, credential=str(row[0]), fetched=row[1])
    if found is None or not found.models or found.place != place_of(upstream):
        return None
    return found if now - LONGEST_KEPT < found.fetched <= now + _LOOK else None


async def ask(
    transport: Transport, upstream: Upstream, credential: Credential, *, agent: str, wall: Callable[[], float]
) -> LiveList:
    """The upstream's list, all pages of it. Raises ``Fault``."""
    models: list[LiveModel] = []
    token, billed = "", False
    for _ in range(MOST_PAGES):
        request = page_request(upstream, credential, token, agent=agent, quota_project=billed)
        address = request.address or upstream.address
        status, headers, body = await fetch(transport, address, request, timeout=_TIMEOUT, max_bytes=_LARGEST)
        if status == 403 and upstream.name == "vertex" and credential.project and not billed:
            billed = True  # a user's credential has to say whose quota it is
            continue
        if status != 200:
            raise upstream.classify(status, headers, body, secrets=(credential.secret,))
        page = read_page(upstream.name, body)
        models += page.models
        token = page.following
        if not token:
            break
    found = live_models.listed(models)
    if not found:
        raise Fault(Kind.BAD_ANSWER, "The upstream's list of models is empty.")
    return LiveList(
        upstream=upstream.name,
        place=place_of(upstream),
        credential=credential.id,
        fetched=wall(),
        models=found,
    )


class ModelLists:
    """One per process, made within its loop. ``start`` begins to ask; without it the table alone speaks."""

    def __init__(  # noqa: PLR0913 - each by name, most of them for tests
        self,
        table: ModelTable,
        upstreams: Sequence[Upstream],
        transport: Transport,
        credential_for: CredentialFor,
        *,
        cache: Cache | None = None,
        agent: str = f"antigravity2api/{__version__}",
        report: Report | None = None,
        wall: Callable[[], float] = time.time,
        interval: float = INTERVAL,
        first: float = FIRST,
        active: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self._table = table
        self._upstreams = {upstream.name: upstream for upstream in upstreams}
        everybody = tuple(self._upstreams)
        self._active = active or (lambda: everybody)
        """The upstreams that have a credential now, in the operator's order."""
        self._transport = transport
        self._credential_for = credential_for
        self._cache = cache
        self._agent = agent
        self._report = report
        self._wall = wall
        self._interval = interval
        self._first = first
        self._lists: dict[str, LiveList] = {}
        self._entries: dict[str, ModelEntry] = {}
        self._entries_of: tuple[str, ...] | None = None
        """The upstreams whose entries these are; None where they have to be made anew."""
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- what is known -------------------------------------------------------------------------------------------------

    def serves(self, upstream: str, model: str) -> bool | None:
        """Whether an upstream has a (resolved) name; None while it could not be asked."""
        return live_models.serves(self._table, self._lists.get(upstream), upstream, model)

    def routed(self, upstream: Upstream, model: str) -> bool:
        """Whether a request for the model may go there first: what the upstream said, else what the table knows."""
        said = self.serves(upstream.name, model)
        return upstream.lists(model) if said is None else said

    def entries(self) -> list[ModelEntry]:
        """What can be used now, as far as is known."""
        return list(self._known().values())

    def entry(self, name: str) -> ModelEntry | None:
        """The entry of that very name."""
        return self._known().get(name.removeprefix("models/"))

    def _known(self) -> dict[str, ModelEntry]:
        names = tuple(self._active())
        if names != self._entries_of:
            self._entries = {entry.id: entry for entry in live_models.merged(self._table, self._lists, names)}
            self._entries_of = names
        return self._entries

    def known(self, upstream: str) -> LiveList | None:
        """What an upstream said last."""
        return self._lists.get(upstream)

    # -- asking --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take up what was kept, and begin to ask in the background."""
        for upstream in self._upstreams.values():
            self._take_up(upstream)
            self._tasks.append(asyncio.get_running_loop().create_task(self._keep_asking(upstream)))

    def wanted(self) -> None:
        """Somebody looks at the list: what was never asked is asked soon, behind his back."""
        self._wanted.set()

    async def close(self) -> None:
        """Ask no more."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self, name: str) -> LiveList:
        """Ask one upstream now. Raises ``Fault``."""
        upstream = self._upstreams[name]
        credential = await self._credential_for(name)
        found = await ask(self._transport, upstream, credential, agent=self._agent, wall=self._wall)
        self._take(found)
        if self._cache is not None:
            body = live_models.to_bytes(found)
            self._cache.write(WRITE, (name, found.credential, found.fetched, body), len(body))
            self._cache.write(FORGET, (name, found.credential))
        return found

    async def _keep_asking(self, upstream: Upstream) -> None:
        failures = 0
        if self._due_in(upstream.name) <= 0:
            await self._wait_for_first()
        while True:
            if upstream.name not in self._active():  # its first credential may come at any time
                await asyncio.sleep(_LOOK)
                continue
            wait = self._due_in(upstream.name)
            if wait <= 0:
                try:
                    await self.refresh(upstream.name)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - whatever failed, it is tried again
                    failures += 1
                    self._tell(upstream, error, failures)
                    longest = min(_SHORTEST * 2 ** min(failures - 1, 10), self._interval)
                    await asyncio.sleep(longest * random.uniform(0.8, 1.2))  # noqa: S311 - no secret
                    self._take_up(upstream)
                    continue
                wait = self._interval
            # Processes that share a database shall not ask all at once, and one need not ask what another was told.
            spread = random.uniform(0.0, 0.1) * self._interval  # noqa: S311 - no secret
            await self._look_meanwhile(upstream, wait + spread)

    async def _wait_for_first(self) -> None:
        delay = self._first * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        try:
            async with asyncio.timeout(delay):
                await self._wanted.wait()
        except TimeoutError:
            return

    async def _look_meanwhile(self, upstream: Upstream, seconds: float) -> None:
        """Sleep, and take up what other processes learn meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, _LOOK))
            self._take_up(upstream)

    def _due_in(self, name: str) -> float:
        found = self._lists.get(name)
        if found is None:
            return 0.0
        return min(found.fetched + self._interval - self._wall(), self._interval)  # clocks are set back, too

    def _take_up(self, upstream: Upstream) -> None:
        found = kept_list(self._cache, upstream, self._wall()) if self._cache is not None else None
        known = self._lists.get(upstream.name)
        if found is not None and (known is None or found.fetched > known.fetched):
            self._take(found)

    def _take(self, found: LiveList) -> None:
        self._lists[found.upstream] = found
        self._entries_of = None

    def _tell(self, upstream: Upstream, error: Exception, failures: int) -> None:
        """Say it once; it is tried again."""
        if self._report is None or failures > 1:
            return
        why = error.message if isinstance(error, Fault) else f"{type(error).__name__}."
        self._report("warning", "models", f"{upstream.name} could not be asked for its models: {why}")
