"""Pools on clocks that stand still until a test moves them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from antigravity2api.credentials import CoolDown, Record, Sort, State
from antigravity2api.errors import Fault
from antigravity2api.pool import Lease, Pool, static_ready

MODEL = "gemini-2.5-flash"
NOW = 1_795_000_000.0
"""A wall clock's time, hours away from any midnight of Google's quota days (18 November 2026, 03:06 Pacific time)."""


class Clock:
    """One that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def record(name: str, **fields: Any) -> Record:
    """A credential with a key of its own."""
    given = {"upstream": "gemini", "sort": Sort.API_KEY, "secret": {"key": f"secret-{name}"}}
    return Record(id=name, **(given | fields))


class Notebook:
    """A ``pool.Memory`` in memory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], CoolDown] = {}

    def rows(self) -> list[CoolDown]:
        return list(self.kept.values())

    def put(self, row: CoolDown) -> None:
        self.kept[row.credential, row.scope] = row


@dataclass(slots=True)
class Bench:
    """A pool and its clocks, and what it told."""

    clock: Clock
    wall: Clock
    pool: Pool
    states: list[tuple[str, State, str, str]] = field(default_factory=list)

    def later(self, seconds: float) -> None:
        """Time goes by."""
        self.clock.now += seconds
        self.wall.now += seconds

    def lease(self, model: str = MODEL, *tried: str, **options: Any) -> Lease:
        """A lease that has to be there."""
        lease = self.pool.pick(model, tried, **options)
        assert lease is not None
        return lease

    def ask(self, fault: Fault | None = None, model: str = MODEL, *tried: str, **options: Any) -> str:
        """One attempt that ends as given; who made it."""
        lease = self.lease(model, *tried, **options)
        lease.release(fault)
        return lease.record.id

    def of(self, name: str, fault: Fault | None, model: str = MODEL) -> None:
        """One attempt with a credential of the test's choice."""
        others = [view.id for view in self.pool.views() if view.id != name]
        assert self.ask(fault, model, *others) == name

    def view(self, name: str) -> Any:
        """How one is now."""
        return next(view for view in self.pool.views() if view.id == name)


def bench(*records: Record | str, **options: Any) -> Bench:
    """A pool of these; a name stands for a plain key. Options are the pool's."""
    clock, wall = Clock(1000.0), Clock(options.pop("now", NOW))
    told: list[tuple[str, State, str, str]] = []
    made = [each if isinstance(each, Record) else record(each) for each in records]
    ready = options.pop("ready", static_ready)
    pool = Pool(made, ready, clock=clock, wall=wall, on_state=lambda *about: told.append(about), **options)
    return Bench(clock, wall, pool, told)
