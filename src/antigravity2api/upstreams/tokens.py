"""Bearer tokens that stay alive: renewed ahead of time, once for everybody who waits, in this process and the others.

The order of steps, and what each protects, is decision 6 (docs/decisions/0006-tokens.md). In short: a credential has
one flight at a time; a stored one is locked between processes and read again under the lock; what Google gives is
written before anybody uses it; only a refresh token that Google calls dead twice read is given up. A token's life is
counted on the monotonic clock from the moment it was asked for, and a 401 is the last word about it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from antigravity2api import __version__
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.errors import Fault
from antigravity2api.gemini.call import Credential
from antigravity2api.upstreams import grants
from antigravity2api.upstreams.base import Transport
from antigravity2api.upstreams.grants import Client, Grant, Refusal
from antigravity2api.upstreams.locks import Busy, locked
from antigravity2api.upstreams.masking import mask
from antigravity2api.upstreams.token_calls import Budget, TokenCalls, no_token

LIMIT = 8.0
"""Seconds for everything that a token needs: the lock, the requests, the store."""
MOST_REQUESTS = 3
_STORE_ROOM = 0.5
"""Seconds of the limit that are left for writing the token down."""
_AHEAD = (300.0, 600.0)
"""How long before its end a token is renewed in the background; each process draws its own number, so that they do not
all come at once."""
_LEAST_LIFE = 5.0
"""A stored token with fewer seconds left is not taken up any more."""
_QUIET = 5.0
"""Seconds without another try after a failure."""
_QUIET_DEAD = 60.0
_NEW = 30.0
"""A token that is refused this soon after it was renewed for a refusal is not the trouble."""

_STATIC = {Sort.API_KEY: "key", Sort.EXPRESS_KEY: "key", Sort.ACCESS_TOKEN: "access_token"}


class RecordStore(Protocol):
    """What is needed of the store of credentials; called from threads."""

    def get(self, identity: str) -> Record | None: ...

    def change(self, identity: str, **fields: Any) -> Record: ...


Report = Callable[[str, str, Mapping[str, Any]], None]
"""Level, event and fields, for the log; never a secret."""


@dataclass(slots=True)
class _Held:
    """A token in use."""

    token: str
    dies: float
    renew: float
    """Monotonic times: when it is dead, and from when on a new one is fetched in the background."""
    marks: frozenset[str]
    """The secrets that stand for the same login: the one it was made from, and the one that replaced it."""
    project: str | None
    born: float
    forced: bool
    """Whether it replaced a token that an upstream had refused."""
    ours: bool = True
    """Whether this process asked for it, and did not find it in the store."""


@dataclass(slots=True)
class _Account:
    """What this process knows about one credential."""

    seen: Record | None = None
    held: _Held | None = None
    credential: Credential | None = None
    refused: str = ""
    """The token that got a 401; it is not taken up again."""
    forced: bool = False
    """Whether the next token is fetched because of that."""
    flight: asyncio.Task[None] | None = None
    fault: Fault | None = None
    quiet_until: float = 0.0
    moved: tuple[str, str] | None = None
    """A refresh token and the one that replaced it, while the store does not have it."""


class Tokens:
    """One per process; made and used within its loop."""

    def __init__(  # noqa: PLR0913 - each by name, most of them for tests
        self,
        transport: Transport,
        *,
        vault: RecordStore | None,
        token_url: str = grants.GOOGLE_TOKEN_URL,
        client: tuple[str, str | None] | None = None,
        locks: Path,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        user_agent: str = f"antigravity2api/{__version__}",
        environ: Mapping[str, str] | None = None,
        report: Report | None = None,
        limit: float = LIMIT,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._calls = TokenCalls(
            transport,
            token_url=token_url,
            client=Client(*client) if client and client[0] else None,
            agent=user_agent,
            environ=os.environ if environ is None else environ,
            clock=clock,
            wall=wall,
            pause=pause,
        )
        self._vault = vault
        self._locks = locks
        self._clock = clock
        self._wall = wall
        self._report = report or _unheard
        self._limit = limit
        self._ahead = random.uniform(*_AHEAD)  # noqa: S311 - no secret
        self._accounts: dict[str, _Account] = {}

    # -- for the gateway -----------------------------------------------------------------------------------------------

    @staticmethod
    def renewable(record: Record) -> bool:
        """Whether a new token can be had for the credential; a key or a bare token is what it is."""
        return record.sort not in _STATIC

    def ready(self, record: Record) -> Credential | None:
        """The credential to use now, or None when a token has to be fetched first (``obtain``). Cheap; starts the
        renewal of a token that is about to end."""
        key = _STATIC.get(record.sort)
        if key is not None:
            return _carry(record, str(record.secret.get(key) or ""), record.project)
        account = self._accounts.get(record.id)
        if account is None:
            account = self._accounts[record.id] = _Account()
        now = self._clock()
        if record is not account.seen:
            self._look_at(account, record, now)
        held = account.held
        if held is None or now >= held.dies:
            return None
        if now >= held.renew and account.flight is None and now >= account.quiet_until:
            self._start(record, account)
        return account.credential

    async def obtain(self, record: Record, *, refused: str | None = None) -> Credential:
        """A credential with a token that is alive. ``refused``: a token that an upstream answered with 401; a newer one
        is fetched, unless that has happened meanwhile. Raises ``Fault`` CREDENTIAL."""
        credential = self.ready(record)
        if not self.renewable(record):
            return credential or _carry(record, "", record.project)
        account = self._accounts[record.id]
        if refused:
            self._refuse(account, refused)
        for _ in range(2):  # a second flight only where the first was for a login that has been replaced
            if (credential := self.ready(record)) is not None:
                return credential
            if account.flight is None:
                if account.fault is not None and self._clock() < account.quiet_until:
                    raise _copy(account.fault)
                self._start(record, account)
            await self._join(account)
        if (credential := self.ready(record)) is not None:
            return credential
        raise _copy(account.fault) if account.fault else no_token("No token could be had.", "TOKEN_FAILED")

    async def close(self) -> None:
        """End the renewals under way; one that has its token may still write it down."""
        flights = [account.flight for account in self._accounts.values() if account.flight is not None]
        if flights:
            _, late = await asyncio.wait(flights, timeout=1.0)
            for flight in late:
                flight.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._calls.close()

    # -- what is held --------------------------------------------------------------------------------------------------

    def _look_at(self, account: _Account, record: Record, now: float) -> None:
        """Take in a record that was not seen before: it may be another login, or hold a newer token."""
        held, mark = account.held, _mark(record)
        if account.seen is not None and mark != _mark(account.seen) and not (held and mark in held.marks):
            account.held = held = None
            account.fault, account.quiet_until, account.refused = None, 0.0, ""
        account.seen = record
        stored = self._stored(record, account, now)
        if stored is not None and (held is None or (stored.token != held.token and stored.dies > held.dies)):
            account.held = held = stored
        if held is not None:
            account.credential = _carry(record, held.token, record.project or held.project)

    def _stored(self, record: Record, account: _Account, now: float) -> _Held | None:
        """The token that stands in the record, if it can be alive by what both clocks say."""
        token, until = record.secret.get("access_token"), record.secret.get("expires_at")
        if record.sort is not Sort.OAUTH_USER or not isinstance(token, str) or not token or token == account.refused:
            return None
        if isinstance(until, bool) or not isinstance(until, int | float):
            return None
        life = grants.life_of(record.secret.get("expires_in") or 3600)
        left = min(until - self._wall(), life)
        if not left > min(_LEAST_LIFE, life / 4):
            return None
        held = self._new_held(token, now + left, life, record, None)
        held.ours = False
        return held

    def _new_held(self, token: str, dies: float, life: float, record: Record, renewed: str | None) -> _Held:
        """``renewed``: the refresh token that came with it."""
        marks = frozenset({_mark(record), *([renewed] if renewed else [])})
        renew = dies - min(self._ahead, life / 4)
        return _Held(token, dies, renew, marks, None, self._clock(), forced=False)

    def _refuse(self, account: _Account, refused: str) -> None:
        held = account.held
        if held is not None and held.token == refused:
            if held.forced and self._clock() < held.born + _NEW:
                raise no_token("The upstream refuses even a new token of this credential.", "ACCESS_TOKEN_REFUSED")
            account.held = account.credential = None
        if held is None or held.token == refused:
            account.refused, account.forced = refused, True

    # -- flights -------------------------------------------------------------------------------------------------------

    def _start(self, record: Record, account: _Account) -> None:
        with contextlib.suppress(RuntimeError):  # without a loop nobody can wait for it either
            loop = asyncio.get_running_loop()
            account.flight = loop.create_task(self._fly(record, account), name=f"token {record.id}")

    async def _join(self, account: _Account) -> None:
        """Wait for the flight. Who stops waiting does not stop it."""
        flight = account.flight
        if flight is None:
            return
        done, _ = await asyncio.wait({flight}, timeout=self._limit)
        if not done:
            raise no_token("The token could not be renewed in time.", "TOKEN_TIMEOUT")

    async def _fly(self, record: Record, account: _Account) -> None:
        """One renewal; leaves a token or a fault behind and raises neither."""
        try:
            held = await self._renew(record, account)
            if held.token == account.refused:  # taken from the store just before it got its 401
                held = await self._renew(record, account)
        except Fault as fault:
            self._failed(record, account, fault)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may try again
            self._failed(record, account, no_token("Renewing the token failed unexpectedly.", "TOKEN_FAILED"), error)
        else:
            held.forced, account.forced = account.forced, False
            account.held, account.fault, account.quiet_until = held, None, 0.0
            seen = account.seen or record
            account.credential = _carry(seen, held.token, seen.project or held.project)
            self._report("debug", "token renewed" if held.ours else "token taken up", {"credential": record.id})
        finally:
            account.flight = None

    def _failed(self, record: Record, account: _Account, fault: Fault, error: Exception | None = None) -> None:
        quiet = _QUIET_DEAD if fault.reason in ("CREDENTIAL_MALFORMED", grants.DEAD) else _QUIET
        account.fault = fault
        account.quiet_until = self._clock() + quiet
        about = {"credential": record.id, "reason": fault.reason, "message": fault.message}
        self._report("warning", "token not renewed", about | ({"error": type(error).__name__} if error else {}))

    async def _renew(self, record: Record, account: _Account) -> _Held:
        loop = asyncio.get_running_loop()
        budget = Budget(loop.time() + max(0.0, self._limit - _STORE_ROOM), MOST_REQUESTS, loop)
        async with self._turn(record, budget):
            current = await self._current(record, account)
            now = self._clock()
            if current is not record and (stored := self._stored(current, account, now)) is not None:
                ours = account.held
                if now < stored.renew and (ours is None or stored.token != ours.token):
                    return stored  # another process was here first
            return await self._fetch(current, account, budget)

    @contextlib.asynccontextmanager
    async def _turn(self, record: Record, budget: Budget) -> AsyncIterator[None]:
        """The turn of this process with a credential that others can renew as well."""
        if not self._is_shared(record):
            yield
            return
        try:
            async with locked(self._locks, record.id, limit=budget.seconds()):
                yield
        except Busy:
            raise no_token("Another process has been renewing the token for too long.", "TOKEN_BUSY") from None

    def _is_shared(self, record: Record) -> bool:
        """Whether what a renewal brings is written down for all; tokens of keys are not, each process makes its own."""
        return self._vault is not None and record.stored and record.sort is Sort.OAUTH_USER

    async def _current(self, record: Record, account: _Account) -> Record:
        """The record as it is now, whoever changed it."""
        current: Record | None = record
        if self._vault is not None and record.stored:
            try:
                current = await asyncio.to_thread(self._vault.get, record.id)
            except Exception as error:  # noqa: BLE001 - a store out of reach: what is known will do
                self._report("error", "credential not read", {"credential": record.id, "error": type(error).__name__})
            if current is None:
                raise no_token("The credential has been removed, or cannot be read.", "CREDENTIAL_REMOVED")
        assert current is not None  # noqa: S101 - for the type checker
        if account.moved and current.secret.get("refresh_token") == account.moved[0]:
            current = _with_secret(current, {"refresh_token": account.moved[1]})
        return current

    # -- kinds ---------------------------------------------------------------------------------------------------------

    async def _fetch(self, record: Record, account: _Account, budget: Budget) -> _Held:
        """A new token, by the credential's kind."""
        if record.sort is Sort.OAUTH_USER:
            return await self._fetch_for_user(record, account, budget)
        if record.sort is Sort.SERVICE_ACCOUNT:
            answered = await self._calls.for_service_account(record.secret, budget)
        else:
            wants = record.project is None
            answered = await self._calls.for_default(record.secret.get("file"), budget, wants_project=wants)
        answer, asked, project = answered
        if isinstance(answer, Grant):
            held = self._new_held(answer.token, asked + answer.life, answer.life, record, None)
            held.project = project
            return held
        if answer.dead:
            await self._give_up(record, answer)
        raise _refused(record, answer)

    async def _fetch_for_user(self, record: Record, account: _Account, budget: Budget) -> _Held:
        current = record
        while True:
            answer, asked, _ = await self._calls.for_user(current.secret, budget)
            if isinstance(answer, Grant):
                return await self._keep(current, account, answer, asked)
            if answer.dead:
                newer = await self._current(record, account)
                if _mark(newer) != _mark(current):  # a login or another process replaced it while we asked
                    current = newer
                    continue
                await self._give_up(newer, answer)
            raise _refused(current, answer)

    # -- what came of it -----------------------------------------------------------------------------------------------

    async def _keep(self, record: Record, account: _Account, grant: Grant, asked: float) -> _Held:
        """Write a user's token down, and only then hand it out. A store that fails costs nobody their answer, but a
        refresh token that came with it is remembered until it can be written."""
        used = str(record.secret["refresh_token"])
        renewed = grant.refresh_token if grant.refresh_token != used else None
        written = not renewed
        if self._is_shared(record):
            now = self._wall()
            fields = {"access_token": grant.token, "expires_at": now + grant.life, "expires_in": grant.life}
            if renewed:
                fields["refresh_token"] = renewed
            try:
                await asyncio.to_thread(self._write, record, account.moved, fields)
                written = True
            except Exception as error:  # noqa: BLE001 - a full disk, a damaged file: all the same here
                self._report("error", "token not stored", {"credential": record.id, "error": type(error).__name__})
                written = False
        if written and self._is_shared(record):
            account.moved = None
        elif renewed:
            account.moved = (account.moved[0] if account.moved else used, renewed)
        held = self._new_held(grant.token, asked + grant.life, grant.life, record, renewed)
        if account.moved:
            held.marks |= set(account.moved)
        return held

    def _write(self, record: Record, moved: tuple[str, str] | None, fields: Mapping[str, Any]) -> None:
        """In a thread: add to the secret what is new, unless the login was replaced meanwhile."""
        assert self._vault is not None  # noqa: S101 - for the type checker
        current = self._vault.get(record.id)
        ours = {record.secret.get("refresh_token"), *(moved or ())}
        if current is None or current.secret.get("refresh_token") not in ours:
            return
        secret = {"refresh_token": record.secret["refresh_token"], **fields}  # merged into what is there
        mended = current.state is State.NEEDS_LOGIN
        more = {"state": State.READY, "message": "", "link": ""} if mended else {}
        self._vault.change(record.id, secret=secret, **more)

    async def _give_up(self, record: Record, answer: Refusal) -> None:
        """Only a person can help: say so in the store, in the endpoint's words."""
        if self._vault is None or not record.stored:
            return
        message = answer.words or answer.reason
        self._report("error", "needs login", {"credential": record.id, "reason": answer.reason})
        if record.state is State.NEEDS_LOGIN and message in record.message:  # the pool may have said more around it
            return
        with contextlib.suppress(Exception):  # it is said again with the next try
            await asyncio.to_thread(self._vault.change, record.id, state=State.NEEDS_LOGIN, message=message, link="")


# -- small things ------------------------------------------------------------------------------------------------------


def _mark(record: Record) -> str:
    """What makes two records the same login."""
    key = {Sort.OAUTH_USER: "refresh_token", Sort.SERVICE_ACCOUNT: "private_key"}.get(record.sort, "file")
    return str(record.secret.get(key) or "")


def _with_secret(record: Record, more: Mapping[str, Any]) -> Record:
    return replace(record, secret={**record.secret, **more})


def _carry(record: Record, secret: str, project: str | None) -> Credential:
    express = record.sort is Sort.EXPRESS_KEY
    return Credential(record.id, secret, project, record.location, express)


def _refused(record: Record, answer: Refusal) -> Fault:
    """A refusal as those hear it who wait for the token."""
    about = f"No token for the credential {record.id}: {mask(answer.words)}"
    if answer.dead:
        about = f"The credential {record.id} needs a new login. Google says: {mask(answer.words)}"
    elif grants.concerns_our_client(answer.reason):
        ours = not record.secret.get("client_id")
        where = "ANTIGRAVITY_OAUTH_CLIENT_ID and its secret" if ours else "the one in the file that it came from"
        about += f" Check the OAuth client: {where}."
    # A dead refresh token is a state of the credential; the same word beside a 5xx or a wrong clock is none.
    return no_token(about, answer.reason if answer.dead or answer.reason != grants.DEAD else "TOKEN_FAILED")


def _copy(fault: Fault) -> Fault:
    """The same fault for another waiter: an exception that is raised twice keeps both their frames."""
    return Fault(fault.kind, fault.message, retry=fault.retry, retry_after=fault.retry_after, reason=fault.reason)


def _unheard(level: str, event: str, fields: Mapping[str, Any]) -> None:
    """Nobody listens."""
