"""References inside one JSON Schema: pointers, anchors and ids, and which definitions contain themselves. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_DATA = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose value is data: nothing inside it is a schema."""
_HOMES = ("$defs", "definitions")
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Document:
    """One raw schema with its definitions. Nodes are told apart by identity: every spelling of a pointer is one."""

    __slots__ = ("_core", "_found", "_named", "definitions", "root")

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.definitions = _definitions(root)
        """Identity of each node under ``$defs`` or ``definitions`` of the root, and its name, unique."""
        self._found: dict[str, dict[str, Any] | bool | None] = {}
        self._named: dict[str, dict[str, Any]] | None = None
        self._core: frozenset[int] | None = None

    def resolve(self, ref: str) -> dict[str, Any] | bool | None:
        """What a reference points to; None for another document or nothing."""
        if ref not in self._found:
            self._found[ref] = self._look_up(ref)
        return self._found[ref]

    def recursive(self, owner: int, target: int) -> bool:
        """Whether the reference from definition ``owner`` to ``target`` may be part of a cycle."""
        if self._core is None:
            self._core = self._cyclic_core()
        return owner in self._core and target in self._core

    def _look_up(self, ref: str) -> dict[str, Any] | bool | None:
        base, _, fragment = ref.partition("#")
        start: Any = self.root
        if base and base != str(self.root.get("$id") or self.root.get("id")).rstrip("#"):
            start = self._names().get(base) or _step(_step(self.root, "$defs"), base) or _definition(self.root, base)
        if not isinstance(start, dict) or not fragment:
            return start if isinstance(start, dict | bool) else None
        if not fragment.startswith("/"):
            return self._names().get("#" + fragment)
        found = _point(start, unquote(fragment))
        return _point(start, fragment) if found is None else found

    def _names(self) -> dict[str, dict[str, Any]]:
        """Nodes by ``$id`` and ``#anchor``."""
        if self._named is None:
            self._named = {}
            for node in _containers(self.root):
                for key in ("$id", "id"):
                    if isinstance(node.get(key), str):
                        self._named.setdefault(node[key].rstrip("#"), node)
                for key in ("$anchor", "$dynamicAnchor"):
                    if isinstance(node.get(key), str):
                        self._named.setdefault("#" + node[key], node)
        return self._named

    def _cyclic_core(self) -> frozenset[int]:
        """What is left of the graph of references when everything that no cycle passes through is peeled away."""
        edges: dict[int, set[int]] = {}
        todo: list[dict[str, Any]] = [self.root]
        while todo:
            node = todo.pop()
            if id(node) in edges:
                continue
            targets = [target for ref in _refs(node) if isinstance(target := self.resolve(ref), dict)]
            edges[id(node)] = {id(target) for target in targets}
            todo.extend(targets)
        edges = _peeled(edges)
        return frozenset(_peeled(_reversed(edges)))


def _definitions(root: dict[str, Any]) -> dict[int, str]:
    names: dict[int, str] = {}
    taken: set[str] = set()
    for home in _HOMES:
        entries = root.get(home)
        if not isinstance(entries, dict):
            continue
        for name, node in entries.items():
            if isinstance(node, dict):
                unique, count = name, 2
                while unique in taken:
                    unique, count = f"{name}_{count}", count + 1
                taken.add(unique)
                names.setdefault(id(node), unique)
    return names


def _definition(root: dict[str, Any], name: str) -> Any:
    return _step(_step(root, "definitions"), name)


def _point(start: Any, pointer: str) -> dict[str, Any] | bool | None:
    node = start
    for step in pointer[1:].split("/"):
        token = step.replace("~1", "/").replace("~0", "~")
        below = _step(node, token)
        if below is None and token in _HOMES:
            below = _step(node, _HOMES[1 - _HOMES.index(token)])
        node = below
    return node if isinstance(node, dict | bool) else None


def _step(node: Any, token: str) -> Any:
    if isinstance(node, dict):
        return node.get(token)
    if isinstance(node, list) and token.isascii() and token.isdigit() and len(token) < 7 and int(token) < len(node):
        return node[int(token)]
    return None


def _containers(root: dict[str, Any], skip: frozenset[str] = _DATA) -> Iterator[dict[str, Any]]:
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(value for key, value in node.items() if key not in skip and isinstance(value, dict | list))
        else:
            todo.extend(value for value in node if isinstance(value, dict | list))


def _refs(node: dict[str, Any]) -> Iterator[str]:
    for part in _containers(node, _DATA.union(_HOMES)):
        for key in REFERENCES:
            if isinstance(part.get(key), str):
                yield part[key]


def _peeled(edges: dict[int, set[int]]) -> dict[int, set[int]]:
    """The graph without the nodes that lead nowhere, again and again."""
    incoming = _reversed(edges)
    left = {node: len(targets) for node, targets in edges.items()}
    idle = [node for node, count in left.items() if not count]
    gone: set[int] = set()
    while idle:
        node = idle.pop()
        gone.add(node)
        for source in incoming[node]:
            left[source] -= 1
            if not left[source]:
                idle.append(source)
    return {node: targets - gone for node, targets in edges.items() if node not in gone}


def _reversed(edges: dict[int, set[int]]) -> dict[int, set[int]]:
    turned: dict[int, set[int]] = defaultdict(set)
    for node, targets in edges.items():
        turned[node].update(())
        for target in targets:
            turned[target].add(node)
    return turned
