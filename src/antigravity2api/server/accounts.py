"""The credentials of a running gateway: the routes they make, what they need before they serve, and their news.

Configuration gives some, the store gives others, and commands change those while the gateway runs: a look every second
finds it. What an upstream says about one (needs login, closed by its terms) is written down for the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from antigravity2api.configured import configured_records, merged, open_vault
from antigravity2api.credentials import Record, State, needs_project
from antigravity2api.errors import Fault
from antigravity2api.gateway import Route
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.models import ModelTable
from antigravity2api.pool import STATIC, Pool, View, is_given_anew, static_ready
from antigravity2api.settings import Settings, vertex_project
from antigravity2api.store.cooldowns import Cooldowns
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.vault import Vault, VaultError
from antigravity2api.telemetry import Log
from antigravity2api.upstreams.antigravity import Antigravity, quota_group
from antigravity2api.upstreams.base import Transport, Upstream
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.shaping import address_of
from antigravity2api.upstreams.vertex import Vertex

if TYPE_CHECKING:
    from antigravity2api.onboarding import Projects
    from antigravity2api.upstreams.tokens import Tokens

_LOOK = 1.0
"""Seconds between two looks at what commands and other workers changed."""


def upstreams_of(settings: Settings, models: ModelTable) -> dict[str, Upstream]:
    """The upstreams that these settings allow, in the operator's order."""
    agent = settings.user_agent
    made: dict[str, Upstream] = {
        "gemini": GeminiApi(address_of(settings.gemini_base_url), models, user_agent=agent),
        "vertex": Vertex(
            vertex_project(settings),
            settings.vertex_location,
            models,
            base_url=settings.vertex_base_url,
            user_agent=agent,
        ),
    }
    if settings.antigravity:  # the operator has read the terms warning
        made["antigravity"] = Antigravity(address_of(settings.antigravity_base_url), models, user_agent=agent)
    return {name: made[name] for name in settings.upstreams if name in made}


class _Seen(NamedTuple):
    """What was read of the store; without ``records`` it could not be."""

    revision: int
    records: Sequence[Record] | None
    problems: Sequence[str]


def _read(vault: Vault) -> _Seen:
    revision = vault.revision()  # first: what changes meanwhile is read again
    try:
        return _Seen(revision, vault.records(), vault.problems())
    except VaultError as error:
        return _Seen(revision, None, [str(error)])


class Accounts:
    """One per process, made and used within its loop."""

    def __init__(
        self,
        settings: Settings,
        upstreams: Mapping[str, Upstream],
        transport: Transport,
        log: Log,
        live: LiveDatabase | None,
        *,
        on_refresh: Callable[[str], None],
    ) -> None:
        """Without ``live`` nothing is stored and nothing stored is used."""
        self._settings = settings
        self._transport = transport
        self._log = log
        self._on_refresh = on_refresh
        self._configured = configured_records(settings)
        self._vault = open_vault(settings) if live is not None else None
        self._revision = 0
        self._stored: Sequence[Record] = ()
        self._problems: frozenset[str] = frozenset()
        self._cooldowns = Cooldowns(live) if live is not None else None
        self._pools = {
            name: Pool(
                [],
                self.ready,
                clock=time.monotonic,
                cooldown=settings.cooldown,
                memory=self._cooldowns,
                quota_group=quota_group if name == "antigravity" else str,
                on_state=self._on_state,
            )
            for name in upstreams
        }
        self._upstreams = upstreams
        self.routes: list[Route] = []
        """The upstreams that have a credential, in the operator's order; the same list for as long as this lives."""
        self._writing: set[asyncio.Task[None]] = set()
        self._in_turn = asyncio.Lock()
        self._watching: asyncio.Task[None] | None = None
        self._take([])

    @cached_property
    def _tokens(self) -> Tokens:
        from antigravity2api.upstreams.tokens import Tokens  # noqa: PLC0415 - an operator with keys alone needs none

        settings = self._settings
        client = settings.antigravity_oauth_client_id
        return Tokens(
            self._transport,
            vault=self._vault,
            token_url=settings.oauth_token_url,
            client=(client, settings.antigravity_oauth_client_secret) if client else None,
            locks=settings.data_dir / "locks",
            user_agent=settings.user_agent,
            report=self._report,
        )

    @cached_property
    def _projects(self) -> Projects:
        from antigravity2api.onboarding import CodeAssistCalls, Projects  # noqa: PLC0415 - as above

        settings = self._settings
        root = address_of(settings.antigravity_base_url)
        calls = CodeAssistCalls(self._transport, root, agent=settings.user_agent)
        return Projects(calls, vault=self._vault, locks=settings.data_dir / "locks", report=self._report)

    async def open(self) -> None:
        """Read what is stored, and look for news from now on."""
        if self._vault is not None:
            self._take_up(_read(self._vault))  # nobody waits for the loop yet, and a thread would cost memory
            self._watching = asyncio.create_task(self._watch(self._vault), name="accounts")

    async def close(self) -> None:
        """End what is under way; what has to be written is."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        for made in ("_projects", "_tokens"):
            if made in self.__dict__:
                await self.__dict__[made].close()
        if self._writing:
            await asyncio.wait(self._writing, timeout=2.0)
        if self._vault is not None:
            self._vault.close()

    def active(self) -> list[str]:
        """The upstreams that have a credential."""
        return [route.upstream.name for route in self.routes]

    def views(self) -> list[View]:
        """How every credential is now."""
        return [view for pool in self._pools.values() for view in pool.views()]

    # -- for a request ---------------------------------------------------------------------------------------------

    def ready(self, record: Record) -> Credential | None:
        """The credential to send now, or None where a token or a project is to be had first (``obtain``)."""
        if needs_project(record):
            record = self._projects.known(record)
            if needs_project(record):
                return None
        return static_ready(record) if record.sort in STATIC else self._tokens.ready(record)

    def renewable(self, record: Record) -> bool:
        """Whether a refused token can be replaced by a new one."""
        return record.sort not in STATIC

    async def obtain(self, record: Record, *, refused: str | None = None, misplaced: bool = False) -> Credential:
        """The credential with what it lacked. ``refused`` is a token that an upstream answered with 401; ``misplaced``
        says that it refused the project. Raises ``Fault``."""
        credential = await self._tokens.obtain(record, refused=refused)
        if misplaced or needs_project(record):
            record = self._projects.known(record)
        if not (misplaced or needs_project(record)):
            return credential if credential.project else replace(credential, project=record.project)
        try:
            record = await self._projects.ensure(record, credential, again=misplaced)
        except Fault as fault:
            if fault.upstream_status != 401 or not self._tokens.renewable(record):
                raise
            credential = await self._tokens.obtain(record, refused=credential.secret)
            record = await self._projects.ensure(record, credential, again=misplaced)
        return replace(credential, project=record.project)

    async def credential_for(self, upstream: str) -> Credential:
        """A credential for what is no request of a client, such as a list of models. Raises ``Fault``."""
        pool = self._pools[upstream]
        lease = pool.pick("")
        if lease is None:
            raise pool.nobody()
        try:
            return lease.credential or await self.obtain(lease.record)
        finally:
            lease.drop()

    # -- news ------------------------------------------------------------------------------------------------------

    async def _watch(self, vault: Vault) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            try:
                if vault.revision() != self._revision:
                    self._take_up(await asyncio.to_thread(_read, vault))
                if self._cooldowns is not None and (rows := self._cooldowns.news()):
                    for pool in self._pools.values():
                        pool.merge(rows)
            except Exception as error:  # noqa: BLE001 - the next look may go better
                self._log.event("warning", "credentials not read", error=type(error).__name__)

    def _take_up(self, seen: _Seen) -> None:
        """Use what was read."""
        self._tell_problems(seen.problems)
        if seen.records is not None:
            self._revision = seen.revision
            self._take(seen.records)

    def _take(self, stored: Sequence[Record]) -> None:
        self._stored = stored
        records = merged(self._configured, stored)
        for name, pool in self._pools.items():
            pool.update(record for record in records if record.upstream == name)
        vertex = self._upstreams.get("vertex")
        if isinstance(vertex, Vertex):
            vertex.expect(record.location for record in records if record.location)
        known = {record.upstream for record in records}
        self.routes[:] = [
            Route(upstream, self._pools[name]) for name, upstream in self._upstreams.items() if name in known
        ]

    def _tell_problems(self, problems: Sequence[str]) -> None:
        """Each problem once, for as long as it lasts."""
        for problem in problems:
            if problem not in self._problems:
                self._log.event("warning", problem)
        self._problems = frozenset(problems)

    # -- what is learned -------------------------------------------------------------------------------------------

    def _on_state(self, identity: str, state: State, message: str, link: str) -> None:
        level = "info" if state is State.READY else "warning"
        self._log.event(level, f"credential {identity}: {state.value}", reason=message, link=link)
        known = next((record for record in self._stored if record.id == identity), None)
        if known is None or self._vault is None:
            return  # of the configuration: memory knows it, and the cool-downs
        task = asyncio.get_running_loop().create_task(self._write_state(self._vault, known, state, message, link))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_state(self, vault: Vault, known: Record, state: State, message: str, link: str) -> None:
        def write() -> None:
            current = vault.get(known.id)
            # What was learned about an old secret says nothing about one that a login has just replaced.
            if current is not None and not is_given_anew(current, known):
                vault.change(known.id, state=state, message=message, link=link)

        async with self._in_turn:  # or a thread that is quicker leaves the older state behind
            try:
                await asyncio.to_thread(write)
            except VaultError as error:
                self._log.event("warning", "state of a credential not stored", credential=known.id, reason=str(error))

    def _report(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        if event == "token renewed":
            self._on_refresh("ok")
        elif event == "token not renewed":
            self._on_refresh(str(fields.get("reason") or "failed"))
        self._log.event(level, f"{event}: {fields.get('credential', '')}", **{str(k): v for k, v in fields.items()})
