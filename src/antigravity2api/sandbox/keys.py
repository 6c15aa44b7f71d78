"""Credentials: any non-empty key or token is good, except a few that are bad on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from antigravity2api.sandbox.google import GoogleError, key_invalid, no_key, quota, token_expired

Make = Callable[[str], GoogleError]


def _suspended(_: str) -> GoogleError:
    return GoogleError(403, "Permission denied: Consumer 'api_key:sandbox' has been suspended.")


def _terms(_: str) -> GoogleError:
    return GoogleError(403, "This service has been disabled in this account for violation of Terms of Service.")


BAD_KEYS: Mapping[str, tuple[str, Make]] = MappingProxyType(
    {
        "invalid": ("400 API_KEY_INVALID; as a token 401", lambda _: key_invalid()),
        "expired": (
            "400 API_KEY_INVALID, expired; as a token 401",
            lambda _: key_invalid("API key expired. Please renew the API key."),
        ),
        "leaked": (
            "403 PERMISSION_DENIED, reported as leaked",
            lambda _: GoogleError(403, "Your API key was reported as leaked. Please use another API key."),
        ),
        "suspended": ("403 PERMISSION_DENIED, consumer suspended", _suspended),
        "limited": ("429 for a minute's quota, RetryInfo 7 s", lambda model: quota(model, "7s")),
        "exhausted": ("429 for the day's quota", lambda model: quota(model, "17s", per="Day", limit="250")),
        "banned": ("403 for breaking the terms", _terms),
    }
)
"""The bad keys: what each gets, and the error itself. The model's name stands in quota errors."""


def credential_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The key or token of a request, empty without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    bearer = token.strip() if scheme.lower() == "bearer" else ""
    return headers.get("x-goog-api-key", "") or query.get("key", "") or bearer


def check_key(headers: Mapping[str, str], query: Mapping[str, str], model: str) -> None:
    """The Gemini API's gate."""
    credential = credential_of(headers, query)
    if not credential:
        raise no_key()
    if credential in ("invalid", "expired") and not headers.get("x-goog-api-key") and "key" not in query:
        raise token_expired()
    if credential in BAD_KEYS:
        raise BAD_KEYS[credential][1](model)


def check_token(headers: Mapping[str, str], model: str) -> None:
    """Cloud Code Assist's gate: a bearer token, nothing else."""
    token = credential_of({"authorization": headers.get("authorization", "")}, {})
    if token in ("", "invalid", "expired"):
        raise token_expired()
    if token in BAD_KEYS:
        raise BAD_KEYS[token][1](model)
