"""Code Assist beside generation: whose account it is, its project, its models and what is left of its quota. Pure.

The metadata of every call names no editor, platform or plugin: there are values that claim nothing, and they are true.
A project is Google's answer or the operator's word, never made up here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from antigravity2api.credentials import State
from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.jsontext import dumps, loads_upstream
from antigravity2api.upstreams import errors
from antigravity2api.upstreams.base import HttpRequest
from antigravity2api.upstreams.errors import UpstreamError
from antigravity2api.upstreams.masking import mask

TERMS = (
    "Google's terms do not allow third-party software to use the service behind Antigravity and Gemini CLI, and "
    "accounts have been suspended for it"
)
"""What an operator has to know before this upstream is switched on, without its full stop."""
FREE_TIER = "free-tier"
LEGACY_TIER = "legacy-tier"
STANDARD_TIER = "standard-tier"
_HONEST = {
    "ideType": "IDE_UNSPECIFIED",
    "platform": "PLATFORM_UNSPECIFIED",
    "pluginType": "PLUGIN_UNSPECIFIED",
}
_INTERNAL = ("chat_", "tab_")
_OPERATION = re.compile(r"(?!.*(?:^|/)\.+(?:/|$))[A-Za-z0-9._~-]{1,200}(?:/[A-Za-z0-9._~-]{1,200}){0,8}").fullmatch
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}").fullmatch
_MOST_MODELS = 1000


# -- values ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ineligible:
    """A tier that the account cannot have, and why."""

    reason: str
    message: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What ``loadCodeAssist`` says."""

    project: str | None = None
    tier: str = ""
    """The current tier's id; empty for an account that was never here."""
    paid: str = ""
    own_project: bool = False
    """Whether the current tier works in a project of the user's."""
    offered: str = ""
    """The tier that onboarding would take."""
    ineligible: tuple[Ineligible, ...] = ()

    @property
    def effective_tier(self) -> str:
        """What the account is served as."""
        return self.paid or self.tier


@dataclass(frozen=True, slots=True)
class Settled:
    """The project is known."""

    project: str


@dataclass(frozen=True, slots=True)
class Onboard:
    """The account has to be taken in first."""

    tier: str
    project: str | None


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the credential cannot be used as it is, in the upstream's own words where it has any."""

    state: State
    message: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """A long-running operation: under way, done with a project, or failed with an error object."""

    name: str
    done: bool
    project: str | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuota:
    """A model that the account has, or a bucket of its quota."""

    id: str
    title: str = ""
    input_limit: int | None = None
    output_limit: int | None = None
    remaining: float | None = None
    """0 to 1; None when the upstream said nothing about it."""
    amount: int | None = None
    """Requests or tokens that are left, where they are counted."""
    unit: str = ""
    reset: float | None = None
    """When it is full again (seconds since 1970)."""


# -- requests ----------------------------------------------------------------------------------------------------------


def load_request(token: str, project: str | None, *, agent: str) -> HttpRequest:
    """``loadCodeAssist``: who is this account, and which project does it work in?"""
    return _post("loadCodeAssist", _about(project), token, agent)


def onboard_request(token: str, step: Onboard, *, agent: str) -> HttpRequest:
    """``onboardUser``: take the account in. The free tier has a project of Google's and refuses any other."""
    project = None if step.tier == FREE_TIER else step.project
    return _post("onboardUser", {"tierId": step.tier, **_about(project)}, token, agent)


def operation_request(token: str, name: str, *, agent: str) -> HttpRequest:
    """How far an operation is. Raises ``Fault`` BAD_ANSWER for a name that is no path."""
    if _OPERATION(name) is None:
        raise Fault(Kind.BAD_ANSWER, "The upstream named its operation oddly.", retry=Retry.OTHER_CREDENTIAL)
    return HttpRequest("GET", f"/v1internal/{name}", _headers(token, agent), b"")


def models_request(token: str, project: str | None, *, agent: str) -> HttpRequest:
    """``fetchAvailableModels``: the models and what is left of each."""
    return _post("fetchAvailableModels", {"project": project} if project else {}, token, agent)


def quota_request(token: str, project: str | None, *, agent: str) -> HttpRequest:
    """``retrieveUserQuota``: the buckets of Code Assist, which are counted apart from Antigravity's."""
    return _post("retrieveUserQuota", {"project": project} if project else {}, token, agent)


def _about(project: str | None) -> dict[str, Any]:
    if not project:
        return {"metadata": dict(_HONEST)}
    return {"cloudaicompanionProject": project, "metadata": {**_HONEST, "duetProject": project}}


def _post(method: str, body: dict[str, Any], token: str, agent: str) -> HttpRequest:
    headers = (("Content-Type", "application/json"), *_headers(token, agent))
    return HttpRequest("POST", f"/v1internal:{method}", headers, dumps(body))


def _headers(token: str, agent: str) -> tuple[tuple[str, str], ...]:
    return (("Accept", "application/json"), ("User-Agent", agent), ("Authorization", f"Bearer {token}"))


# -- answers -----------------------------------------------------------------------------------------------------------


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object of a 200. Raises ``Fault`` BAD_ANSWER."""
    try:
        value = loads_upstream(body)
    except ValueError:
        value = None
    if isinstance(value, dict):
        return value
    raise Fault(Kind.BAD_ANSWER, "The upstream's answer is not readable JSON.", retry=Retry.OTHER_CREDENTIAL)


def read_account(value: Mapping[str, Any]) -> Account:
    """The account behind an answer of ``loadCodeAssist``."""
    current = _dict(value.get("currentTier"))
    allowed = [_dict(tier) for tier in _list(value.get("allowedTiers"))]
    offered = next((_text(tier.get("id")) for tier in allowed if tier.get("isDefault") is True), "")
    return Account(
        project=_project(value.get("cloudaicompanionProject")),
        tier=_text(current.get("id")) or ("unknown" if current else ""),
        paid=_text(_dict(value.get("paidTier")).get("id")),
        own_project=current.get("userDefinedCloudaicompanionProject") is True,
        offered=offered or LEGACY_TIER,
        ineligible=tuple(_ineligible(_dict(tier)) for tier in _list(value.get("ineligibleTiers"))),
    )


def behind_perimeter() -> Account:
    """What an answer of a VPC service perimeter (SECURITY_POLICY_VIOLATED) stands for: a paid seat."""
    return Account(tier=STANDARD_TIER, own_project=True)


def read_operation(value: Mapping[str, Any]) -> Operation:
    """The operation behind an answer of ``onboardUser`` or of asking for it."""
    error = value.get("error")
    return Operation(
        name=_text(value.get("name")),
        done=value.get("done") is True,
        project=_project(_dict(value.get("response")).get("cloudaicompanionProject")),
        error=error if isinstance(error, dict) else None,
    )


def read_models(value: Mapping[str, Any]) -> list[ModelQuota]:
    """The models of ``fetchAvailableModels``, without those of the vendor's own editor."""
    models = value.get("models")
    if not isinstance(models, dict):
        return []
    found = []
    for name, about in list(models.items())[:_MOST_MODELS]:
        if not isinstance(about, dict) or name.startswith(_INTERNAL):
            continue
        quota = about.get("quotaInfo")
        found.append(
            ModelQuota(
                id=name,
                title=_text(about.get("displayName")),
                input_limit=_count(about.get("maxTokens")),
                output_limit=_count(about.get("maxOutputTokens")),
                remaining=_share(quota) if isinstance(quota, dict) else None,
                reset=_moment(_dict(quota).get("resetTime")),
            )
        )
    return found


def read_buckets(value: Mapping[str, Any]) -> list[ModelQuota]:
    """The buckets of ``retrieveUserQuota``."""
    return [
        ModelQuota(
            id=_text(bucket.get("modelId")),
            remaining=_share(bucket),
            amount=_count(bucket.get("remainingAmount")),
            unit=_text(bucket.get("tokenType")).lower(),
            reset=_moment(bucket.get("resetTime")),
        )
        for bucket in map(_dict, _list(value.get("buckets"))[:_MOST_MODELS])
        if bucket
    ]


# -- decisions ---------------------------------------------------------------------------------------------------------


def check_project(project: str | None) -> Refused | None:
    """A project number is no project id, and the service takes the id only."""
    if project and project.isdigit():
        return Refused(State.NO_PROJECT, f"{project} is a project number; the project's id is needed.")
    if project and _PROJECT(project) is None:
        return Refused(State.NO_PROJECT, "The configured project is no project id.")
    return None


def plan(account: Account, configured: str | None, *, trusted: bool = True) -> Settled | Onboard | Refused:
    """The next step towards a project. ``trusted``: the configured project is the operator's word, and not something
    that was imported and may have been made up."""
    if not account.tier:
        return _plan_newcomer(account, configured if trusted else None)
    if account.project:
        return Settled(account.project)
    if configured and (trusted or account.own_project):
        return Settled(configured)
    return without_project(account)


def _plan_newcomer(account: Account, configured: str | None) -> Onboard | Refused:
    if verification := _verification(account):
        return verification
    if account.offered == FREE_TIER:
        return Onboard(FREE_TIER, None)
    if configured:
        return Onboard(account.offered, configured)
    return without_project(account)


def without_project(account: Account) -> Refused:
    """No project was found: what Google says about the tiers, and what the operator can do."""
    if verification := _verification(account):
        return verification
    reasons = [one.message or one.reason for one in account.ineligible]
    said = mask(" ".join(dict.fromkeys(filter(None, reasons))), emails=False)
    text = f"Google gives this account no project. {said}".strip()
    link = next((one.link for one in account.ineligible if one.link), "")
    own = "" if account.tier == FREE_TIER else " Set the id of a Google Cloud project in which Code Assist is enabled."
    return Refused(State.NO_PROJECT, text + own, link)


def _verification(account: Account) -> Refused | None:
    for one in account.ineligible:
        if one.reason == "VALIDATION_REQUIRED":
            text = mask(one.message, emails=False) or "Google asks for a verification of this account."
            return Refused(State.NEEDS_VERIFICATION, text, one.link)
    return None


def refusal(error: UpstreamError, secrets: tuple[str, ...] = ()) -> Refused | None:
    """The lasting state that a refused call shows; None for what may pass by itself."""
    if error.status not in (400, 403, 404):
        return None
    words = mask(error.message, secrets, emails=False)
    appeal = safe_link(error.metadata.get("appeal_url", ""))
    if errors.closed_by_terms(error):
        return Refused(State.DISABLED_BY_TERMS, words, appeal)
    if error.reason == "VALIDATION_REQUIRED":
        link = error.metadata.get("validation_link") or next(iter(error.links), "")
        return Refused(State.NEEDS_VERIFICATION, words, safe_link(link))
    unexplained = error.reason is None and error.structured
    if error.status == 403 and (unexplained or errors.misplaced(error) or error.reason == "SERVICE_DISABLED"):
        return Refused(State.NO_PROJECT, words, safe_link(next(iter(error.links), "")))
    if error.status == 400 and error.word == "FAILED_PRECONDITION":
        return Refused(State.NO_PROJECT, words)
    return None


def safe_link(link: str) -> str:
    """A link that can be shown: https, one line, of ordinary length; else nothing."""
    fits = link.startswith("https://") and link.isascii() and link.isprintable() and " " not in link
    return link if fits and len(link) <= 1000 else ""


# -- reading carefully -------------------------------------------------------------------------------------------------


def _ineligible(tier: Mapping[str, Any]) -> Ineligible:
    link = safe_link(_text(tier.get("validationUrl"))) or safe_link(_text(tier.get("validationLearnMoreUrl")))
    return Ineligible(_text(tier.get("reasonCode")), _text(tier.get("reasonMessage"))[:1000], link)


def _project(value: Any) -> str | None:
    """A project's id, given as a text or as an object."""
    name = _text(_dict(value).get("id")) if isinstance(value, dict) else _text(value)
    return name if _PROJECT(name) else None


def _share(quota: Mapping[str, Any]) -> float:
    """What is left, 0 to 1. Proto3 leaves out a zero, so a share that is missing is none."""
    value = quota.get("remainingFraction", 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return 0.0
    return min(1.0, max(0.0, float(value)))


def _count(value: Any) -> int | None:
    """An int64, which proto-JSON writes as a text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> float | None:
    try:
        then = datetime.fromisoformat(value)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
