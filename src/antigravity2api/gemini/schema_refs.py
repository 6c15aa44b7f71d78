"""References inside one JSON Schema: pointers, anchors and ids, and which definitions contain themselves. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

_DATA = frozenset({"const", "default", "enum", "example", "examples"})
"""Keywords whose value is data: nothing inside it is a schema."""
_MOST_EXPLORED = 50_000
_HOMES = ("$defs", "definitions")
_PASSED_OVER = _DATA.union(_HOMES)
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas"})
"""Keywords whose value holds schemas by name: no name in it is a keyword."""
REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Document:
    """One raw schema with its definitions. Nodes are told apart by identity: every spelling of a pointer is one."""

    __slots__ = ("_core", "_found", "_named", "_settled", "definitions", "root")

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.definitions = _definitions(root)
        """Identity of each node under ``$defs`` or ``definitions`` of the root, and its name, unique."""
        self._found: dict[str, dict[str, Any] | bool | None] = {}
        self._named: dict[str, dict[str, Any]] | None = None
        self._core: frozenset[int] | None = None
        self._settled: frozenset[int] | None = None

    def resolve(self, ref: str) -> dict[str, Any] | bool | None:
        """What a reference points to; None for another document or nothing."""
        if ref not in self._found:
            self._found[ref] = self._look_up(ref)
        return self._found[ref]

    def recursive(self, owner: int, target: int) -> bool:
        """Whether the reference from definition ``owner`` to ``target`` may be part of a cycle."""
        if self._settled is None:
            self._settled = self._explore()
        return self._core is None or (owner in self._core and target in self._core)

    def settled(self, node: dict[str, Any]) -> bool:
        """Whether a node of this document leads to no cycle: it means the same wherever it is reached from."""
        if self._settled is None:
            self._settled = self._explore()
        return id(node) in self._settled

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

    def _explore(self) -> frozenset[int]:
        """Which nodes lead to no cycle; leaves in ``_core`` those that a cycle passes through, or that join cycles.

        In a document that is too large to be explored every node may be part of one.
        """
        edges: dict[int, set[int]] = {}
        todo: list[tuple[dict[str, Any], bool]] = [(self.root, False)]
        seen: set[tuple[int, bool]] = set()
        while todo:
            node, is_map = todo.pop()
            if (id(node), is_map) in seen:
                continue
            seen.add((id(node), is_map))
            if len(seen) > _MOST_EXPLORED:
                return frozenset()
            below = _below(node, is_map=is_map)
            if not is_map:
                refs = (node[key] for key in REFERENCES if isinstance(node.get(key), str))
                below += [(target, False) for ref in refs if isinstance(target := self.resolve(ref), dict)]
            edges.setdefault(id(node), set()).update(id(target) for target, _ in below)
            todo += below
        endless = _peeled(edges)
        self._core = frozenset(_peeled(_reversed(endless)))
        return frozenset(edges.keys() - endless.keys())


def _below(node: dict[str, Any], *, is_map: bool) -> list[tuple[dict[str, Any], bool]]:
    """The objects right below one, through lists too, and whether each is a map of names to schemas."""
    found: list[tuple[dict[str, Any], bool]] = []
    todo: list[Any] = []
    for key, value in node.items():
        if isinstance(value, dict) and (is_map or key not in _PASSED_OVER):
            found.append((value, not is_map and key in _MAPS))
        elif isinstance(value, list) and (is_map or key not in _PASSED_OVER):
            todo.append(value)
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            found.append((value, False))
        else:
            todo.extend(entry for entry in value if isinstance(entry, dict | list))
    return found


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


def _containers(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    todo: list[Any] = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            yield node
            todo.extend(value for key, value in node.items() if key not in _DATA and isinstance(value, dict | list))
        else:
            todo.extend(value for value in node if isinstance(value, dict | list))


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
