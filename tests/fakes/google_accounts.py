"""``GoogleAccounts``: a scripted Google for logins: token endpoint, user info, Code Assist's calls about an account."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from fakes.upstream import Answer, Recorded, Script, ScriptedUpstream, error, plain

PROJECT = "bright-harbor-414"
EMAIL = "kim@example.com"
FREE = {"id": "free-tier", "name": "Free tier", "isDefault": True}
STANDARD = {"id": "standard-tier", "name": "Standard", "userDefinedCloudaicompanionProject": True}


def form_of(record: Recorded) -> dict[str, str]:
    """The form of a token request."""
    return dict(parse_qsl(record.body.decode("ascii")))


def granted(token: str, *, seconds: Any = 3599, refresh: str | None = None, **more: Any) -> Answer:
    """A token, as Google gives it."""
    about = {"access_token": token, "expires_in": seconds, "token_type": "Bearer", **more}
    return plain(about if refresh is None else {**about, "refresh_token": refresh})


def refused(reason: str, words: str | None = None, *, status: int = 400, date: str | None = None) -> Answer:
    """An OAuth error; ``date`` is the server's clock."""
    body = {"error": reason} if words is None else {"error": reason, "error_description": words}
    headers = [("Content-Type", "application/json")]
    if date is not None:
        headers.append(("Date", date))
    return Answer(status=status, headers=tuple(headers), steps=(orjson.dumps(body),))


def page(status: int = 200, text: str = "<!DOCTYPE html><title>Sign in</title>") -> Answer:
    """A web page where JSON belongs."""
    return Answer(status=status, headers=(("Content-Type", "text/html"),), steps=(text.encode(),))


class GoogleAccounts(ScriptedUpstream):
    """Gives tokens to whoever asks, and has one account with a project. ``scripts`` replace an answer by its name:
    ``token``, ``userinfo``, or a method of Code Assist."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.scripts: dict[str, Script | list[Script]] = {}
        self.given = 0

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def asked(self, name: str) -> list[Recorded]:
        """The requests of that name."""
        return [record for record in self.requests if _name(record) == name]

    @property
    def token_requests(self) -> list[dict[str, str]]:
        """The forms that were posted to the token endpoint."""
        return [form_of(record) for record in self.asked("token")]

    def _answer(self, record: Recorded) -> Answer:
        name = _name(record)
        script = self.scripts.get(name)
        if isinstance(script, list):
            script = script.pop(0) if script else None
        if script is None:
            script = _USUAL.get(name, error(404, "The requested URL was not found on this server."))
            if name == "token":
                return self._grant(record)
        return script(record) if callable(script) else script

    def _grant(self, record: Recorded) -> Answer:
        self.given += 1
        login = form_of(record).get("grant_type") == "authorization_code"
        refresh = f"1//0g-refresh-of-login-{self.given}" if login else None
        return granted(f"ya29.token-{self.given}", refresh=refresh)


def _name(record: Recorded) -> str:
    path = urlsplit(record.target).path  # of a whole address too, as a proxy gets it
    return path.rpartition(":")[2] if ":" in path else path.rpartition("/")[2]


def account(*, project: Any = PROJECT, **more: Any) -> dict[str, Any]:
    """``loadCodeAssist`` of an account that was here before."""
    about = {"currentTier": FREE, "allowedTiers": [FREE, STANDARD], "cloudaicompanionProject": project, **more}
    return {key: value for key, value in about.items() if value is not None}


def newcomer(**more: Any) -> dict[str, Any]:
    """The same of one that was not."""
    return {"allowedTiers": [FREE, STANDARD], **more}


def operation(*, done: bool, project: Any = PROJECT, name: str = "operations/abc-1") -> dict[str, Any]:
    """What ``onboardUser`` answers."""
    about: dict[str, Any] = {"name": name, "done": done}
    if done:
        about["response"] = {"cloudaicompanionProject": {"id": project, "name": project}} if project else {}
    return about


def models() -> dict[str, Any]:
    """``fetchAvailableModels``."""
    soon = time.strftime("%Y-%m-%dT%H:00:00Z", time.gmtime(time.time() + 5 * 3600))
    return {
        "models": {
            "gemini-3-flash": {
                "displayName": "Gemini 3 Flash",
                "maxTokens": 1048576,
                "maxOutputTokens": 65536,
                "quotaInfo": {"remainingFraction": 0.82, "resetTime": soon},
            },
            "claude-sonnet-4-6": {"displayName": "Claude Sonnet 4.6", "quotaInfo": {"resetTime": soon}},
            "gpt-oss-120b-medium": {"displayName": "GPT-OSS 120B"},
            "tab_flash_lite_preview": {"displayName": "tab"},
        }
    }


def buckets() -> dict[str, Any]:
    """``retrieveUserQuota``."""
    return {
        "buckets": [
            {"remainingAmount": "840", "remainingFraction": 0.84, "tokenType": "REQUESTS", "modelId": "gemini-3-pro"},
            {"resetTime": "2026-11-21T00:00:00Z", "tokenType": "REQUESTS", "modelId": "gemini-2.5-pro"},
        ]
    }


_USUAL: dict[str, Script | Callable[[Recorded], Answer]] = {
    "userinfo": plain({"email": EMAIL, "verified_email": True, "name": "Kim Example", "picture": "https://x/y"}),
    "loadCodeAssist": plain(account()),
    "onboardUser": plain(operation(done=True)),
    "fetchAvailableModels": lambda record: plain(models()),
    "retrieveUserQuota": plain(buckets()),
}
