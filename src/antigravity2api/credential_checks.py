"""What ``doctor`` says about a credential, from what asking with it showed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from antigravity2api.checks import Finding, ok, problem, warning
from antigravity2api.credentials import Record, Sort, State

_KEYS_PAGE = "https://aistudio.google.com/apikey"
_LOGIN = "`antigravity2api login`"


_Words = tuple[tuple[str, ...], str, str]
"""Some of these stand in the sentence; what it means; what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What asking with a credential showed."""

    ok: bool
    state: State
    message: str
    """The upstream's own words."""
    link: str
    project: str | None
    seconds: float


def credential_finding(record: Record, asked: Asked, source: str) -> Finding:
    """What the answer says about a credential. ``source`` is where it comes from, in words."""
    if asked.ok:
        project = f", project {asked.project}" if asked.project else ""
        remark = f" {asked.message}" if asked.message.endswith(".") else ""
        return ok("credential", f"It is accepted ({asked.seconds:.1f} s{project}).{remark}", record.id)
    words = _said(record, asked)
    meaning, advice = words[1:] if words else _by_state(record, asked.state, source)
    project = asked.project or record.project or "PROJECT"
    said = f' It was told: "{asked.message}"' if asked.message else ""
    where = f" See {asked.link}" if asked.link else ""
    verdict = warning if words is _QUOTA else problem
    meaning, advice = (text.replace("{project}", project) for text in (meaning, advice))
    return verdict("credential", f"{meaning}{said}", f"{advice}{where}", record.id)


def _said(record: Record, asked: Asked) -> _Words | None:
    """What the upstream's own sentence gives away, beyond the state."""
    text = asked.message.lower()
    entries = _BY_WORDS.get(record.upstream, ())
    return next((entry for entry in entries if any(word in text for word in entry[0])), None)


def _by_state(record: Record, state: State, source: str) -> tuple[str, str]:
    match state:
        case State.NEEDS_LOGIN:
            return _needs_login(record, source)
        case State.NEEDS_VERIFICATION:
            return "The account has to be verified by its owner.", "Open the page in a browser with that account."
        case State.DISABLED_BY_TERMS:
            return (
                "The account was closed to this service for a violation of its terms.",
                f"Only Google can open it again (an appeal). `antigravity2api credentials disable {record.id}`.",
            )
        case State.NO_PROJECT:
            return _no_project(record)
        case State.DISABLED:
            return "It is switched off.", f"`antigravity2api credentials enable {record.id}`."
        case State.READY:
            return "It could not be used now.", "Try again later; if it stays so, the words of the upstream tell why."


def _needs_login(record: Record, source: str) -> tuple[str, str]:
    match record.sort:
        case Sort.API_KEY | Sort.EXPRESS_KEY:
            return (
                f"The key is wrong: Google does not accept it ({source}).",
                f"Copy it again, or make a new one at {_KEYS_PAGE}; then set it there.",
            )
        case Sort.ACCESS_TOKEN:
            return (
                f"The token has expired or is wrong, and nothing renews it ({source}).",
                f"Set a fresh one, or use {_LOGIN} for one that renews itself.",
            )
        case Sort.OAUTH_USER:
            return (
                "The login has expired or was taken back: Google does not renew it.",
                f"Log in again: {_LOGIN} (on a machine without a browser with --no-browser).",
            )
        case Sort.SERVICE_ACCOUNT:
            return (
                f"The service account's key is not accepted: it was deleted, or the account is disabled ({source}).",
                "Make a new key in the Google Cloud console (IAM, Service accounts, Keys).",
            )
        case Sort.DEFAULT:
            return (
                f"The machine's Google credentials are not accepted or not there ({source}).",
                "`gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file.",
            )


def _no_project(record: Record) -> tuple[str, str]:
    if record.upstream == "vertex":
        return "No Google Cloud project is known for it.", "Set GOOGLE_CLOUD_PROJECT to your project's id."
    if record.sort is Sort.ACCESS_TOKEN:
        return (
            "There is no project for the token, and without one this upstream does not answer.",
            f"Set ANTIGRAVITY_PROJECT to the account's project, or use {_LOGIN}, which finds it.",
        )
    name = f"`antigravity2api credentials set {record.id} --project PROJECT` names a Google Cloud project of yours"
    return (
        "The account has no project for this service, and none could be set up.",
        f"Use the service once in Google's own program with this account, then test it again; or {name}.",
    )


_ENABLE: _Words = (
    ("service_disabled", "has not been used in project", "it is disabled"),
    "The API is not switched on in the project {project}.",
    "Switch it on in the Google Cloud console (APIs & Services), wait a few minutes, and try again.",
)
_BILLING: _Words = (
    ("billing",),
    "The project has no billing, which this upstream asks for.",
    "Link a billing account to {project} in the Google Cloud console.",
)
_PLACE: _Words = (
    ("user location is not supported", "location is not supported"),
    "Google does not offer this API where the request comes from.",
    "Let the calls leave from a supported country (ANTIGRAVITY2API_PROXY), or use Vertex AI in a region that has it.",
)
_RESTRICTED: _Words = (
    ("referer", "referrer", "ip address restriction", "requests from this", "are blocked"),
    "The key is limited to other callers or other APIs.",
    "Change the key's restrictions in the Google Cloud console (APIs & Services, Credentials).",
)
_QUOTA: _Words = (
    ("quota", "rate limit", "resource exhausted", "resource_exhausted"),
    "It is accepted, but its quota is used up for now.",
    "Wait, add another credential, or raise the quota.",
)
_PERMISSION: _Words = (
    ("iam_permission_denied", "permission", "aiplatform."),
    "The account lacks a permission on Vertex AI in the project {project}.",
    (
        "Give it the role Vertex AI User: `gcloud projects add-iam-policy-binding {project} "
        "--member=serviceAccount:NAME --role=roles/aiplatform.user` (or user:ADDRESS)."
    ),
)
_NOT_US: _Words = (
    ("version of antigravity", "no longer supported", "unsupported client", "client version"),
    "The service does not serve this program, which says honestly what it is.",
    "Use a Gemini API key or Vertex AI, the supported ways; this gateway does not pass for another program.",
)
_NOT_ENABLED: _Words = (
    _ENABLE[0],
    "The service is not switched on in the project of your OAuth client, or of the account.",
    "Switch it on where Google lets you; a Gemini API key or Vertex AI is the supported way.",
)
_BY_WORDS: Mapping[str, tuple[_Words, ...]] = {
    "gemini": (_PLACE, _ENABLE, _BILLING, _RESTRICTED, _QUOTA),
    "vertex": (_ENABLE, _BILLING, _PERMISSION, _QUOTA),
    "antigravity": (_PLACE, _NOT_US, _NOT_ENABLED, _QUOTA),
}
"""What an upstream's sentence gives away beyond the state, first match first."""
