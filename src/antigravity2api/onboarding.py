"""From an account to its project: what Code Assist answers, step by step, with limits; written down for the next time.

The decisions are ``upstreams.codeassist``; here they are asked for, waited for and remembered. One at a time for a
credential, in this process and the others, and after a failure not again for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from antigravity2api import __version__
from antigravity2api.credentials import UNCHECKED, Record, State, is_hearsay, needs_project
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Credential
from antigravity2api.upstreams import codeassist, errors
from antigravity2api.upstreams.base import Address, HttpRequest, Transport
from antigravity2api.upstreams.codeassist import Account, Onboard, Operation, Refused, Settled
from antigravity2api.upstreams.locks import Busy, locked
from antigravity2api.upstreams.tokens import RecordStore, Report
from antigravity2api.upstreams.transport import fetch

CALL_LIMIT = 10.0
"""Seconds for one call."""
WAIT_LIMIT = 120.0
"""Seconds until an account that is being taken in has to have its project."""
POLL = 5.0
_QUIET = 15.0
"""Seconds without another try after something that may pass by itself."""
_QUIET_REFUSED = 300.0
"""The same after a refusal that only a person can change."""


class ProjectRefused(Exception):
    """There is no project; ``refused`` says why and what state that is."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message)
        self.refused = refused


@dataclass(slots=True)
class _Case:
    """What is known of one credential's search."""

    flight: asyncio.Task[None] | None = None
    found: str = ""
    """The project that was found, for records that are not stored or not read again yet."""
    settled: tuple[Record, Record] | None = None
    """The record that was last asked for, and the same with its project: who asks often gets the same object."""
    fault: Fault | None = None
    quiet_until: float = 0.0
    again_from: float = 0.0
    """Until then a project that was just looked for again is not looked for once more."""


class CodeAssistCalls:
    """The calls about an account, with its token. Raises ``Fault``, or ``ProjectRefused`` for a lasting refusal."""

    def __init__(
        self,
        transport: Transport,
        address: Address,
        *,
        agent: str = f"antigravity2api/{__version__}",
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._transport = transport
        self._address = address
        self._agent = agent
        self._clock = clock
        self._pause = pause

    async def account(self, token: str, project: str | None) -> Account:
        """``loadCodeAssist``."""
        request = codeassist.load_request(token, project, agent=self._agent)
        try:
            return codeassist.read_account(await self._object(request, token))
        except _BehindPerimeter:
            return codeassist.behind_perimeter()

    async def models(self, token: str, project: str | None) -> list[codeassist.ModelQuota]:
        """``fetchAvailableModels``."""
        return codeassist.read_models(
            await self._object(codeassist.models_request(token, project, agent=self._agent), token)
        )

    async def buckets(self, token: str, project: str | None) -> list[codeassist.ModelQuota]:
        """``retrieveUserQuota``."""
        return codeassist.read_buckets(
            await self._object(codeassist.quota_request(token, project, agent=self._agent), token)
        )

    async def project(self, token: str, configured: str | None, *, trusted: bool = True) -> str:
        """The account's project, found or made (the account is taken in where it is new)."""
        if refused := codeassist.check_project(configured):
            raise ProjectRefused(refused)
        try:
            account = await self.account(token, configured)
        except ProjectRefused as refusal:
            if trusted or refusal.refused.state is not State.NO_PROJECT:
                raise
            configured, account = None, await self.account(token, None)  # the imported project was not theirs
        step = codeassist.plan(account, configured, trusted=trusted)
        if isinstance(step, Onboard):
            return await self._onboard(token, step, account)
        if isinstance(step, Settled):
            return step.project
        raise ProjectRefused(step)

    async def _onboard(self, token: str, step: Onboard, account: Account) -> str:
        until = self._clock() + WAIT_LIMIT
        operation = await self._operation(codeassist.onboard_request(token, step, agent=self._agent), token)
        while not operation.done:
            if self._clock() + POLL > until:
                text = "Google has not finished taking this account in; it is asked again later."
                raise Fault(Kind.CREDENTIAL, text, retry=Retry.OTHER_CREDENTIAL, reason="ONBOARDING_TIMEOUT")
            await self._pause(POLL)
            request = codeassist.operation_request(token, operation.name, agent=self._agent)
            operation = await self._operation(request, token, operation.name)
        if project := operation.project or step.project:
            return project
        raise ProjectRefused(codeassist.without_project(replace(account, tier=account.tier or step.tier)))

    async def _operation(self, request: HttpRequest, token: str, name: str = "") -> Operation:
        operation = codeassist.read_operation(await self._object(request, token))
        if operation.error is not None:
            raise self._judged(errors.read_error(200, {}, {"error": dict(operation.error)}), token)
        return replace(operation, name=operation.name or name)

    async def _object(self, request: HttpRequest, token: str) -> dict[str, Any]:
        """The JSON object that one call answers; what may pass by itself is asked once more."""
        for last in (False, True):
            try:
                status, headers, body = await fetch(self._transport, self._address, request, timeout=CALL_LIMIT)
            except Fault as fault:
                if last or fault.kind is not Kind.UNREACHABLE:
                    raise
                continue
            if status == 200:
                return codeassist.read_object(body)
            error = errors.read_error(status, headers, body)
            if last or status < 500:
                raise self._judged(error, token)
        raise AssertionError  # the loop returns or raises

    def _judged(self, error: errors.UpstreamError, token: str) -> Exception:
        if error.reason == "SECURITY_POLICY_VIOLATED":
            return _BehindPerimeter("SECURITY_POLICY_VIOLATED")
        if refused := codeassist.refusal(error, (token,)):
            return ProjectRefused(refused)
        fault = errors.to_fault(error, secrets=(token,))
        fault.retry = Retry.OTHER_CREDENTIAL
        return fault


class _BehindPerimeter(Exception):
    """A VPC service perimeter refused the call."""


class Projects:
    """Makes sure that credentials have their project. One per process."""

    def __init__(
        self,
        calls: CodeAssistCalls,
        *,
        vault: RecordStore | None,
        locks: Path,
        clock: Callable[[], float] = time.monotonic,
        report: Report | None = None,
    ) -> None:
        self._calls = calls
        self._vault = vault
        self._locks = locks
        self._clock = clock
        self._report = report
        self._cases: dict[str, _Case] = {}

    def known(self, record: Record) -> Record:
        """The record with its project, where it was found but the record is older than that."""
        case = self._cases.get(record.id)
        if case is None or not case.found or not needs_project(record):
            return record
        if case.settled is None or case.settled[0] is not record or case.settled[1].project != case.found:
            case.settled = record, _settled(record, case.found)
        return case.settled[1]

    async def ensure(self, record: Record, credential: Credential, *, again: bool = False) -> Record:
        """The record with a project that was checked; at once for one that has it. ``again``: the project it has was
        refused, so it is looked for once more. Raises ``Fault`` CREDENTIAL; then its state is in the store."""
        if not again:
            record = self.known(record)
            if not needs_project(record):
                return record
        case = self._cases.setdefault(record.id, _Case())
        if case.flight is None:
            if again:
                if self._clock() < case.again_from:
                    raise _fault(record, "Google refuses the project that it names itself.", None)
                case.again_from = self._clock() + _QUIET_REFUSED
            if case.fault is not None and self._clock() < case.quiet_until:
                raise _copy(case.fault)
            case.found = ""
            case.flight = asyncio.get_running_loop().create_task(self._fly(record, credential, case, again=again))
        await asyncio.wait({case.flight})  # who stops waiting does not stop it
        if case.found:
            return _settled(record, case.found)
        raise _copy(case.fault) if case.fault else _fault(record, "The search for its project was ended.", None)

    async def close(self) -> None:
        """End the searches under way."""
        flights = [case.flight for case in self._cases.values() if case.flight is not None]
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, record: Record, credential: Credential, case: _Case, *, again: bool) -> None:
        try:
            case.found = await self._search(record, credential, again=again)
            case.fault = None
        except ProjectRefused as refusal:
            refused = refusal.refused
            await self._write(record, state=refused.state, message=refused.message, link=refused.link)
            self._quiet(case, _fault(record, refused.message, refused), _QUIET_REFUSED)
        except Fault as fault:
            # A token that is refused is renewed, and then it goes on.
            self._quiet(case, fault, 0.0 if fault.upstream_status == 401 else _QUIET)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may try again
            self._tell("error", record, error=type(error).__name__)
            self._quiet(case, _fault(record, "Looking for its project failed unexpectedly.", None), _QUIET)
        finally:
            case.flight = None

    async def _search(self, record: Record, credential: Credential, *, again: bool) -> str:
        try:
            async with locked(self._locks, f"{record.id}.project", limit=WAIT_LIMIT + CALL_LIMIT):
                current = await self._current(record)
                if current.project and current.project != record.project and not needs_project(current):
                    return current.project  # another process was here first
                trusted = not (again or is_hearsay(current))
                project = await self._calls.project(credential.secret, current.project, trusted=trusted)
        except Busy:
            raise _fault(record, "Another process has been looking for its project for too long.", None) from None
        mended = current.state in (State.NO_PROJECT, State.NEEDS_VERIFICATION)
        fields = {"state": State.READY, "message": "", "link": ""} if mended else {}
        await self._write(current, project=project, secret={UNCHECKED: None}, **fields)
        self._tell("info", record)
        return project

    async def _current(self, record: Record) -> Record:
        if self._vault is None or not record.stored:
            return record
        with contextlib.suppress(Exception):  # a store out of reach: what is known will do
            return await asyncio.to_thread(self._vault.get, record.id) or record
        return record

    async def _write(self, record: Record, **fields: Any) -> None:
        if self._vault is None or not record.stored:
            return
        try:
            await asyncio.to_thread(self._vault.change, record.id, **fields)
        except Exception as error:  # noqa: BLE001 - it serves from memory, and is found again by the next start
            self._tell("error", record, error=type(error).__name__)

    def _quiet(self, case: _Case, fault: Fault, seconds: float) -> None:
        case.fault = fault
        case.quiet_until = self._clock() + seconds

    def _tell(self, level: str, record: Record, **more: Any) -> None:
        if self._report is not None:
            about: Mapping[str, Any] = {"credential": record.id, **more}
            self._report(level, "project found" if level == "info" else "project not stored", about)


def _settled(record: Record, project: str) -> Record:
    secret = {key: value for key, value in record.secret.items() if key != UNCHECKED}
    return replace(record, project=project, secret=secret)


_REASONS = {
    State.NEEDS_VERIFICATION: "VALIDATION_REQUIRED",
    State.DISABLED_BY_TERMS: "TOS_VIOLATION",
    State.NO_PROJECT: "PROJECT_MISSING",
}


def _fault(record: Record, words: str, refused: Refused | None) -> Fault:
    reason = _REASONS.get(refused.state, "PROJECT_MISSING") if refused else "PROJECT_UNKNOWN"
    closed = refused is not None and refused.state is State.DISABLED_BY_TERMS
    # A closed account is not gone round with another one of the same operator.
    retry = Retry.OTHER_UPSTREAM if closed else Retry.OTHER_CREDENTIAL
    fault = Fault(Kind.CREDENTIAL, f"The credential {record.id} has no project. {words}", retry=retry, reason=reason)
    fault.link = (refused.link or None) if refused else None
    return fault


def _copy(fault: Fault) -> Fault:
    """The same fault for another waiter."""
    made = Fault(fault.kind, fault.message, retry=fault.retry, retry_after=fault.retry_after, reason=fault.reason)
    made.upstream_status, made.link = fault.upstream_status, fault.link
    return made
