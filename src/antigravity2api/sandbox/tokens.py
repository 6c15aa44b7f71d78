"""The token endpoint (``POST /token``), for gateways whose credentials are OAuth refresh tokens.

Any refresh token is good, except those that name a fault.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import parse_qsl

from antigravity2api.sandbox.exchange import Exchange, encode

_GRANTS = frozenset({"refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"})


class RefreshFault(NamedTuple):
    """What happens to a refresh token; ``run`` gets the exchange, the grant's type and the answer's number."""

    about: str
    run: Callable[[Exchange, str, int], Awaitable[None]]


async def token_answer(ex: Exchange, body: bytes, number: int) -> None:
    """Answer one token request; ``number`` makes each access token a new one."""
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    grant, refresh = form.get("grant_type", ""), form.get("refresh_token", "")
    fault = REFRESH_FAULTS.get(refresh)
    if grant not in _GRANTS:
        await _refuse(ex, 400, "unsupported_grant_type", f"Invalid grant_type: {grant}")
    elif fault is not None:
        await fault.run(ex, grant, number)
    elif grant == "refresh_token" and not refresh:
        await _refuse(ex, 400, "invalid_request", "Missing required parameter: refresh_token")
    else:
        await _grant(ex, grant, number)


async def _revoked(ex: Exchange, _grant_type: str, _number: int) -> None:
    await _refuse(ex, 400, "invalid_grant", "Token has been expired or revoked.")


async def _no_client(ex: Exchange, _grant_type: str, _number: int) -> None:
    await _refuse(ex, 401, "invalid_client", "The OAuth client was not found.")


async def _failure(ex: Exchange, _grant_type: str, _number: int) -> None:
    await ex.send(500, b"<!DOCTYPE html><title>Error 500</title>\n", "text/html; charset=UTF-8")


async def _page(ex: Exchange, _grant_type: str, _number: int) -> None:
    await ex.send(200, b"<!DOCTYPE html><title>Sign in</title>\n", "text/html; charset=UTF-8")


async def _slow(ex: Exchange, grant: str, number: int) -> None:
    await ex.conn.pause(5 * ex.timing.beat)
    await _grant(ex, grant, number)


async def _stall(ex: Exchange, _grant_type: str, _number: int) -> None:
    await ex.conn.pause(ex.timing.stall)
    ex.conn.close()


async def _no_token(ex: Exchange, _grant_type: str, _number: int) -> None:
    await ex.send(200, encode({"token_type": "Bearer"}))


async def _short(ex: Exchange, grant: str, number: int) -> None:
    await _grant(ex, grant, number, seconds=1)


REFRESH_FAULTS: Mapping[str, RefreshFault] = MappingProxyType(
    {
        "refresh-invalid-grant": RefreshFault("400 invalid_grant: revoked.", _revoked),
        "refresh-invalid-client": RefreshFault("401 invalid_client.", _no_client),
        "refresh-500": RefreshFault("500 with an HTML body.", _failure),
        "refresh-html": RefreshFault("200 with an HTML body.", _page),
        "refresh-slow": RefreshFault("The ordinary answer after five beats.", _slow),
        "refresh-stall": RefreshFault("Nothing until the stall limit.", _stall),
        "refresh-no-token": RefreshFault("200 without an access_token.", _no_token),
        "refresh-short": RefreshFault("A token that lives one second.", _short),
    }
)
"""Refresh tokens that fail, and how."""


async def _grant(ex: Exchange, grant: str, number: int, *, seconds: int = 3599) -> None:
    answer: dict[str, object] = {
        "access_token": f"sandbox-token-{number}",
        "expires_in": seconds,
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "token_type": "Bearer",
    }
    if grant == "authorization_code":
        answer["refresh_token"] = f"sandbox-refresh-{number}"
    await ex.send(200, encode(answer))


async def _refuse(ex: Exchange, status: int, error: str, text: str) -> None:
    await ex.send(status, encode({"error": error, "error_description": text}))
