"""A text that matches a regular expression, for schemas with ``pattern``: the shortest reading of each construct."""

from __future__ import annotations

import re
from re import _parser  # type: ignore[attr-defined]
from typing import Any

_LIMIT = 512
_CLASSES = {"CATEGORY_DIGIT": "1", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " ", "CATEGORY_NOT_DIGIT": "a",
            "CATEGORY_NOT_WORD": "-", "CATEGORY_NOT_SPACE": "a"}  # fmt: skip
_ANY = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-./:@"


def example(pattern: str) -> str | None:
    """A text in which ``pattern`` is found, or None when it asks for more than simple constructs."""
    try:
        made = _sequence(_parser.parse(pattern), {})
        return made if made is not None and len(made) <= _LIMIT and re.search(pattern, made) else None
    except (re.error, RecursionError, OverflowError):
        return None


def _sequence(items: Any, groups: dict[int, str]) -> str | None:
    out: list[str] = []
    for operation, argument in items:
        piece = _piece(str(operation), argument, groups)
        if piece is None or sum(map(len, out)) + len(piece) > _LIMIT:
            return None
        out.append(piece)
    return "".join(out)


def _piece(operation: str, argument: Any, groups: dict[int, str]) -> str | None:
    match operation:
        case "LITERAL":
            return chr(argument)
        case "NOT_LITERAL":
            return "a" if argument != ord("a") else "b"
        case "ANY":
            return "a"
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return ""
        case "IN":
            return _member(argument)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            low, high, inner = argument
            count = max(int(low), 1 if high else 0) if int(low) < _LIMIT else _LIMIT
            piece = _sequence(inner, groups)
            return None if piece is None else piece * count
        case "SUBPATTERN":
            number, _, _, inner = argument
            piece = _sequence(inner, groups)
            if piece is not None and number is not None:
                groups[number] = piece
            return piece
        case "BRANCH":
            return _sequence(argument[1][0], groups)
        case "GROUPREF":
            return groups.get(argument, "")
    return None


def _member(items: Any) -> str | None:
    """A character inside (or, negated, outside) a class."""
    negated = bool(items) and str(items[0][0]) == "NEGATE"
    if negated:
        return next((char for char in _ANY if not any(_holds(item, char) for item in items[1:])), None)
    operation, argument = items[0]
    match str(operation):
        case "LITERAL":
            return chr(argument)
        case "RANGE":
            return chr(argument[0])
        case "CATEGORY":
            return _CLASSES.get(str(argument))
    return None


def _holds(item: Any, char: str) -> bool:
    operation, argument = item
    match str(operation):
        case "LITERAL":
            return bool(ord(char) == argument)
        case "RANGE":
            return bool(argument[0] <= ord(char) <= argument[1])
        case "CATEGORY":
            name = str(argument)
            if name == "CATEGORY_DIGIT":
                return char.isdigit()
            return char.isspace() if name == "CATEGORY_SPACE" else char.isalnum() or char == "_"
    return False
