"""Whether one credential works, and what is left of its quota; nothing here ever spends a generation.

The Gemini API is asked for its models, Vertex AI to count the tokens of a word (which is free, and needs the same
permission as an answer), Antigravity for the account and its models.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from antigravity2api.configured import open_vault
from antigravity2api.cooling import lesson
from antigravity2api.credentials import Record, State, is_hearsay
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.jsontext import dumps
from antigravity2api.gemini.models import PERMISSIVE
from antigravity2api.gemini.types import Content
from antigravity2api.onboarding import CodeAssistCalls, ProjectRefused
from antigravity2api.settings import Settings
from antigravity2api.store.vault import VaultError
from antigravity2api.upstreams import codeassist, grants
from antigravity2api.upstreams.base import HttpRequest, Transport
from antigravity2api.upstreams.codeassist import TERMS, ModelQuota, Onboard, Refused, Settled
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.shaping import address_of, header_secret
from antigravity2api.upstreams.tokens import RecordStore, Tokens
from antigravity2api.upstreams.transport import HttpTransport, fetch
from antigravity2api.upstreams.vertex import Vertex

Answer = TypeVar("Answer")
_LIMIT = 15.0
_COUNTED = "gemini-2.5-flash"
"""Whose tokens are counted; a location that lacks it has accepted the credential before it says so."""
_LOGIN_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", grants.DEAD})
_OFF = (
    f"The antigravity upstream is off, so Google was not asked. {TERMS}. ANTIGRAVITY2API_ANTIGRAVITY=on says that you "
    "have read this."
)
_PROJECT_REASONS = frozenset({"USER_PROJECT_DENIED", "PROJECT_MISSING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What asking with a credential showed."""

    ok: bool
    state: State = State.READY
    """READY too for a failure that may pass by itself, or that only ``message`` explains."""
    message: str = ""
    """The upstream's own words, masked; a remark where it worked."""
    link: str = ""
    """Where the credential's owner can mend it."""
    project: str | None = None
    tier: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaView:
    """What is left, who said so, and when."""

    source: str
    """The call that answered; without rows the reason for that."""
    fetched_at: float
    """Seconds since 1970."""
    rows: tuple[ModelQuota, ...] = ()
    failed: bool = False
    """Whether it could not be asked for; else nobody tells it."""

    def age(self, now: float | None = None) -> float:
        """Seconds since it was asked for."""
        return max(0.0, (time.time() if now is None else now) - self.fetched_at)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What a probe works with."""

    settings: Settings
    transport: Transport
    tokens: Tokens


async def probe(
    settings: Settings, record: Record, *, transport: Transport | None = None, store: RecordStore | None = None
) -> Finding:
    """Ask the upstream about one credential. ``store`` stands in for the one of the settings. Raises nothing that a
    network or an upstream can do."""
    started = time.monotonic()
    try:
        async with _desk(settings, record, transport, store) as desk:
            found = await _with_token(desk, record, _ASK[record.upstream])
    except ProjectRefused as refusal:
        refused = refusal.refused
        found = Finding(ok=False, state=refused.state, message=refused.message, link=refused.link)
    except Fault as fault:
        found = Finding(ok=False, state=_state_of(fault), message=fault.message, link=fault.link or "")
    except (OSError, ValueError, VaultError) as error:
        found = Finding(ok=False, message=str(error))
    return replace(found, project=found.project or record.project, seconds=time.monotonic() - started)


async def quota(settings: Settings, record: Record, *, transport: Transport | None = None) -> QuotaView:
    """What is left of a credential's quota, as far as anybody tells. Raises nothing, as ``probe``."""
    untold = _NO_VIEW.get(record.upstream)
    if untold is not None:
        return QuotaView(source=untold, fetched_at=time.time())
    try:
        async with _desk(settings, record, transport) as desk:
            return await _with_token(desk, record, _left)
    except ProjectRefused as refusal:
        said = refusal.refused.message
    except Fault as fault:
        said = fault.message
    except (OSError, ValueError, VaultError) as error:
        said = str(error)
    return QuotaView(source=f"could not be asked: {said}", fetched_at=time.time(), failed=True)


_NO_VIEW = {
    "gemini": "none: Google tells nothing about the quota of API keys but at https://aistudio.google.com/usage",
    "vertex": "none: Vertex AI shares its quota among all; see the Quotas page of the Google Cloud console",
}


async def with_credential(
    settings: Settings, record: Record, ask: Callable[[Transport, Credential], Awaitable[Answer]]
) -> Answer:
    """What ``ask`` learns with the credential, connected as the gateway is. Raises ``Fault``."""

    async def asked(desk: _Desk, _: Record, credential: Credential) -> Answer:
        return await ask(desk.transport, credential)

    async with _desk(settings, record, None) as desk:
        return await _with_token(desk, record, asked)


@asynccontextmanager
async def _desk(
    settings: Settings, record: Record, transport: Transport | None, store: RecordStore | None = None
) -> AsyncIterator[_Desk]:
    """Connections and tokens as the gateway has them: proxy, authorities, OAuth client, locks and store. Raises
    ``Fault`` for a credential of an upstream that the operator has not switched on."""
    if record.upstream == "antigravity" and not settings.antigravity:
        raise Fault(Kind.CREDENTIAL, _OFF, reason="UPSTREAM_OFF")
    own = transport is None
    carried: Transport = transport or HttpTransport(
        connect_timeout=settings.timeout_connect,
        proxy=settings.proxy,
        ca_file=str(settings.ca_file) if settings.ca_file else None,
    )
    vault = open_vault(settings) if record.stored and store is None else None
    client = settings.antigravity_oauth_client_id
    tokens = Tokens(
        carried,
        vault=store or vault,
        token_url=settings.oauth_token_url,
        client=(client, settings.antigravity_oauth_client_secret) if client else None,
        locks=settings.data_dir / "locks",
        user_agent=settings.user_agent,
    )
    try:
        yield _Desk(settings, carried, tokens)
    finally:
        await tokens.close()
        if own:
            await carried.close()
        if vault is not None:
            await asyncio.to_thread(vault.close)


async def _with_token(
    desk: _Desk, record: Record, ask: Callable[[_Desk, Record, Credential], Awaitable[Answer]]
) -> Answer:
    """Ask with a token that is alive; one that is refused is renewed once."""
    credential = await desk.tokens.obtain(record)
    try:
        return await ask(desk, record, credential)
    except Fault as fault:
        if fault.upstream_status != 401 or not desk.tokens.renewable(record):
            raise
        return await ask(desk, record, await desk.tokens.obtain(record, refused=credential.secret))


# -- upstreams ---------------------------------------------------------------------------------------------------------


async def _ask_gemini(desk: _Desk, record: Record, credential: Credential) -> Finding:
    settings = desk.settings
    upstream = GeminiApi(address_of(settings.gemini_base_url), user_agent=settings.user_agent)
    headers = (
        ("Accept", "application/json"),
        ("User-Agent", settings.user_agent),
        ("x-goog-api-key", header_secret(credential)),
    )
    request = HttpRequest("GET", "/v1beta/models?pageSize=1", headers, b"")
    status, answered, body = await fetch(desk.transport, upstream.address, request, timeout=_LIMIT)
    if status != 200:
        raise upstream.classify(status, answered, body, secrets=(credential.secret,))
    if not isinstance(codeassist.read_object(body).get("models"), list):
        raise _unexpected("the Gemini API")
    return Finding(ok=True)


async def _ask_vertex(desk: _Desk, record: Record, credential: Credential) -> Finding:
    settings = desk.settings
    upstream = Vertex(
        settings.vertex_project,
        settings.vertex_location,
        base_url=settings.vertex_base_url,
        user_agent=settings.user_agent,
    )
    contents: list[Content] = [{"role": "user", "parts": [{"text": "word"}]}]
    call = Call("probe", "chat", _COUNTED, _COUNTED, PERMISSIVE, {"contents": contents}, stream=False)
    made = upstream.prepare(call, credential)
    target = made.target.replace(":generateContent", ":countTokens")
    request = made._replace(target=target, body=dumps({"contents": contents}))
    status, headers, body = await fetch(desk.transport, made.address or upstream.address, request, timeout=_LIMIT)
    accepted = Finding(ok=True, project=credential.project or settings.vertex_project)
    if status == 200:
        if "totalTokens" not in codeassist.read_object(body):
            raise _unexpected("Vertex AI")
        return accepted
    fault = upstream.classify(status, headers, body, secrets=(credential.secret,))
    if fault.kind is Kind.MODEL_NOT_FOUND and body.lstrip()[:1] in (b"{", b"["):
        return accepted
    raise fault


async def _ask_antigravity(desk: _Desk, record: Record, credential: Credential) -> Finding:
    calls = _calls(desk)
    account, project = await _account(calls, record, credential)
    if project is None:
        text = "The account is new to this service; its first use sets it up."
        return Finding(ok=True, message=text, tier=account)
    models = await calls.models(credential.secret, project)
    return Finding(ok=True, project=project, tier=account, message=f"{len(models)} models")


async def _left(desk: _Desk, record: Record, credential: Credential) -> QuotaView:
    """Asked at the host that the quota is spent on; Antigravity's own view first, Code Assist's buckets after it."""
    calls = _calls(desk)
    _, project = await _account(calls, record, credential)
    rows = await calls.models(credential.secret, project)
    source = "fetchAvailableModels"
    try:
        buckets = await calls.buckets(credential.secret, project)
    except (Fault, ProjectRefused):
        buckets = []  # not every account has them
    if buckets:
        source = f"{source}, retrieveUserQuota" if rows else "retrieveUserQuota"
    return QuotaView(source=source, fetched_at=time.time(), rows=(*rows, *buckets))


def _calls(desk: _Desk) -> CodeAssistCalls:
    settings = desk.settings
    return CodeAssistCalls(desk.transport, address_of(settings.antigravity_base_url), agent=settings.user_agent)


async def _account(calls: CodeAssistCalls, record: Record, credential: Credential) -> tuple[str, str | None]:
    """The account's tier and its project; None for one that has to be taken in first, which a probe does not do."""
    if refused := codeassist.check_project(record.project):
        raise ProjectRefused(refused)
    trusted = not is_hearsay(record)
    account = await calls.account(credential.secret, record.project if trusted else None)
    match codeassist.plan(account, record.project, trusted=trusted):
        case Settled(project):
            return account.effective_tier, project
        case Refused() as refused:
            raise ProjectRefused(refused)
        case Onboard(tier, _):
            return tier, None


_ASK: Mapping[str, Callable[[_Desk, Record, Credential], Awaitable[Finding]]] = {
    "gemini": _ask_gemini,
    "vertex": _ask_vertex,
    "antigravity": _ask_antigravity,
}


def _state_of(fault: Fault) -> State:
    """What a person has to do about a fault; READY where that is nothing, or only the words tell."""
    taught = lesson(fault, time.time())
    if taught is not None and taught.state is not None:
        return taught.state
    if fault.kind is not Kind.CREDENTIAL:
        return State.READY
    if fault.upstream_status == 401 or fault.reason in _LOGIN_REASONS:
        return State.NEEDS_LOGIN
    return State.NO_PROJECT if fault.reason in _PROJECT_REASONS else State.READY


def _unexpected(name: str) -> Fault:
    return Fault(Kind.BAD_ANSWER, f"What answers there is not {name}: check its base URL.", retry=Retry.NEVER)
