"""Turns of a conversation while it is read: which result answers which call, and which calls were one answer.

Clients trim histories, cut ids, answer in any order, and cut or join the messages of an assistant. What can be told
apart is put back; what cannot stays visible as text.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from antigravity2api.gemini.signature import Signed, Thoughts, thoughts_of
from antigravity2api.gemini.types import Part

_SHORTEST_PREFIX = 8
"""Characters that two ids must share before one counts as the other's beginning."""
_MOST_COMPARED = 256
"""Calls of one turn among which beginnings of ids are compared."""


@dataclass(slots=True, eq=False)
class Asked:
    """One tool call of the history and, once found, its result."""

    id: str
    client: str
    name: str
    turn: Turn
    part: Part
    known: Signed | None = None
    """What is remembered of the call, where it may go to this model."""
    sent_id: str | None = None
    answer: dict[str, Any] | None = None
    media: list[Part] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Turn:
    """Neighbouring messages of one Gemini role."""

    model: bool
    parts: list[Part]
    calls: list[Asked] = field(default_factory=list)
    thoughts: Thoughts = field(default_factory=list)
    """Signed thoughts that stood before what is said here."""

    @property
    def open(self) -> list[Asked]:
        """The calls without a result so far."""
        return [asked for asked in self.calls if asked.answer is None]


@dataclass(slots=True, eq=False)
class Lost:
    """A result whose id is no call's; it stands as text where it was read until its call is found."""

    name: str | None
    answer: dict[str, Any]
    media: list[Part]
    place: Turn
    shown: list[Part]


class Waiting:
    """Unanswered calls by id and by name, in groups of one turn each; each call is taken once."""

    __slots__ = ("_groups", "_lost", "_seen", "_turn")

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str | None], list[deque[Asked]]] = {}
        self._seen: set[str] = set()
        self._turn: Turn | None = None
        self._lost: list[Lost] = []

    def put(self, asked: Asked) -> None:
        """Make the call findable by its id, by its name, and by neither."""
        if asked.turn is not self._turn:
            self.settle()
            self._turn = asked.turn
        if asked.id:
            self._seen.add(asked.id)
            self._put(("id", asked.id), asked)
        self._put(("name", asked.client), asked)
        self._put(("name", None), asked)

    def _put(self, key: tuple[str, str | None], asked: Asked) -> None:
        groups = self._groups.setdefault(key, [])
        if groups and groups[-1][0].turn is asked.turn:
            groups[-1].append(asked)
        else:
            groups.append(deque((asked,)))

    def by_id(self, identity: str) -> Asked | None:
        """The nearest earlier unanswered call with this id (among equals of one turn, the first), or the one of the
        last turn whose id begins so: clients cut ids on one side, or on both to different lengths."""
        return self._take(("id", identity)) or self._by_beginning(identity)

    def _by_beginning(self, identity: str) -> Asked | None:
        turn = self._turn
        if identity in self._seen or turn is None or len(identity) < _SHORTEST_PREFIX:
            return None
        if len(turn.calls) > _MOST_COMPARED:
            return None
        found = [asked for asked in turn.open if _begins(asked.id, identity)]
        return found[0] if len(found) == 1 else None

    def by_name(self, name: str | None) -> Asked | None:
        """For results without an id: the latest turn's first unanswered call of that name, or of any."""
        return self._take(("name", name))

    def _take(self, key: tuple[str, str | None]) -> Asked | None:
        groups = self._groups.get(key)
        while groups:
            asked = groups[-1].popleft()
            if not groups[-1]:
                groups.pop()
            if asked.answer is None:
                return asked
        return None

    def named_in(self, text: str) -> list[Asked]:
        """The unanswered calls whose ids stand in a text, for clients that tell results in words."""
        turn = self._turn
        if turn is None or not turn.calls or len(turn.calls) > _MOST_COMPARED:
            return []
        return [asked for asked in turn.open if len(asked.id) >= _SHORTEST_PREFIX and asked.id in text]

    def lose(self, identity: str | None, lost: Lost) -> None:
        """Keep a result for which no call was found: it may be the last turn's after all."""
        if self._turn is not None and (identity is None or identity not in self._seen):
            self._lost.append(lost)

    def settle(self) -> None:
        """Nothing more comes for the last turn: results with unknown ids go to its calls where that is no guess.

        That is by name, in order, as for results without ids; or the one that is left to the one call that is left,
        where the others of its turn have theirs or it is a call of ours: else nothing says that they belong together.
        """
        lost, self._lost = self._lost, []
        turn = self._turn
        if not lost or turn is None:
            return
        missing = turn.open
        rest = []
        for each in lost:
            asked = next((asked for asked in missing if asked.client == each.name), None) if each.name else None
            if asked is None or len(missing) > _MOST_COMPARED:
                rest.append(each)
                continue
            missing.remove(asked)
            _give(asked, each)
        if len(rest) == 1 and len(missing) == 1 and (len(turn.calls) > 1 or missing[0].known is not None):
            _give(missing[0], rest[0])


def _begins(one: str, other: str) -> bool:
    return len(one) >= _SHORTEST_PREFIX and (one.startswith(other) or other.startswith(one))


def _give(asked: Asked, lost: Lost) -> None:
    asked.answer, asked.media = lost.answer, lost.media
    shown = {id(part) for part in lost.shown}
    lost.place.parts[:] = [part for part in lost.place.parts if id(part) not in shown]


# -- steps -------------------------------------------------------------------------------------------------------------


def in_steps(turns: list[Turn]) -> list[Turn]:
    """Turns of calls as the answers that they were: what a client joined is parted, what it parted is joined, and the
    calls of one answer stand in their order. Calls of which nothing is known stay where they are."""
    made: list[Turn] = []
    for turn in turns:
        if not turn.calls:
            made.append(turn)
            continue
        for step in _parted(turn):
            last = made[-1] if made else None
            if last is not None and last.calls and len(step.parts) == len(step.calls) and _one_step(last, step):
                last.parts += step.parts
                last.calls += step.calls
            else:
                made.append(step)
    for turn in made:
        if turn.calls:
            _put_in_order(turn)
    return made


def _parted(turn: Turn) -> list[Turn]:
    steps = {asked.known.step for asked in turn.calls if asked.known is not None and asked.known.step}
    if len(steps) < 2:
        return [turn]
    calls = {id(asked.part) for asked in turn.calls}
    first = Turn(True, [part for part in turn.parts if id(part) not in calls], thoughts=turn.thoughts)
    made, now, step = [first], first, ""
    for asked in turn.calls:
        own = asked.known.step if asked.known is not None else ""
        if own and step and own != step:
            now = Turn(True, [])
            made.append(now)
        step = own or step
        now.parts.append(asked.part)
        now.calls.append(asked)
    return made


def _one_step(one: Turn, other: Turn) -> bool:
    steps = {asked.known.step if asked.known is not None else "" for asked in (*one.calls, *other.calls)}
    return len(steps) == 1 and "" not in steps


def _put_in_order(turn: Turn) -> None:
    places = [asked.known.place for asked in turn.calls if asked.known is not None and asked.known.step]
    if len(places) != len(turn.calls) or places == sorted(places) or len(set(places)) != len(places):
        return
    turn.calls.sort(key=lambda asked: asked.known.place if asked.known is not None else 0)
    calls = {id(asked.part) for asked in turn.calls}
    turn.parts = [part for part in turn.parts if id(part) not in calls] + [asked.part for asked in turn.calls]


def with_thoughts(turn: Turn) -> list[Part]:
    """The parts of a turn of the model, its signed thoughts first."""
    found = next((thoughts for asked in turn.calls if asked.known and (thoughts := thoughts_of(asked.known))), None)
    thoughts = found or turn.thoughts
    if not thoughts:
        return turn.parts
    said: list[Part] = [{"text": text, "thought": True, "thoughtSignature": signature} for text, signature in thoughts]
    return said + turn.parts
