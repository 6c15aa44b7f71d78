"""The way back: arguments that a model wrote for a compiled schema, as the client's own schema wants them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antigravity2api.gemini.schema_nodes import kinds, members
from antigravity2api.gemini.schema_refs import REFERENCES, Document

PLACEHOLDER = "_placeholder"
"""The argument that a target gets where it refuses objects without any."""
_MOST_VIEWS = 64
_MAX_DEPTH = 64


def restored(args: Any, schema: Any) -> Any:
    """The arguments with the numbers that ``schema`` asks for and without the placeholder; see ``restore_args``."""
    if not isinstance(schema, dict):
        return _without_placeholder(args, ())
    document = Document(schema)
    return _restored(args, views_of(schema, document), document, 0)


def views_of(raw: Any, document: Document) -> list[dict[str, Any]]:
    """Every node that may speak for one position: the node, what it refers to, and its branches."""
    found: list[dict[str, Any]] = []
    todo = [raw]
    while todo and len(found) < _MOST_VIEWS:
        node = todo.pop()
        if not isinstance(node, dict) or any(node is known for known in found):
            continue
        found.append(node)
        todo.extend(document.resolve(node[key]) for key in REFERENCES if isinstance(node.get(key), str))
        for key in ("allOf", "anyOf", "oneOf"):
            branches = node.get(key)
            if isinstance(branches, list):
                todo.extend(branches[:_MOST_VIEWS])
    return found


def _restored(value: Any, views: list[dict[str, Any]], document: Document, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, float):
        return _whole(value, views)
    if isinstance(value, str):
        return _member(value, views)
    if isinstance(value, dict):
        return _object(value, views, document, depth)
    if isinstance(value, list):
        return _array(value, views, document, depth)
    return value


def _whole(value: float, views: list[dict[str, Any]]) -> float | int:
    if not value.is_integer() or not views:
        return value
    words = {kind for view in views for kind in kinds(view)[0]}
    values = [entry for view in views for entry in members(view) or ()]
    same = [
        entry for entry in values if isinstance(entry, int | float) and not isinstance(entry, bool) and entry == value
    ]
    if same:
        return value if any(isinstance(entry, float) for entry in same) else int(value)
    return int(value) if "integer" in words and "number" not in words else value


def _member(text: str, views: list[dict[str, Any]]) -> Any:
    """The enum member that a text stands for; the text itself where texts are allowed or nothing fits."""
    options: list[Any] = []
    for view in views:
        values = members(view)
        if values is not None:
            options.extend(values)
        elif "string" in kinds(view)[0]:
            return text
    if text in options:
        return text
    for option in options:
        if isinstance(option, bool):
            if text.lower() == ("true" if option else "false"):
                return option
        elif isinstance(option, int | float) and _number(text) == option:
            return option
    return text


def _number(text: str) -> int | float | None:
    if len(text) > 40:
        return None
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _object(value: dict[str, Any], views: list[dict[str, Any]], document: Document, depth: int) -> Any:
    changed: dict[str, Any] = {}
    for name, entry in value.items():
        if isinstance(entry, str | float | dict | list):
            below = property_views(name, views, document)
            new = _restored(entry, below, document, depth + 1)
            if new is not entry:
                changed[name] = new
    if PLACEHOLDER in value:
        value = _without_placeholder(value, views)
        return {name: changed.get(name, entry) for name, entry in value.items()} if changed else value
    return {**value, **changed} if changed else value


def property_views(name: str, views: list[dict[str, Any]], document: Document) -> list[dict[str, Any]]:
    """What speaks for a property of an object that ``views`` speak for."""
    found: list[dict[str, Any]] = []
    for view in views:
        properties = view.get("properties")
        below = properties.get(name) if isinstance(properties, dict) else None
        if below is None:
            below = view.get("additionalProperties")
        if isinstance(below, dict):
            found.extend(views_of(below, document))
    return found[:_MOST_VIEWS]


def _array(value: list[Any], views: list[dict[str, Any]], document: Document, depth: int) -> list[Any]:
    first, rest = item_views(views, document)
    if not rest and not first:
        return value
    out = [_restored(entry, first.get(index, rest), document, depth + 1) for index, entry in enumerate(value)]
    return out if any(new is not old for new, old in zip(out, value, strict=True)) else value


def item_views(
    views: list[dict[str, Any]], document: Document
) -> tuple[dict[int, list[dict[str, Any]]], list[dict[str, Any]]]:
    """What speaks for the entries of a list: those that have a place of their own, and all others."""
    rest: list[dict[str, Any]] = []
    first: dict[int, list[dict[str, Any]]] = {}
    for view in views:
        items, prefix = view.get("items"), view.get("prefixItems")
        if isinstance(items, list):
            prefix, items = items, view.get("additionalItems")
        if isinstance(items, dict):
            rest.extend(views_of(items, document))
        for index, node in enumerate(prefix if isinstance(prefix, list) else ()):
            first.setdefault(index, []).extend(views_of(node, document))
    return first, rest


def _without_placeholder(args: Any, views: Iterable[dict[str, Any]]) -> Any:
    if not isinstance(args, dict) or PLACEHOLDER not in args:
        return args
    for view in views:
        properties = view.get("properties")
        if isinstance(properties, dict) and PLACEHOLDER in properties:
            return args
    return {name: value for name, value in args.items() if name != PLACEHOLDER}
