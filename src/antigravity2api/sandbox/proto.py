"""Proto-JSON as Google reads it: a body is checked against a message type and comes back with camelCase names.

Every violation is collected, because Google names them all in one answer.
"""

from __future__ import annotations

import base64
import binascii
import functools
import json
import re
from typing import Any

from antigravity2api.sandbox.google import GoogleError, Json, bad_fields
from antigravity2api.sandbox.messages import ENUMS, LENIENT_ENUMS, ONEOFS, PACKAGE, Catalog

MAX_DEPTH = 100
_DURATION = re.compile(r"-?\d{1,12}(\.\d{1,9})?s", re.ASCII)
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_RANGES = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
_TYPE_NAMES = {
    "string": "TYPE_STRING", "bool": "TYPE_BOOL", "int32": "TYPE_INT32", "int64": "TYPE_INT64", "float": "TYPE_FLOAT",
    "bytes": "TYPE_BYTES", "duration": "type.googleapis.com/google.protobuf.Duration",
    "struct": "type.googleapis.com/google.protobuf.Struct",
}  # fmt: skip


@functools.cache
def snake(name: str) -> str:
    """``generationConfig`` as the proto spells it."""
    return re.sub(r"([A-Z])", lambda match: "_" + match[1].lower(), name)


def decode_base64(text: str) -> bytes | None:
    """Bytes of either alphabet, padded or not; None when it is not base64."""
    if not text.isascii():
        return None
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    if len(text) - len(plain) > 2 or len(plain) % 4 == 1:
        return None
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def parse_json(body: bytes) -> Any:
    """The body as a value, or Google's complaint about it."""
    try:
        value = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _malformed("Invalid UTF-8 in JSON payload.") from None
    except json.JSONDecodeError as error:
        near = error.doc[error.pos : error.pos + 40].split("\n")[0]
        raise _malformed(f"{error.msg}.\n{near}\n^") from None
    except RecursionError:
        raise _malformed("Message too deep. Max recursion depth reached.") from None
    if _deeper(value, MAX_DEPTH):
        raise _malformed("Message too deep. Max recursion depth reached.")
    return value


def check(value: Any, message: str, catalog: Catalog, package: str = PACKAGE) -> Json:
    """``value`` as a message of the catalog, names in camelCase; unset (null) fields are gone."""
    checker = _Checker(catalog, package)
    if not isinstance(value, dict):
        raise _malformed('Unknown name "": Root element must be a message.')
    result = checker.message(value, message, "")
    if checker.violations:
        raise bad_fields(checker.violations)
    return result


def _malformed(text: str) -> GoogleError:
    return bad_fields([("", f"Invalid JSON payload received. {text}")])


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
        if not below:
            return False
        level = [item for item in below if isinstance(item, dict | list)]
    return bool(level)


class _Checker:
    def __init__(self, catalog: Catalog, package: str) -> None:
        self._catalog = catalog
        self._package = package
        self.violations: list[tuple[str, str]] = []

    def message(self, value: Json, name: str, path: str) -> Json:
        fields = self._catalog[name]
        known = {**{snake(field): field for field in fields}, **{field: field for field in fields}}
        result: Json = {}
        for key, item in value.items():
            field = known.get(key)
            if field is None:
                self._unknown(key, path, "Cannot find field.")
                continue
            if field in result:
                self._add(path, f"Invalid value at '{path}' (field), field '{snake(field)}' is already set.")
                continue
            if item is None:
                if field == "thoughtSignature":
                    result[field] = ""  # set, though empty: the service finds such a signature corrupted
                continue
            kind = fields[field]
            below = f"{path}.{snake(field)}" if path else snake(field)
            if kind.startswith("*"):
                result[field] = self._repeated(item, kind[1:], below)
            elif isinstance(item, list) and kind != "value":
                self._unknown(key, path, "Proto field is not repeating, cannot start list.")
            else:
                result[field] = self._single(item, kind, below)
        self._check_oneofs(result, name, path)
        return result

    def _check_oneofs(self, result: Json, name: str, path: str) -> None:
        for oneof, members in ONEOFS.get(name, {}).items():
            found = [member for member in result if member in members]
            for extra in found[1:]:
                self._add(
                    path,
                    f"Invalid value at '{path}' (oneof), oneof field '{oneof}' is already set. Cannot set '{extra}'",
                )

    def _repeated(self, value: Any, kind: str, path: str) -> list[Any]:
        if not isinstance(value, list):
            if isinstance(value, dict) and kind in self._catalog:
                value = [value]  # one message where a list belongs is taken as a list of one
            else:
                self._invalid(value, kind, path)
                return []
        return [self._single(item, kind, f"{path}[{index}]") for index, item in enumerate(value)]

    def _single(self, value: Any, kind: str, path: str) -> Any:
        if kind in self._catalog:
            if isinstance(value, dict):
                return self.message(value, kind, path)
            return self._invalid(value, kind, path)
        if kind.startswith("enum:"):
            return self._enum(value, kind[5:], path)
        if kind.startswith("map:"):
            if not isinstance(value, dict):
                return self._invalid(value, kind, path)
            return {
                key: self._single(item, kind[4:], f"{path}[{index}].value")
                for index, (key, item) in enumerate(value.items())
            }
        return self._scalar(value, kind, path)

    def _enum(self, value: Any, name: str, path: str) -> Any:
        words = ENUMS[name]
        if isinstance(value, str):
            word = value.upper() if name in LENIENT_ENUMS else value
            if word in words:
                return word
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(words):
            return words[value]
        return self._invalid(value, "enum:" + name, path)

    def _scalar(self, value: Any, kind: str, path: str) -> Any:
        fine = False
        match kind:
            case "value":
                return value
            case "string":
                fine = isinstance(value, str)
            case "bool":
                fine = isinstance(value, bool)
            case "struct":
                fine = isinstance(value, dict)
            case "duration":
                fine = isinstance(value, str) and _DURATION.fullmatch(value) is not None
            case "float":
                if isinstance(value, str):
                    try:
                        return float(value)
                    except ValueError:
                        return self._invalid(value, kind, path)
                fine = isinstance(value, int | float) and not isinstance(value, bool)
            case "bytes":
                if isinstance(value, str) and decode_base64(value) is None:
                    shown = value[:60]
                    self._add(path, f"Invalid value at '{path}' (TYPE_BYTES), Base64 decoding failed for \"{shown}\"")
                    return ""
                fine = isinstance(value, str)
            case _:
                return self._integer(value, kind, path)
        return value if fine else self._invalid(value, kind, path)

    def _integer(self, value: Any, kind: str, path: str) -> Any:
        low, high = _RANGES[kind]
        number = value
        if (isinstance(value, str) and _INTEGER.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
            return self._invalid(value, kind, path)
        return number

    def _invalid(self, value: Any, kind: str, path: str) -> Any:
        if kind in self._catalog:
            kind = self._package + kind
        elif kind.startswith("enum:"):
            kind = self._package + kind[5:].removeprefix("Vertex.")
        elif kind.startswith("map:"):
            kind = "map"
        shown = json.dumps(value, ensure_ascii=False)
        if len(shown) > 120:
            shown = shown[:120] + "..."
        self._add(path, f"Invalid value at '{path}' ({_TYPE_NAMES.get(kind, kind)}), {shown}")
        return None

    def _unknown(self, name: str, path: str, reason: str) -> None:
        where = f" at '{path}'" if path else ""
        self._add(path, f'Invalid JSON payload received. Unknown name "{name}"{where}: {reason}')

    def _add(self, path: str, text: str) -> None:
        if len(self.violations) < 100:
            self.violations.append((path, text))
