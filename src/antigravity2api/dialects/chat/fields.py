"""Typed reading of a client's JSON: null counts as absent, nothing is coerced, every refusal names path and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from antigravity2api.errors import Fault, invalid

Body = Mapping[str, Any]


def kind(value: object) -> str:
    """JSON's word for a value, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, int):
        return "an integer"
    if isinstance(value, float):
        return "a decimal"
    if isinstance(value, list):
        return "an array"
    return "an object"


def join(at: str, key: str) -> str:
    """The dotted path of ``key`` inside ``at``."""
    return f"{at}.{key}" if at else key


def wrong_type(path: str, expected: str, value: object) -> Fault:
    """The refusal of a value whose JSON type does not fit."""
    return invalid(
        f"Invalid type for '{path}': expected {expected}, but got {kind(value)} instead.", path, "invalid_type"
    )


def missing(path: str, hint: str = "") -> Fault:
    """The refusal of a request that lacks ``path``."""
    tail = f" {hint}" if hint else ""
    return invalid(f"Missing required parameter: '{path}'.{tail}", path, "missing_required_parameter")


def one_of(path: str, value: object, words: str) -> Fault:
    """The refusal of a word outside its list."""
    shown = value if isinstance(value, str) and len(value) <= 64 else kind(value)
    return invalid(f"Invalid value for '{path}': {shown!r}. Supported values are: {words}.", path, "invalid_value")


def named(fault: Fault) -> Fault:
    """The same fault, its message naming the field; helpers that know no paths by heart only pass them on."""
    if fault.param is None or fault.param in fault.message:
        return fault
    return Fault(fault.kind, f"Invalid '{fault.param}': {fault.message}", param=fault.param, code=fault.code)


def text(body: Body, key: str, at: str = "") -> str | None:
    """A string, or None when absent. ``at`` is the path of ``body``; the key joins it on error only."""
    value = body.get(key)
    if value is None or isinstance(value, str):
        return value
    raise wrong_type(join(at, key), "a string", value)


def boolean(body: Body, key: str, at: str = "") -> bool | None:
    """True or false, or None when absent."""
    value = body.get(key)
    if value is None or isinstance(value, bool):
        return value
    raise wrong_type(join(at, key), "a boolean", value)


def number(body: Body, key: str, low: float, high: float, at: str = "") -> int | float | None:
    """A number between ``low`` and ``high``, as the client wrote it."""
    value = body.get(key)
    if value is None:
        return None
    path = join(at, key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong_type(path, "a number", value)
    if low <= value <= high:
        return value
    raise invalid(f"Invalid '{path}': expected a number between {low:g} and {high:g}, but got {value:g} instead.", path)


def whole(value: object, path: str) -> int:
    """An integer; ``40.0`` is one too, as JSON does not tell them apart."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise wrong_type(path, "an integer", value)


def integer(body: Body, key: str, low: int | None = None, high: int | None = None, at: str = "") -> int | None:
    """An integer within bounds, or None when absent."""
    value = body.get(key)
    if value is None:
        return None
    path = join(at, key)
    found = whole(value, path)
    if low is not None and found < low:
        raise invalid(
            f"Invalid '{path}': integer below minimum value. Expected a value >= {low}, but got {found} instead.",
            path,
            "integer_below_min_value",
        )
    if high is not None and found > high:
        raise invalid(
            f"Invalid '{path}': integer above maximum value. Expected a value <= {high}, but got {found} instead.",
            path,
            "integer_above_max_value",
        )
    return found


def mapping(body: Body, key: str, at: str = "") -> dict[str, Any] | None:
    """An object, or None when absent."""
    value = body.get(key)
    if value is None or isinstance(value, dict):
        return value
    raise wrong_type(join(at, key), "an object", value)


def array(body: Body, key: str, at: str = "") -> list[Any] | None:
    """An array, or None when absent."""
    value = body.get(key)
    if value is None or isinstance(value, list):
        return value
    raise wrong_type(join(at, key), "an array", value)


def item(value: object, path: str) -> dict[str, Any]:
    """An element of an array that has to be an object."""
    if isinstance(value, dict):
        return value
    raise wrong_type(path, "an object", value)


def required_text(body: Body, key: str, at: str = "") -> str:
    """A string that must be there and not be empty."""
    value = text(body, key, at)
    if value:
        return value
    path = join(at, key)
    if value is None:
        raise missing(path)
    raise invalid(f"Invalid '{path}': empty string. Expected a string with at least one character.", path)
