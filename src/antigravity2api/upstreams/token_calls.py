"""The calls behind a token: forms for a token endpoint, the metadata server, and google-auth's own. One at a time.

What a credential's kind needs is here; whose turn it is, and what becomes of the token, is ``tokens``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.upstreams import adc, grants
from antigravity2api.upstreams.base import Address, HttpRequest, Transport
from antigravity2api.upstreams.grants import Client, Grant, Refusal
from antigravity2api.upstreams.transport import HttpTransport, fetch

_MAX_BYTES = 256 << 10
_OWN_HEADERS = frozenset({"host", "content-length", "connection", "accept-encoding", "user-agent", "transfer-encoding"})
_SKEW = 30.0
"""Seconds that our clock may differ from the endpoint's before the endpoint's is used."""


class Answered(NamedTuple):
    """What came of asking; ``asked`` is the monotonic time from which a token's life counts."""

    answer: Grant | Refusal
    asked: float
    project: str | None = None


@dataclass(slots=True)
class Budget:
    """Time and requests of one renewal."""

    until: float
    requests: int
    loop: asyncio.AbstractEventLoop = field(repr=False)

    def seconds(self) -> float:
        """What is left of the time."""
        return max(0.0, self.until - self.loop.time())

    def has_another(self) -> bool:
        """Whether one more request makes sense."""
        return self.requests > 0 and self.seconds() > 0.05

    def take(self) -> None:
        """Use up one request. Raises ``Fault``."""
        if not self.has_another():
            raise no_token("The token endpoint did not answer in time.", "TOKEN_TIMEOUT")
        self.requests -= 1


class TokenCalls:
    """How tokens are asked for, of whom, and over which connections."""

    def __init__(
        self,
        transport: Transport,
        *,
        token_url: str,
        client: Client | None,
        agent: str,
        environ: Mapping[str, str],
        clock: Callable[[], float],
        wall: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        self._transport = transport
        self._direct: HttpTransport | None = None
        self._token_url = token_url
        self._client = client
        self._agent = agent
        self._environ = environ
        self._clock = clock
        self._wall = wall
        self._pause = pause

    async def close(self) -> None:
        """Close the connections that are not the gateway's."""
        if self._direct is not None:
            await self._direct.close()

    # -- kinds ---------------------------------------------------------------------------------------------------------

    async def for_user(self, secret: Mapping[str, Any], budget: Budget) -> Answered:
        """A token for a login's refresh token."""
        refresh, client = secret.get("refresh_token"), self._client_of(secret)
        if not isinstance(refresh, str) or not refresh:
            raise no_token("The credential has no refresh token: log in again.", "CREDENTIAL_MALFORMED")
        secrets = tuple(filter(None, (refresh, client.secret, secret.get("access_token"))))
        return await self._ask(self._token_url, grants.refresh_form(refresh, client), secrets, budget)

    def _client_of(self, secret: Mapping[str, Any]) -> Client:
        own = secret.get("client_id")
        if isinstance(own, str) and own:
            return Client(own, secret.get("client_secret"))
        if self._client is not None:
            return self._client
        raise no_token(
            "No OAuth client is configured to refresh this login: set ANTIGRAVITY_OAUTH_CLIENT_ID, which is missing.",
            "CLIENT_MISSING",
        )

    async def for_service_account(self, info: Mapping[str, Any], budget: Budget) -> Answered:
        """A service account's token. Where Google finds our clock wrong, its own is used."""
        audience = str(info.get("token_uri") or grants.GOOGLE_TOKEN_URL)
        url = audience if self._token_url == grants.GOOGLE_TOKEN_URL else self._token_url
        project, now = info.get("project_id"), self._wall()
        while True:
            statement = grants.claims(str(info.get("client_email") or ""), audience, now)
            assertion = await asyncio.to_thread(adc.assertion, info, statement)
            answer, asked, _ = await self._ask(url, grants.assertion_form(assertion), (assertion,), budget)
            theirs = answer.server_time if isinstance(answer, Refusal) else None
            if theirs is None or abs(theirs - now) <= _SKEW:
                return Answered(answer, asked, project if isinstance(project, str) else None)
            now = theirs

    async def for_default(self, file: Any, budget: Budget, *, wants_project: bool) -> Answered:
        """A token of the application default credentials, wherever they are."""
        try:
            found = await asyncio.to_thread(adc.find, str(file) if file else None, self._environ)
            match found.sort:
                case adc.METADATA:
                    return await self._from_metadata(budget, wants_project=wants_project)
                case adc.SERVICE_ACCOUNT:
                    return await self.for_service_account(found.info, budget)
                case adc.USER:
                    answered = await self.for_user(found.info, budget)
                    return answered._replace(project=found.project)
            return await self._from_google_auth(found, budget)
        except Fault as fault:
            if fault.reason == "CREDENTIAL_MALFORMED":  # somebody may be writing the file at this moment
                fault.reason = "CREDENTIALS_FILE_MALFORMED"
            raise

    async def _from_google_auth(self, found: adc.Found, budget: Budget) -> Answered:
        asked = self._clock()
        loop = asyncio.get_running_loop()

        def send(url: str, method: str, body: bytes | None, headers: Mapping[str, str]) -> adc.Answer:
            call = self._call(url, method, body, headers, budget)
            return asyncio.run_coroutine_threadsafe(call, loop).result(budget.seconds() + 1)

        try:
            async with asyncio.timeout(budget.seconds()):
                token, life = await asyncio.to_thread(adc.external_token, found.info, send)
        except TimeoutError:
            raise no_token("The token services did not answer in time.", "TOKEN_TIMEOUT") from None
        return Answered(Grant(token, life), asked, found.project)

    async def _from_metadata(self, budget: Budget, *, wants_project: bool) -> Answered:
        """A token of the machine's own service account
        (https://cloud.google.com/compute/docs/access/authenticate-workloads)."""
        root = adc.metadata_root(self._environ)
        missing = no_token(
            "No default credentials were found: set GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or run "
            "`gcloud auth application-default login`.",
            "DEFAULT_CREDENTIALS_MISSING",
        )
        if root is None:
            raise missing
        asked, project = self._clock(), None
        try:
            path = f"instance/service-accounts/default/token?scopes={grants.CLOUD_SCOPE}"
            answer = grants.read_answer(*await self._metadata(root, path, budget))
            if isinstance(answer, Grant) and wants_project:
                said = await self._metadata(root, "project/project-id", budget)
                project = said.data.decode("ascii", "replace").strip() if said.status == 200 else None
        except Fault as fault:
            raise missing if fault.kind is Kind.UNREACHABLE else fault from None
        return Answered(answer, asked, project)

    async def _metadata(self, root: str, path: str, budget: Budget) -> adc.Answer:
        headers = {"Metadata-Flavor": "Google"}
        answer = await self._call(f"{root}/computeMetadata/v1/{path}", "GET", None, headers, budget)
        if answer.headers.get("metadata-flavor", "").lower() != "google":
            raise Fault(Kind.UNREACHABLE, "What answers there is no metadata server.")
        return answer

    # -- the network ---------------------------------------------------------------------------------------------------

    async def _ask(self, url: str, form: Mapping[str, str], secrets: tuple[str, ...], budget: Budget) -> Answered:
        """Ask a token endpoint until it says something definite, within the budget; and when it was asked."""
        try:
            address, target = grants.endpoint(url)
        except ValueError as error:
            raise no_token(f"{str(error).capitalize()}.", "CREDENTIAL_MALFORMED") from None
        request = grants.token_request(target, form, self._agent)
        wait = 0.2
        while True:
            budget.take()
            asked = self._clock()
            answer: Grant | Refusal
            try:
                reply = await fetch(self._transport, address, request, timeout=budget.seconds(), max_bytes=_MAX_BYTES)
                answer = grants.read_answer(*reply, secrets=secrets)
            except Fault as fault:
                again = fault.retry is not Retry.OTHER_UPSTREAM  # a certificate that cannot be verified stays so
                answer = Refusal(reason=fault.kind.name, words=fault.message, status=0, again=again)
            if isinstance(answer, Grant) or not answer.again or not budget.has_another():
                return Answered(answer, asked)
            await self._pause(min(wait * random.uniform(0.5, 1.5), budget.seconds()))  # noqa: S311 - no secret
            wait *= 2

    async def _call(
        self, url: str, method: str, body: bytes | None, headers: Mapping[str, str], budget: Budget
    ) -> adc.Answer:
        """Any call of a token service. The machine's own metadata service is not behind the proxy."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Fault(Kind.BAD_ANSWER, "A token service has an address that is no URL.")
        tls = parts.scheme == "https"
        address = Address(parts.hostname, parts.port or (443 if tls else 80), tls)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = tuple((name, str(value)) for name, value in headers.items() if name.lower() not in _OWN_HEADERS)
        request = HttpRequest(method, target, (*kept, ("User-Agent", self._agent)), body or b"")
        transport: Transport = self._transport
        if adc.is_metadata(parts.hostname) or url.startswith(f"{adc.metadata_root(self._environ)}/"):
            if self._direct is None:
                self._direct = HttpTransport(connect_timeout=2.0)
            transport = self._direct
        return adc.Answer(
            *await fetch(transport, address, request, timeout=max(budget.seconds(), 0.05), max_bytes=_MAX_BYTES)
        )


def no_token(text: str, reason: str) -> Fault:
    """Why a credential has no token now."""
    return Fault(Kind.CREDENTIAL, text, retry=Retry.OTHER_CREDENTIAL, reason=reason)
