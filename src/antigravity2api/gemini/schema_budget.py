"""What compiling schemas may cost: a request's budget, and what nodes weigh that are written more than once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from antigravity2api.gemini.schema_nodes import json_text

REQUEST_NODES = 20_000
"""Nodes that all schemas of a request may have when they are written, copies included."""
REQUEST_COPIES = 3_000
"""How many of these may be made by unrolling recursions and merging nodes, which no memory can spare."""
SCHEMA_COPIES = 1_500
"""The same for one schema, so that one tool cannot take it all."""
SCHEMA_REUSED = 10_000
"""Nodes of one schema that may stand in it once more: what costs little here still has to be sent."""
_TEXT = 128
"""Characters of text that count as much as a node."""
_ENTRIES = 4
"""Entries of merged nodes that count as much as a node."""
_MAPS = ("properties", "patternProperties")
_LISTS = ("required", "propertyOrdering", "enum")


class Budget:
    """What the schemas of one request may cost together; hand the same one to each compilation.

    Beyond it nothing is refused: what is left of the schemas is loosened, and a note says so.
    """

    __slots__ = ("copies", "nodes", "refusals")

    def __init__(self, nodes: int = REQUEST_NODES, copies: int = REQUEST_COPIES) -> None:
        self.nodes = nodes
        self.copies = copies
        self.refusals = 0

    def take(self, nodes: int, copies: int = 0) -> bool:
        """Take so much from the budget; False, and nothing is taken, when it does not hold that."""
        if nodes > self.nodes or copies > self.copies:
            self.refusals += 1
            return False
        self.nodes -= nodes
        self.copies -= copies
        return True


def weight(node: dict[str, Any]) -> int:
    """What the text of a node weighs, beyond the node itself, each time it is written."""
    size = 0
    for key, value in node.items():
        if isinstance(value, str):
            size += len(value)
        elif key in _MAPS and isinstance(value, dict):
            size += sum(map(len, value))
        elif key in ("enum", "const"):
            size += len(json_text(value))
        elif isinstance(value, list):
            size += sum(len(entry) for entry in value if isinstance(entry, str))
    return size // _TEXT


def merging(parts: Iterable[dict[str, Any]]) -> int:
    """What it costs to merge nodes."""
    entries = text = enums = 0
    for part in parts:
        entries += len(part)
        for key in _MAPS:
            if isinstance(part.get(key), dict):
                entries += len(part[key])
        for key in _LISTS:
            if isinstance(part.get(key), list):
                entries += len(part[key])
        if isinstance(part.get("enum"), list):
            enums += 1
            text += len(json_text(part["enum"]))
    return entries // _ENTRIES + (text // _TEXT if enums > 1 else 0)
