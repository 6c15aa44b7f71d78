"""The language of a token endpoint: the forms that ask for a token, and what its answers mean. Pure.

RFC 6749 as Google speaks it (https://developers.google.com/identity/protocols/oauth2). Nothing here shows a secret:
what a refusal says is masked before anybody can read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from antigravity2api.gemini.jsontext import loads_upstream
from antigravity2api.upstreams import errors
from antigravity2api.upstreams.base import Address, HttpRequest
from antigravity2api.upstreams.masking import mask
from antigravity2api.upstreams.shaping import address_of

GOOGLE_TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
UNKNOWN_LIFE = 600.0
"""Seconds that a token is used whose life nobody named; a 401 says more."""
LONGEST_LIFE = 12 * 3600.0
"""Google's longest-lived access tokens."""

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
DEAD = "invalid_grant"
"""The one word that says that a refresh token, or the key of a service account, will not work again. Everything else
may be mended elsewhere: an OAuth client that is wrong is configuration, and the next start may have the right one."""
_OUR_CLIENT = frozenset({"invalid_client", "deleted_client", "unauthorized_client"})
_TOKEN = re.compile(r"[!-~]{1,8192}").fullmatch
_CLOCK = re.compile(r"timeframe|short-lived|\biat\b|\bexp\b|clock", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Client:
    """An OAuth client; a public one has no secret."""

    id: str
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and how long it lives from the moment it was asked for."""

    token: str = field(repr=False)
    life: float
    refresh_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no token."""

    reason: str
    """The endpoint's own machine-readable word, or one of ours in capitals."""
    words: str
    """Its sentence, masked."""
    status: int
    dead: bool = False
    """Whether asking with the same secret cannot help: somebody has to log in again."""
    again: bool = False
    """Whether asking once more, now, could help."""
    server_time: float | None = None
    """The endpoint's clock, where it finds ours wrong."""


def endpoint(url: str) -> tuple[Address, str]:
    """Address and path of a token endpoint. Raises ``ValueError`` for anything but https, or http on loopback."""
    parts = urlsplit(url)
    address = address_of(url)
    if not address.tls and address.host not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("a token endpoint must be an https:// address")
    return address._replace(prefix=""), parts.path or "/"


def refresh_form(refresh_token: str, client: Client) -> dict[str, str]:
    """A token for a refresh token."""
    return {"grant_type": "refresh_token", "refresh_token": refresh_token, **_client(client)}


def code_form(code: str, verifier: str, redirect: str, client: Client) -> dict[str, str]:
    """Tokens for a code that a login gave, with the PKCE verifier that only we know."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect,
        **_client(client),
    }


def assertion_form(assertion: str) -> dict[str, str]:
    """A token for a signed statement of a service account."""
    return {"grant_type": _JWT_BEARER, "assertion": assertion}


def _client(client: Client) -> dict[str, str]:
    return {"client_id": client.id, **({"client_secret": client.secret} if client.secret else {})}


def token_request(target: str, form: Mapping[str, str], agent: str) -> HttpRequest:
    """The POST that carries a form."""
    headers = (
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
        ("User-Agent", agent),
    )
    return HttpRequest("POST", target, headers, urlencode(form).encode("ascii"))


def claims(account: str, audience: str, now: float) -> dict[str, Any]:
    """What a service account states about itself (RFC 7523); good for an hour."""
    issued = int(now)
    return {"iss": account, "scope": CLOUD_SCOPE, "aud": audience, "iat": issued, "exp": issued + 3600}


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, secrets: Iterable[str] = ()
) -> Grant | Refusal:
    """What a token endpoint answered."""
    try:
        value = loads_upstream(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        token = value.get("access_token")
        if status == 200 and isinstance(token, str) and _TOKEN(token):
            renewed = value.get("refresh_token")
            keep = isinstance(renewed, str) and _TOKEN(renewed)
            return Grant(token, life_of(value.get("expires_in")), renewed if keep else None)
        if isinstance(value.get("error"), str):
            return _oauth_refusal(status, headers, value, secrets)
    return _strange(status, headers, body, secrets)


def life_of(seconds: Any) -> float:
    """A token's life as its endpoint named it; a nonsensical one is not believed."""
    if isinstance(seconds, str) and re.fullmatch(r"\d{1,9}", seconds):
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        return UNKNOWN_LIFE
    return min(float(seconds), LONGEST_LIFE)


def _oauth_refusal(
    status: int, headers: Mapping[str, str], value: Mapping[str, Any], secrets: Iterable[str]
) -> Refusal:
    reason = str(value["error"])[:100]
    described = value.get("error_description")
    words = mask(described if isinstance(described, str) and described else reason, secrets, emails=False)
    final = status < 500
    about_clock = reason == DEAD and bool(_CLOCK.search(words))
    if about_clock:  # no word about the credential
        reason, words = "CLOCK_SKEW", f"{words} (Check the clock of this machine.)"
    return Refusal(
        reason=mask(reason, secrets),
        words=words,
        status=status,
        dead=final and reason == DEAD and not about_clock,
        again=not final,
        server_time=_date(headers) if about_clock else None,
    )


def _strange(status: int, headers: Mapping[str, str], body: bytes, secrets: Iterable[str]) -> Refusal:
    """No answer that a token endpoint gives: a failure of its server, or something that stands in between."""
    if status == 200:
        text = "The token endpoint's answer holds no access token."
        return Refusal(reason="NO_TOKEN", words=text, status=status, again=True)
    error = errors.read_error(status, headers, body)
    words = mask(error.message, secrets, emails=False)
    again = status in (408, 425, 499) or status >= 500
    return Refusal(reason=error.reason or f"HTTP_{status}", words=words, status=status, again=again)


def concerns_our_client(reason: str) -> bool:
    """Whether a refusal is about the OAuth client, which the operator configured."""
    return reason in _OUR_CLIENT


def _date(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError, OverflowError):
        return None
