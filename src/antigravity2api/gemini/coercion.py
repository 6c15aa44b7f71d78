"""Arguments of the wrong type as the client's schema wants them, where it leaves no doubt. Pure.

Nothing is invented: a value is only written another way (``"5"`` as 5, JSON in a text as what it says, one value as a
list of it), and a null that stands for an absent optional argument goes. Whether the outcome is right is for a check
against the whole schema to say.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from antigravity2api.gemini.schema_nodes import implied, kinds, members, names, sort_of
from antigravity2api.gemini.schema_refs import REFERENCES, Document
from antigravity2api.gemini.schema_restore import item_views, property_views, views_of

_MAX_DEPTH = 64
_LONGEST_JSON = 1 << 20
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?").fullmatch
_UNIONS = ("anyOf", "oneOf", "allOf", *REFERENCES)
_EXACT = 2**53

Views = list[dict[str, Any]]


def coerced(value: Any, schema: dict[str, Any]) -> Any:
    """``value`` with what the schema plainly wants in another type; the very same object where nothing is to do."""
    document = Document(schema)
    return _coerced(value, views_of(schema, document), document, 0)


def _coerced(value: Any, views: Views, document: Document, depth: int) -> Any:
    if depth > _MAX_DEPTH or not views:
        return value
    words = _wanted(views)
    if words and not _is_one_of(value, words):
        value = _converted(value, words)
    if isinstance(value, dict):
        return _object(value, views, document, depth)
    if isinstance(value, list):
        first, rest = item_views(views, document)
        out = [_coerced(entry, first.get(index, rest), document, depth + 1) for index, entry in enumerate(value)]
        return out if any(new is not old for new, old in zip(out, value, strict=True)) else value
    return value


def _wanted(views: Views) -> frozenset[str]:
    """The type words that a position allows; none where it allows anything."""
    found: set[str] = set()
    for view in views:
        words, null = kinds(view)
        values = members(view)
        if values is not None:
            words = ["null" if entry is None else sort_of(entry) for entry in values]
        elif not words:
            kind = implied(view)
            if kind is not None:
                words = [kind]
            elif not any(key in view for key in _UNIONS):
                return frozenset()
        found.update(words)
        if null or view.get("nullable") is True:
            found.add("null")
    return frozenset(found)


def _is_one_of(value: Any, words: frozenset[str]) -> bool:
    if value is None:
        return "null" in words
    sort = sort_of(value)
    return sort in words or (sort == "integer" and "number" in words)


def _converted(value: Any, words: frozenset[str]) -> Any:
    """The value in one of the wanted types, if it says the same there."""
    made: Any = None
    if isinstance(value, str):
        made = _from_text(value, words)
    elif isinstance(value, bool):
        made = ("true" if value else "false") if "string" in words else None
    elif isinstance(value, int | float) and "string" in words:
        whole = isinstance(value, float) and value.is_integer() and abs(value) < _EXACT
        made = str(int(value)) if whole else orjson.dumps(value).decode() if abs(value) < _EXACT else None
    if made is None and "array" in words and value is not None:
        return [value]
    return value if made is None else made


def _from_text(text: str, words: frozenset[str]) -> Any:
    bare = text.strip()
    if words & {"integer", "number"} and _NUMBER(bare):
        number = float(bare)
        if bare.lstrip("-").isdigit():
            return int(bare)
        if "number" in words:
            return number
        return int(number) if number.is_integer() and abs(number) < _EXACT else None
    if "boolean" in words and bare.lower() in ("true", "false"):
        return bare.lower() == "true"
    if words & {"object", "array"} and bare[:1] in ("{", "[") and len(bare) <= _LONGEST_JSON:
        try:
            inner = orjson.loads(bare)
        except ValueError:
            return None
        return inner if sort_of(inner) in words else None
    return None


def _object(value: dict[str, Any], views: Views, document: Document, depth: int) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    dropped: set[str] = set()
    for name, entry in value.items():
        below = property_views(name, views, document)
        if entry is None:
            words = _wanted(below)
            if words and "null" not in words and not any(name in names(view.get("required")) for view in views):
                dropped.add(name)
            continue
        new = _coerced(entry, below, document, depth + 1)
        if new is not entry:
            changed[name] = new
    if not changed and not dropped:
        return value
    return {name: changed.get(name, entry) for name, entry in value.items() if name not in dropped}
