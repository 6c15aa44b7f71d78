"""Steps that the upstreams share while they make a request: compiled schemas, fields left out, checks on secrets. Pure.

A call's request is shared between attempts: everything here returns new objects and leaves the given ones alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import urlsplit

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.call import Call, Credential
from antigravity2api.gemini.schema import Budget, Compiled, SchemaCache, Target
from antigravity2api.upstreams.base import Address

_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}
_MOST_SECRETS = 256
_HEADER_SECRET = re.compile(r"[!-~]{1,8192}").fullmatch
_IMITATION = re.compile(r"\s*(?:antigravity/|gemini-?cli|cloudcode|google-api-)", re.IGNORECASE)


class Notes(list[str]):
    """What a request's form makes us change, for the client; and for the log, schema by schema, what it loosens."""

    __slots__ = ("loosened",)

    def __init__(self) -> None:
        self.loosened: dict[str, tuple[str, ...]] = {}


def chosen_target(call: Call, target: Target | None, default: Target) -> Target:
    """The schema form to send: asked for, learned for this model, or the upstream's own."""
    if target is not None:
        return target
    return Target(call.schema_target) if call.schema_target else default


def without(value: Mapping[str, Any], unwanted: Collection[str], notes: list[str]) -> dict[str, Any]:
    """A copy without some keys; each one that was there is noted."""
    if value.keys().isdisjoint(unwanted):
        return dict(value)
    notes += [key for key in value if key in unwanted]
    return {key: item for key, item in value.items() if key not in unwanted}


def only(value: Mapping[str, Any], wanted: AbstractSet[str], notes: list[str]) -> dict[str, Any]:
    """A copy with some keys only; each other one is noted."""
    if value.keys() <= wanted:
        return dict(value)
    notes += [key for key in value if key not in wanted]
    return {key: item for key, item in value.items() if key in wanted}


def compiled_tools(
    tools: list[dict[str, Any]], target: Target, notes: list[str], cache: SchemaCache | None = None
) -> list[dict[str, Any]]:
    """Function declarations with their parameters in the form that ``target`` names, within one budget for all of
    them. Raises ``Fault``."""
    out = []
    memory = SchemaCache() if cache is None else cache  # an empty one is none the less one
    budget = Budget()
    for tool in tools:
        declarations = tool.get("functionDeclarations")
        if not isinstance(declarations, list):
            out.append(tool)
            continue
        made = []
        for index, each in enumerate(declarations):
            try:
                made.append(_declaration(each, target, notes, memory, budget))
            except Fault as fault:
                fault.param = fault.param or f"tools[{index}].function.parameters"
                raise
        out.append({**tool, "functionDeclarations": made})
    return out


def _declaration(
    declaration: dict[str, Any], target: Target, notes: list[str], cache: SchemaCache, budget: Budget
) -> dict[str, Any]:
    raw = declaration.get("parametersJsonSchema")
    if raw is None:
        if target is not Target.ANTIGRAVITY or declaration.get("parameters") is not None:
            return declaration
        raw = _NO_ARGUMENTS  # refused there without an object of at least one property
    compiled = cache.compile(raw, "parameters", target, budget)
    _tell(compiled, notes, declaration["name"])
    unwanted = (
        {"parametersJsonSchema"} if target is Target.JSON_SCHEMA else {"parametersJsonSchema", "responseJsonSchema"}
    )
    made = {key: value for key, value in declaration.items() if key not in unwanted}
    if compiled.schema is not None:
        made["parametersJsonSchema" if target is Target.JSON_SCHEMA else "parameters"] = compiled.schema
    return made


def compiled_config(
    config: dict[str, Any], target: Target, notes: list[str], cache: SchemaCache | None = None
) -> dict[str, Any]:
    """The generation config with its response schema in the form that ``target`` names. Raises ``Fault``."""
    raw = config.get("responseJsonSchema")
    if raw is None:
        return config
    try:
        compiled = (SchemaCache() if cache is None else cache).compile(raw, "response", target)
    except Fault as fault:
        fault.param = fault.param or "response_format.json_schema.schema"
        raise
    _tell(compiled, notes, "response_format")
    made = {key: value for key, value in config.items() if key != "responseJsonSchema"}
    if compiled.schema is not None:
        made["responseJsonSchema" if target is Target.JSON_SCHEMA else "responseSchema"] = compiled.schema
    return made


def _tell(compiled: Compiled, notes: list[str], whose: str) -> None:
    notes += [f"schema.{note}" for note in compiled.notes]
    if compiled.loosened and isinstance(notes, Notes):
        notes.loosened[whose] = compiled.loosened


def distinct(notes: list[str]) -> tuple[str, ...]:
    """Each note once, in order."""
    return tuple(dict.fromkeys(notes)) if notes else ()


def header_secret(credential: Credential) -> str:
    """The secret, fit for a header. Raises ``Fault`` CREDENTIAL without quoting it."""
    if _HEADER_SECRET(credential.secret):
        return credential.secret
    raise Fault(
        Kind.CREDENTIAL,
        f"The credential {credential.id} is empty or holds characters that no key or token has.",
        retry=Retry.OTHER_CREDENTIAL,
        reason="CREDENTIAL_MALFORMED",
    )


class UsedSecrets:
    """The secrets that went out last, so that an upstream which repeats one in an error cannot show it to a client."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[str, None] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def add(self, *secrets: str) -> None:
        """Remember them; the oldest of many is forgotten."""
        for secret in secrets:
            if secret not in self._held:
                self._held[secret] = None
                if len(self._held) > _MOST_SECRETS:
                    del self._held[next(iter(self._held))]


def honest_agent(text: str) -> str:
    """A User-Agent that is ours. Raises ``ValueError`` for one that claims to be another client."""
    if _IMITATION.match(text) or not text.isascii() or not text.isprintable() or not text.strip():
        raise ValueError("the user agent must name this gateway, in printable ASCII, and not another client")
    return text.strip()


def private_hosts(address: Address) -> tuple[str, ...]:
    """Host names that no client shall read in an error: the upstream's own, unless it is Google's public one."""
    return () if address.host.endswith(".googleapis.com") else (address.host,)


def address_of(url: str) -> Address:
    """The address behind a base URL. Raises ``ValueError`` when it is none."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a base URL must look like https://host or http://host:port/path")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("a base URL must not have a user, a query or a fragment")
    tls = parts.scheme == "https"
    return Address(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"))
