"""Answers checked against the client's own JSON Schema: arguments of calls, and structured output. Pure.

A check never fetches anything and takes bounded time; a schema that cannot be checked within that judges nothing.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import orjson

from antigravity2api.errors import Fault, Kind, Retry
from antigravity2api.gemini.coercion import coerced
from antigravity2api.gemini.schema import PLACEHOLDER, restore_args
from antigravity2api.gemini.schema_nodes import names
from antigravity2api.gemini.schema_refs import Document
from antigravity2api.gemini.schema_restore import restored, views_of
from antigravity2api.gemini.schema_tame import tamed

_MOST_HELD = 512
_MOST_BYTES = 8 << 20
_PATTERN_SIZE = 1 << 18
_LONGEST_SENTENCE = 400
_LONGEST_QUOTE = 64 << 10


class Verdict(Enum):
    """What became of a call's arguments."""

    FINE = auto()
    """They match the schema, or it cannot tell."""
    COERCED = auto()
    """They match now that types were put right."""
    INVALID = auto()
    """They do not match, and go on as the model wrote them."""


class BadStructure(Fault):
    """An answer that is not what ``response_format`` promised. ``answer`` is the model's text, for asking again."""

    def __init__(self, sentence: str, answer: str, *, prose: bool = False) -> None:
        super().__init__(
            Kind.BAD_ANSWER,
            f"The model's answer does not match the requested format: {sentence}",
            code="structured_output_invalid",
            retry=Retry.REPAIRED,
        )
        self.sentence = sentence
        self.prose = prose
        """Whether it does not even begin like JSON: the model rather says something."""
        self.answer = answer[:_LONGEST_QUOTE]


class Checker:
    """One schema, ready to check values with."""

    __slots__ = ("_deepest", "_is_valid", "_validate", "converted")

    def __init__(self, validator: Any, deepest: int | None, *, converted: bool) -> None:
        self._is_valid: Callable[[Any], bool] = validator.is_valid
        self._validate: Callable[[Any], None] = validator.validate
        self._deepest = deepest
        self.converted = converted
        """Whether the schema has enum members that some surfaces can only be told as strings."""

    def fits(self, value: Any) -> bool | None:
        """Whether a value matches; None where that cannot be said."""
        if self._deepest is not None and _deeper(value, self._deepest):
            return None
        try:
            return self._is_valid(value)
        except (ValueError, TypeError, OverflowError, RecursionError):  # half a surrogate pair, or endless nesting
            return None

    def complaint(self, value: Any) -> str:
        """What is wrong with a value that does not match, in a sentence."""
        try:
            self._validate(value)
        except ValueError as error:
            path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in _path(error))
            words = " ".join(str(getattr(error, "message", error)).split())
            shown = words if len(words) <= _LONGEST_SENTENCE else words[:_LONGEST_SENTENCE] + "…"
            return f"${path}: {shown}"
        return "it does not match the schema"


def _path(error: ValueError) -> list[str | int]:
    path = getattr(error, "instance_path", None)
    return path if isinstance(path, list) else []


def _is_plain(args: dict[str, Any]) -> bool:
    """Whether arguments hold no number that may stand for an integer, and nothing that only we declared."""
    todo: list[Any] = [args]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if PLACEHOLDER in node:
                return False
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
        elif isinstance(node, float):
            return False
    return True


def _deeper(value: Any, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = (
            [
                entry
                for node in level
                for entry in (node.values() if isinstance(node, dict) else node)
                if isinstance(entry, dict | list)
            ]
            if isinstance(value, dict | list)
            else []
        )
        if not level:
            return False
    return True


class Validators:
    """Checkers of late, by the schema itself and by its text: agents send the same tools with every turn."""

    __slots__ = ("_by_identity", "_by_text", "_bytes")

    def __init__(self) -> None:
        self._by_identity: OrderedDict[int, tuple[dict[str, Any], Checker | None]] = OrderedDict()
        self._by_text: OrderedDict[bytes, tuple[Checker | None, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_text)

    def of(self, schema: dict[str, Any]) -> Checker | None:
        """The checker of a schema; None where it cannot be checked against."""
        found = self._by_identity.get(id(schema))
        if found is not None and found[0] is schema:
            return found[1]
        checker = self._of_text(schema)
        self._by_identity[id(schema)] = schema, checker
        if len(self._by_identity) > _MOST_HELD // 2:
            self._by_identity.popitem(last=False)
        return checker

    def _of_text(self, schema: dict[str, Any]) -> Checker | None:
        try:
            text = orjson.dumps(schema)
        except TypeError:  # an integer past 64 bits
            return _made(schema)
        key = hashlib.blake2b(text, digest_size=16).digest()
        known = self._by_text.get(key)
        if known is not None:
            self._by_text.move_to_end(key)
            return known[0]
        checker = _made(schema)
        self._by_text[key] = checker, len(text)
        self._bytes += len(text)
        while len(self._by_text) > _MOST_HELD or self._bytes > _MOST_BYTES:
            self._bytes -= self._by_text.popitem(last=False)[1][1]
        return checker

    def restored(self, args: dict[str, Any], schema: dict[str, Any]) -> Any:
        """As ``restore_args``, but at once where there can be nothing to restore."""
        if "value" not in args and _is_plain(args):
            checker = self.of(schema)
            if checker is not None and not checker.converted:
                return args
        return restore_args(args, schema)

    def settle(self, args: Any, schema: dict[str, Any]) -> tuple[Any, Verdict]:
        """A call's arguments (restored already) as they go to the client, and what became of them."""
        checker = self.of(schema)
        if checker is None or checker.fits(args) is not False:
            return args, Verdict.FINE
        made = coerced(args, schema)
        if made is not args and checker.fits(made):
            return made, Verdict.COERCED
        return args, Verdict.INVALID

    def demands(self, schema: dict[str, Any]) -> bool:
        """Whether a schema asks for an argument in so many words: a call without any is then no call.

        Alternatives do not count: some surfaces cannot be told that one of several arguments is wanted.
        """
        plain = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
        if not any(names(view.get("required")) for view in views_of(plain, Document(plain))):
            return False
        checker = self.of(schema)
        return checker is None or checker.fits({}) is False

    def structured(self, text: str, schema: dict[str, Any] | None) -> str:
        """A JSON answer as the client gets it. Raises ``BadStructure``. Without a schema it must be an object."""
        try:
            value = orjson.loads(text)
        except ValueError as error:
            prose = text.strip() != "" and not text.lstrip().startswith(("{", "["))
            raise BadStructure(f"it is not valid JSON ({error}).", text, prose=prose) from None
        if schema is None:
            if not isinstance(value, dict):
                raise BadStructure("it is not a JSON object.", text)
            return text
        checker = self.of(schema)
        if checker is None or checker.fits(value) is not False:
            return text
        made = restored(value, schema) if checker.converted else value
        if made is not value and checker.fits(made):
            return orjson.dumps(made).decode()
        raise BadStructure(checker.complaint(made), text)


def _made(schema: dict[str, Any]) -> Checker | None:
    import jsonschema_rs  # noqa: PLC0415 - megabytes that only answers with calls or with a schema need

    options = jsonschema_rs.RegexOptions(size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE)

    def build(node: dict[str, Any]) -> Any:
        return jsonschema_rs.Draft202012Validator(node, validate_formats=False, pattern_options=options, offline=True)

    def fits(pattern: str) -> bool:
        try:
            build({"pattern": pattern})
        except ValueError:
            return False
        return True

    tame = tamed(schema, fits)
    if tame is None:
        return None
    try:
        return Checker(build(tame.schema), tame.deepest, converted=tame.converted)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
