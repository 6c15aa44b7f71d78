"""The token endpoint (``POST /token``), for gateways whose credentials are OAuth refresh tokens.

Any refresh token is good, except those that name a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import parse_qsl

from antigravity2api.sandbox.exchange import Exchange, encode

REFRESH_FAULTS: Mapping[str, str] = MappingProxyType(
    {
        "refresh-invalid-grant": "400 invalid_grant: revoked.",
        "refresh-invalid-client": "401 invalid_client.",
        "refresh-500": "500 with an HTML body.",
        "refresh-html": "200 with an HTML body.",
        "refresh-slow": "The ordinary answer after five beats.",
        "refresh-stall": "Nothing until the stall limit.",
        "refresh-no-token": "200 without an access_token.",
        "refresh-short": "A token that lives one second.",
    }
)
"""Refresh tokens that fail, and how."""

_GRANTS = frozenset({"refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"})


async def token_answer(ex: Exchange, body: bytes, number: int) -> None:
    """Answer one token request; ``number`` makes each access token a new one."""
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    grant, refresh = form.get("grant_type", ""), form.get("refresh_token", "")
    if grant not in _GRANTS:
        await _refuse(ex, 400, "unsupported_grant_type", f"Invalid grant_type: {grant}")
        return
    match refresh:
        case "refresh-invalid-grant":
            await _refuse(ex, 400, "invalid_grant", "Token has been expired or revoked.")
        case "refresh-invalid-client":
            await _refuse(ex, 401, "invalid_client", "The OAuth client was not found.")
        case "refresh-500":
            await ex.send(500, b"<!DOCTYPE html><title>Error 500</title>\n", "text/html; charset=UTF-8")
        case "refresh-html":
            await ex.send(200, b"<!DOCTYPE html><title>Sign in</title>\n", "text/html; charset=UTF-8")
        case "refresh-stall":
            await ex.conn.pause(ex.timing.stall)
            ex.conn.close()
        case "refresh-no-token":
            await ex.send(200, encode({"token_type": "Bearer"}))
        case _ if grant == "refresh_token" and not refresh:
            await _refuse(ex, 400, "invalid_request", "Missing required parameter: refresh_token")
        case _:
            if refresh == "refresh-slow":
                await ex.conn.pause(5 * ex.timing.beat)
            await _grant(ex, grant, number, 1 if refresh == "refresh-short" else 3599)


async def _grant(ex: Exchange, grant: str, number: int, seconds: int) -> None:
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
