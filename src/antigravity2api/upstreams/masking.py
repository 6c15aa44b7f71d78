"""What an upstream's sentence may not carry to a client: keys, tokens, internal hosts, project ids, addresses. Pure.

Masking happens in place, so that the rest of the sentence keeps its meaning. Links to public documentation stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

MAX_TEXT = 2048
_MAX_READ = 4 * MAX_TEXT
_MASK = "***"
_HOST = "[host]"

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])?")
# Control characters, direction overrides and invisible separators: they forge log lines and hide text.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")

_SECRETS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\bAIza[0-9A-Za-z_-]{10,}"),
    re.compile(r"\bAQ\.[0-9A-Za-z_-]{16,}"),
    re.compile(r"\bya29\.[0-9A-Za-z._-]+"),
    re.compile(r"\b1//0[0-9A-Za-z_-]{10,}"),
    re.compile(r"\bGOCSPX-[0-9A-Za-z_-]+"),
    re.compile(r"\beyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]*)?"),
    re.compile(r"\bsk-[0-9A-Za-z_-]{16,}"),
    re.compile(r"\bgh[opsu]_[0-9A-Za-z]{20,}"),
    re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
)
_SIGNS = ("PRIVATE KEY", "AIza", "AQ.", "ya29.", "1//0", "GOCSPX-", "eyJ", "sk-", "gh", "AKIA")
"""A word of each that has to be there."""
_SCHEME = re.compile(r"\b((?:bearer|basic)\s+)(?!token\b|auth)[0-9A-Za-z._~+/=-]{6,}", re.IGNORECASE)
_NAMED = re.compile(
    r"""(?<![A-Za-z0-9])((?:x-goog-)?api[-_ ]?key|(?:access|refresh|id|auth)[-_]?token|client[-_]secret|authorization
    |password|passwd|secret|token|key|cookie)(["']?\s*(?:=|:\s*(?=["'])|:\s*(?=\S{12}))\s*["']?)([^\s"'&,;)}\]]{4,})""",
    re.IGNORECASE | re.VERBOSE,
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)+")
_PROJECT_PATH = re.compile(r"\b(projects|organizations|folders|billingAccounts)/(?!\*)[^\s/\"'`,;:)\]}]+(?<!\.)")
_PROJECT_WORD = re.compile(
    r"""\b(project(?:[ _]?(?:id|number))?\s*[:=#]?\s*)
    (?:(["'`])\#?[\w.:-]+\2|\#?(?=[a-z0-9-]*[0-9-])[a-z0-9][a-z0-9-]{4,}(?![a-z0-9-]))""",
    re.IGNORECASE | re.VERBOSE,
)
_CONSUMER = re.compile(r"\b((?:consumer|project_number|project_id)\s*[:=]?\s*['\"`]?)(?!projects/)[\w:-]*\d[\w:-]*")

_URL = re.compile(r"\b(?:https?|wss?|grpcs?|ftp|file|gs)://[^\s\"'<>`]+", re.IGNORECASE)
_PUBLIC = (
    "ai.google.dev",
    "ai.google",
    "aistudio.google.com",
    "accounts.google.com",
    "cloud.google.com",
    "developers.google.com",
    "developers.generativeai.google",
    "console.developers.google.com",
    "policies.google.com",
    "support.google.com",
    "makersuite.google.com",
    "one.google.com",
    "antigravity.google",
    "goo.gle",
    "g.co",
    "docs.anthropic.com",
    "docs.claude.com",
    "platform.claude.com",
)
"""Hosts whose pages a client may be pointed to."""
_PRIVATE_QUERY = re.compile(r"([?&](?:project|authuser|key|token|access_token|email|user|organizationId)=)[^&#\s]+")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?(?![\w.]*\w)")
_IPV6 = re.compile(
    r"\[[0-9a-f:]*:[0-9a-f:.]+\](?::\d{1,5})?|(?<![\w:])(?:[0-9a-f]{1,4}:){4,7}[0-9a-f]{1,4}(?![\w:])", re.IGNORECASE
)
# Names begin where no name could have begun before, and labels are never given back: linear on any text.
_NAMED_HOST = re.compile(
    r"(?<![\w./@-])(?:localhost|(?:[a-z0-9_-]++\.)+(?:internal|local|localdomain|intern|corp|lan|intranet|private|svc"
    r"|test|invalid|com|net|org|io|dev|cloud|app|google|goog|ai|co|eu|us|de|uk|cn|jp))(?::\d{1,5})?(?![\w-]|\.\w)",
    re.IGNORECASE,
)
_HOST_PORT = re.compile(r"(?<![\w./@-])(?=[a-z]*[.0-9-])[a-z0-9][a-z0-9.-]*+:\d{4,5}(?![\w:])", re.IGNORECASE)
_ROOTS = "google3?|home|root|usr|var|srv|etc|opt|tmp|mnt|proc|export|Users|app|build"
_PATH = re.compile(rf"(?<![\w/.:])/(?:{_ROOTS})/[^\s\"'`,;)]+")


def mask(text: str, secrets: Iterable[str] = (), *, hosts: Iterable[str] = (), emails: bool = True) -> str:
    """``text`` without secrets, private names and control characters, at most about two kilobytes.

    ``secrets`` are masked wherever they stand; ``hosts`` are names that shall not be seen though they look public.
    """
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, _MASK)
    text = text.partition("Traceback (most recent call last)")[0] or "An internal error."
    text = _CONTROL.sub("", _ESCAPES.sub("", text[:_MAX_READ].replace("\r\n", "\n").replace("\r", "\n")))
    for pattern in _SECRETS:
        text = pattern.sub(_MASK, text)
    text = _SCHEME.sub(rf"\g<1>{_MASK}", text)
    text = _URL.sub(_public_url, text)
    text = _NAMED.sub(rf"\g<1>\g<2>{_MASK}", text)
    text = _PROJECT_PATH.sub(rf"\g<1>/{_MASK}", text)
    text = _PROJECT_WORD.sub(rf"\g<1>{_MASK}", text)
    text = _CONSUMER.sub(rf"\g<1>{_MASK}", text)
    if emails:
        text = _EMAIL.sub(_MASK, text)
    for host in hosts:
        if host:
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?::\d+)?(?![\w-])", _HOST, text, flags=re.IGNORECASE)
    text = _IPV4.sub(_HOST, text)
    text = _IPV6.sub(_HOST, text)
    text = _NAMED_HOST.sub(_private_host, text)
    text = _HOST_PORT.sub(_HOST, text)
    text = _PATH.sub("[path]", text).strip()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1].rstrip() + "…"


def mask_keys(text: str, secrets: Iterable[str] = ()) -> str:
    """``text`` of any length without keys, tokens and ``secrets``; everything else stays as it is."""
    for secret in secrets:
        if len(secret) >= 4 and secret in text:
            text = text.replace(secret, _MASK)
    for sign, pattern in zip(_SIGNS, _SECRETS, strict=True):  # looking for a word first is a hundred times quicker
        if sign in text:
            text = pattern.sub(_MASK, text)
    lowered = text.lower()
    if "bearer" in lowered or "basic" in lowered:
        text = _SCHEME.sub(rf"\g<1>{_MASK}", text)
    return text


def _is_public(host: str) -> bool:
    host = host.lower().rstrip(".")
    return any(host == name or host.endswith("." + name) for name in _PUBLIC)


def _public_url(match: re.Match[str]) -> str:
    """A documentation link as it is (without a project in its query), anything else as a placeholder."""
    url = match[0]
    trailing = url[len(url.rstrip(".,;:!?)]}*")) :]
    url = url[: len(url) - len(trailing)] if trailing else url
    scheme, _, rest = url.partition("://")
    host = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() != "https" or not _is_public(host):
        return "[link]" + trailing
    return _PRIVATE_QUERY.sub(rf"\g<1>{_MASK}", url) + trailing


def _private_host(match: re.Match[str]) -> str:
    """Public API and documentation names stay: quota metrics and service names are written with them."""
    name = match[0]
    host = name.partition(":")[0].lower()
    if ":" not in name and (_is_public(host) or host.endswith(".googleapis.com") or host == "googleapis.com"):
        # Private front ends are named under the same domain (xyz.sandbox.googleapis.com).
        return name if host.count(".") <= 2 or _is_public(host) else _HOST
    return _HOST
