"""A login at Google for a program on this machine: the address to open, the answer on loopback, the exchange.

Google's flow for desktop programs (https://developers.google.com/identity/protocols/oauth2/native-app) with PKCE
(RFC 7636, S256) and a state that is compared in constant time. The OAuth client is the operator's own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import html
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.upstreams import grants
from antigravity2api.upstreams.base import Address, HttpRequest, Transport
from antigravity2api.upstreams.grants import Client, Grant, Refusal
from antigravity2api.upstreams.masking import mask
from antigravity2api.upstreams.transport import fetch

AUTH_URL = "https://accounts.google.com/o/oauth2/v2/auth"
USERINFO_URL = "https://www.googleapis.com/oauth2/v2/userinfo"
SCOPES = (grants.CLOUD_SCOPE, "https://www.googleapis.com/auth/userinfo.email")
PATH = "/oauth2callback"
WAIT_LIMIT = 300.0
"""Seconds that a browser has."""
_CALL_LIMIT = 15.0
_HEAD_LIMIT = 10.0
_MOST_HEAD = 16 << 10
_MOST_CONNECTIONS = 32
_MOST_CODE = 2048


def pages_beside(token_url: str) -> tuple[str, str]:
    """The pages for the login and for the account: Google's, or those of the place that a token endpoint of another
    address belongs to (an emulator)."""
    if token_url == grants.GOOGLE_TOKEN_URL:
        return AUTH_URL, USERINFO_URL
    parts = urlsplit(token_url)
    root = f"{parts.scheme}://{parts.netloc}"
    return root + urlsplit(AUTH_URL).path, root + urlsplit(USERINFO_URL).path


class LoginRefused(Exception):
    """There is no login; the message is a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Login:
    """One login under way. The verifier and the state are known to nobody else."""

    client: Client
    redirect: str
    verifier: str = field(repr=False)
    state: str = field(repr=False)

    @classmethod
    def begin(cls, client: Client, port: int) -> Login:
        """A fresh one, whose answer comes to a port of this machine."""
        return cls(client, f"http://127.0.0.1:{port}{PATH}", secrets.token_urlsafe(64), secrets.token_urlsafe(32))

    def page(self, auth_url: str = AUTH_URL) -> str:
        """The address that the account's owner opens."""
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        query = {
            "client_id": self.client.id,
            "redirect_uri": self.redirect,
            "response_type": "code",
            "scope": " ".join(SCOPES),
            "access_type": "offline",
            "prompt": "consent",
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode("ascii"),
            "code_challenge_method": "S256",
            "state": self.state,
        }
        return f"{auth_url}?{urlencode(query)}"

    def code_of(self, query: str) -> str | None:
        """The code in the query of a redirect; None where the state is not ours. Raises ``LoginRefused``."""
        fields = parse_qs(query, keep_blank_values=True, max_num_fields=50)
        given = fields.get("state", [""])[-1]
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.state.encode("ascii")):
            return None
        if error := fields.get("error", [""])[-1]:
            raise LoginRefused(_refusal(error))
        code = fields.get("code", [""])[-1]
        if not _is_code(code):
            raise LoginRefused("Google's answer holds no code.")
        return code

    def code_in(self, pasted: str) -> str:
        """The code in what a person pasted: the whole address, its query, or the code. Raises ``LoginRefused``."""
        text = pasted.strip().strip("'\"")
        if not text:
            raise LoginRefused("Nothing was pasted.")
        if "?" in text or "code=" in text or "error=" in text:
            query = urlsplit(text).query if "?" in text else text
            code = self.code_of(query)
            if code is None:
                raise LoginRefused("That address belongs to another login: its state differs. Start again.")
            return code
        if not _is_code(text):
            raise LoginRefused("That is neither the address of the page nor a code.")
        return text


def _is_code(text: str) -> bool:
    return 0 < len(text) <= _MOST_CODE and text.isascii() and text.isprintable() and " " not in text


def _refusal(error: str) -> str:
    if error == "access_denied":
        return (
            "The login was refused in the browser, or the account may not use this OAuth client: while the client is "
            "in testing, add the account to its test users."
        )
    if error == "admin_policy_enforced":
        return "The administrator of the account's organisation does not allow this login."
    return f"Google refused the login: {mask(error)[:200]}."


# -- the answer on loopback --------------------------------------------------------------------------------------------


class Listener:
    """Waits on loopback for the one request that carries our state; all others get an error and change nothing."""

    def __init__(self) -> None:
        self.login: Login | None = None
        self.port = 0
        self._answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._open = 0

    async def code(self, limit: float = WAIT_LIMIT) -> str:
        """The code, once the browser has brought it. Raises ``LoginRefused``."""
        try:
            async with asyncio.timeout(limit):
                return await asyncio.shield(self._answer)
        except TimeoutError:
            raise LoginRefused(f"Nobody logged in within {limit / 60:g} minutes. Start again.") from None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._open += 1
        try:
            if self._open <= _MOST_CONNECTIONS:
                async with asyncio.timeout(_HEAD_LIMIT):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._reply(head))
                    await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # not a browser
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _reply(self, head: bytes) -> bytes:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        hosts = [line.partition(":")[2].strip().lower() for line in lines[1:] if line.lower().startswith("host:")]
        # A name that was made to point here would be another site's page.
        if hosts not in ([f"127.0.0.1:{self.port}"], [f"localhost:{self.port}"]) or len(words) != 3:
            return _page(400, "This address only takes the answer of a login.")
        path, _, query = words[1].partition("?")
        if path != PATH:
            return _page(404, "There is nothing here.")
        if words[0] != "GET":
            return _page(405, "This address only takes the answer of a login.")
        if self.login is None or self._answer.done():
            return _page(400, "This login is over.")
        try:
            code = self.login.code_of(query)
        except LoginRefused as refused:
            self._answer.set_exception(refused)
            return _page(400, str(refused))
        except ValueError:  # more fields than a redirect has
            code = None
        if code is None:
            return _page(400, "This answer belongs to another login. Start again from the terminal.")
        self._answer.set_result(code)
        return _page(200, "Google has answered. Go back to the terminal; this page can be closed.")


@contextlib.asynccontextmanager
async def listening(port: int = 0) -> AsyncIterator[Listener]:
    """A listener on loopback; port 0 takes a free one. Raises ``OSError`` for a port that is taken."""
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", port, limit=_MOST_HEAD, backlog=16)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()


_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}


def _page(status: int, text: str) -> bytes:
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>antigravity2api login</title>'
        f"<p>{html.escape(text)}</p></html>\n"
    ).encode()
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nReferrer-Policy: no-referrer\r\n"
        "Content-Security-Policy: default-src 'none'\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


# -- the exchange ------------------------------------------------------------------------------------------------------


async def exchange(transport: Transport, token_url: str, login: Login, code: str, *, agent: str) -> Grant:
    """The tokens for a code. Raises ``LoginRefused``, or ``Fault`` when Google is out of reach."""
    address, target = grants.endpoint(token_url)
    form = grants.code_form(code, login.verifier, login.redirect, login.client)
    request = grants.token_request(target, form, agent)
    hidden = tuple(filter(None, (code, login.verifier, login.client.secret)))
    answer = await _asked(transport, address, request, hidden)
    if not isinstance(answer, Grant):
        hint = ""
        if grants.concerns_our_client(answer.reason):
            hint = " Check ANTIGRAVITY_OAUTH_CLIENT_ID and ANTIGRAVITY_OAUTH_CLIENT_SECRET."
        elif answer.reason == "invalid_grant":
            hint = " The code may be too old, or was used already: start again."
        raise LoginRefused(f"Google did not take the code: {answer.words.rstrip('.')}.{hint}")
    if not answer.refresh_token:
        raise LoginRefused("Google gave no refresh token, so the login would end within the hour. Start again.")
    return answer


async def _asked(
    transport: Transport, address: Address, request: HttpRequest, hidden: tuple[str, ...]
) -> Grant | Refusal:
    """What the token endpoint says; a passing failure does not cost the person another login."""
    for last in (False, False, True):
        try:
            answer = grants.read_answer(*await fetch(transport, address, request, timeout=_CALL_LIMIT), secrets=hidden)
        except Fault as fault:
            if last or fault.kind is not Kind.UNREACHABLE:
                raise
        else:
            if last or isinstance(answer, Grant) or not answer.again:
                return answer
        await asyncio.sleep(0.3)
    raise AssertionError  # the last round returns or raises


async def email_of(transport: Transport, token: str, *, agent: str, url: str = USERINFO_URL) -> str:
    """The account's address, to tell it from others; empty where Google does not say."""
    address, target = grants.endpoint(url)
    headers = (("Accept", "application/json"), ("User-Agent", agent), ("Authorization", f"Bearer {token}"))
    try:
        status, _, body = await fetch(transport, address, HttpRequest("GET", target, headers, b""), timeout=_CALL_LIMIT)
        about = loads_upstream(body) if status == 200 else None
    except (Fault, ValueError):
        return ""
    email = about.get("email") if isinstance(about, Mapping) else None
    return email if isinstance(email, str) and "@" in email and len(email) <= 320 and email.isprintable() else ""
