"""Values that fit a schema, filled from the words of a question where they suit: tool arguments and JSON answers.

Both spellings are read: Google's ``Schema`` (upper-case types, ``nullable``) and JSON Schema.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any

from antigravity2api.sandbox.google import Json
from antigravity2api.sandbox.patterns import example
from antigravity2api.sandbox.question import Question, words
from antigravity2api.sandbox.schemas import resolve

_DEEP = 12
_FORMATS = {
    "date": "2026-01-31", "date-time": "2026-01-31T12:00:00Z", "time": "12:00:00Z", "email": "someone@example.com",
    "uri": "https://example.com/", "url": "https://example.com/", "uuid": "00000000-0000-4000-8000-000000000000",
    "hostname": "example.com", "ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "duration": "PT1H", "byte": "c2FuZGJveA==",
}  # fmt: skip
_PLACES = frozenset(
    words("location city place town country region address destination origin where capital state area")
)
_QUERIES = frozenset(words("query question search prompt input request instruction topic keywords"))
_TEXTS = frozenset(words("text content message body answer sentence description summary reason title subject comment"))
_FILES = frozenset(words("path file filename filepath directory folder dir"))
_LINKS = frozenset(words("url uri link website href"))
_SUMS = frozenset(words("expression expr formula equation code calculation"))
_PEOPLE = frozenset(words("name person user author recipient contact customer"))


class Fitter:
    """Makes values for one schema tree. ``focus`` is the one thing a parallel call is about."""

    def __init__(self, question: Question, root: Json, focus: str | None = None) -> None:
        self._question = question
        self._root = root
        self._focus = focus
        self._numbers = list(question.numbers)

    def value(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value that validates against ``schema``; ``name`` is the property it will stand in."""
        if not isinstance(schema, dict):
            return name or "value"
        schema = self._flat(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._choice(schema["enum"])
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer" | "number" as kind:
                return self._number(schema, whole=kind == "integer")
            case "boolean":
                default = schema.get("default")
                return default if isinstance(default, bool) else True
            case "null":
                return None
        return self._text(schema, name)

    def _flat(self, schema: Json) -> Json:
        """References followed, alternatives chosen, ``allOf`` merged."""
        for _ in range(_DEEP):
            if "$ref" in schema:
                found = resolve(schema["$ref"], self._root)
                if found is None:
                    return {}
                schema = found
            elif "allOf" in schema:
                rest = {key: item for key, item in schema.items() if key != "allOf"}
                schema = _merged([rest, *(self._flat(item) for item in schema["allOf"] if isinstance(item, dict))])
            elif "anyOf" in schema or "oneOf" in schema:
                key = "anyOf" if "anyOf" in schema else "oneOf"
                options = [item for item in schema[key] if isinstance(item, dict)]
                chosen = next((item for item in options if _kind(item) != "null"), options[0] if options else {})
                rest = {name: item for name, item in schema.items() if name not in ("anyOf", "oneOf")}
                schema = _merged([rest, self._flat(chosen)])
            else:
                return schema
        return schema

    def _object(self, schema: Json, depth: int) -> Json:
        properties: Json = schema.get("properties") or {}
        required = [name for name in schema.get("required") or [] if isinstance(name, str)]
        result: Json = {}
        for name, below in properties.items():
            if name in required or (depth < _DEEP and self._is_meant(name, below, depth)):
                result[name] = self.value(below, name, depth + 1)
        extra = schema.get("additionalProperties", True)
        for name in required:
            if name not in result and extra is not False:
                result[name] = self.value(extra if isinstance(extra, dict) else {}, name, depth + 1)
        wanted = _whole(schema.get("minProperties"), 0)
        for name, below in properties.items():
            if len(result) >= wanted:
                break
            result.setdefault(name, self.value(below, name, depth + 1))
        while len(result) < wanted and extra is not False:
            result[f"key{len(result) + 1}"] = self.value(extra if isinstance(extra, dict) else {}, "", depth + 1)
        return result

    def _is_meant(self, name: str, schema: Any, depth: int) -> bool:
        """Whether an optional property is worth filling: the question speaks of its choice, or names a place."""
        if not isinstance(schema, dict):
            return False
        schema = self._flat(schema)
        choices = schema.get("enum")
        if isinstance(choices, list):
            return any(isinstance(word, str) and _spoken(word, self._question.text) for word in choices)
        if name in (self._root.get("required") or []):
            return True
        if _kind(schema) == "string" and depth == 0 and words(name) & _PLACES:
            return bool(self._focus or self._question.names)
        return False

    def _array(self, schema: Json, name: str, depth: int) -> list[Any]:
        low = _whole(schema.get("minItems"), 0)
        high = _whole(schema.get("maxItems"), 1_000)
        first = schema.get("prefixItems")
        result = [self.value(item, name, depth + 1) for item in first][:high] if isinstance(first, list) else []
        items = schema.get("items", {})
        if items is False:
            return result
        flat = self._flat(items) if isinstance(items, dict) else {}
        wanted = max(low, min(1 if depth < _DEEP else 0, high))
        if isinstance(flat.get("enum"), list):
            choices = flat["enum"]
            spoken = [word for word in choices if isinstance(word, str) and _spoken(word, self._question.text)]
            pool: list[Any] = [*spoken, *(word for word in choices if word not in spoken)]
            return (result + (pool * (wanted // max(1, len(pool)) + 1))[: max(wanted, min(len(spoken), high))])[:high]
        if _kind(flat) == "string" and len(self._question.names) > 1 and self._focus is None and not result:
            result += [self._fit_length(each, flat) for each in self._question.names[: max(low, min(8, high))]]
        while len(result) < wanted:
            value = self.value(items, name, depth + 1)
            if value in result:
                value = _other(value, len(result), flat)
            result.append(value)
        return result

    def _choice(self, choices: list[Any]) -> Any:
        text = self._question.text
        return next((word for word in choices if isinstance(word, str) and _spoken(word, text)), choices[0])

    def _number(self, schema: Json, *, whole: bool) -> float:
        value: float = self._numbers.pop(0) if self._numbers else _as_number(schema.get("default"), 1)
        low = _as_number(schema.get("minimum"), -math.inf)
        high = _as_number(schema.get("maximum"), math.inf)
        step = _as_number(schema.get("multipleOf"), 0)
        tiny = 1 if whole else 0.5
        for key, sign in (("exclusiveMinimum", 1), ("exclusiveMaximum", -1)):
            bound = schema.get(key)
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                low, high = (max(low, bound + tiny), high) if sign > 0 else (low, min(high, bound - tiny))
        value = min(max(value, low), high)
        if step > 0:
            value = math.floor(value / step) * step
            value = value + step if value < low else value
        if whole:
            value = math.ceil(value) if value < 0 and math.ceil(value) >= low else math.floor(value)
            return int(value if value >= low else math.ceil(low))
        return int(value) if float(value).is_integer() else value

    def _text(self, schema: Json, name: str) -> str:
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            return self._patterned(pattern, schema, name)
        form = schema.get("format")
        if form in _FORMATS:
            return self._formatted(form)
        default = schema.get("default")
        words_of_name = words(name)
        if isinstance(default, str) and not (words_of_name & (_PLACES | _QUERIES | _FILES)):
            return self._fit_length(default, schema)
        return self._fit_length(self._about(words_of_name, name), schema)

    def _formatted(self, form: str) -> str:
        asked = self._question
        found = {"date": asked.dates, "email": asked.emails, "uri": asked.urls, "url": asked.urls}.get(form)
        return found[0] if found else _FORMATS[form]

    def _patterned(self, pattern: str, schema: Json, name: str) -> str:
        candidates = [self._about(words(name), name), *self._question.quoted, *self._question.names]
        candidates += [str(int(number)) for number in self._question.numbers]
        with contextlib.suppress(re.error, RecursionError):
            compiled = re.compile(pattern)
            for candidate in candidates:
                if compiled.search(candidate) and self._fit_length(candidate, schema) == candidate:
                    return candidate
            made = example(pattern)
            if made is not None:
                return made
        return self._fit_length(candidates[0], schema)

    def _about(self, about: frozenset[str], name: str) -> str:
        """What the question offers for a property of this name."""
        asked = self._question
        if about & _LINKS and asked.urls:
            return asked.urls[0]
        if about & _FILES and asked.paths:
            return asked.paths[0]
        if about & _SUMS and asked.sum:
            return asked.sum[0]
        if about & frozenset(words("email mail")) and asked.emails:
            return asked.emails[0]
        if about & frozenset(words("date day")) and asked.dates:
            return asked.dates[0]
        if about & (_QUERIES | _TEXTS) and not about & _PLACES:
            return asked.quoted[0] if asked.quoted else asked.text.strip()[:200] or name
        if self._focus:
            return self._focus
        if asked.quoted:
            return asked.quoted[0]
        if asked.names:
            return asked.names[0]
        if about & _PLACES:
            return asked.place or asked.text.strip()[:80] or "Beijing"
        if about & _PEOPLE:
            return asked.names[0] if asked.names else "Ada"
        return asked.text.strip()[:120] or name or "value"

    def _fit_length(self, text: str, schema: Json) -> str:
        low, high = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), 1_000_000)
        if len(text) < low:
            text = text + "." * (low - len(text))
        return text[:high]


def _kind(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((word for word in kind if word != "null"), "null")
    if isinstance(kind, str):
        return kind.lower()
    if "properties" in schema or "additionalProperties" in schema:
        return "object"
    if "items" in schema or "prefixItems" in schema:
        return "array"
    if "minimum" in schema or "maximum" in schema:
        return "number"
    return "string"


def _merged(schemas: list[Json]) -> Json:
    result: Json = {}
    for schema in schemas:
        for key, item in schema.items():
            if key == "properties" and isinstance(result.get(key), dict):
                result[key] = {**result[key], **item}
            elif key == "required" and isinstance(result.get(key), list):
                result[key] = [*result[key], *(name for name in item if name not in result[key])]
            else:
                result[key] = item
    return result


def _spoken(word: str, text: str) -> bool:
    """Whether the question contains a choice as a word of its own."""
    return bool(word) and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _whole(value: Any, otherwise: int) -> int:
    """A limit that may stand as a number or, in Google's spelling of int64, as a string."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _as_number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _other(value: Any, number: int, schema: Json) -> Any:
    """A further, different element for a list of plain values."""
    if isinstance(value, str) and "pattern" not in schema and schema.get("format") not in _FORMATS:
        made = f"{value} {number + 1}"
        return made if len(made) <= _whole(schema.get("maxLength"), 1_000_000) else value
    if isinstance(value, int | float) and not isinstance(value, bool):
        made_number = value + number * (_as_number(schema.get("multipleOf"), 1) or 1)
        return made_number if made_number <= _as_number(schema.get("maximum"), math.inf) else value
    return value
