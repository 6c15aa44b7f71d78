"""What a fault is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from antigravity2api.sandbox.exchange import Exchange

Run = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave."""

    name: str
    about: str
    """One line: what the client sees."""
    run: Run
    once: bool = False
    """Only at the first request of each key; then the model answers normally."""
    early: bool = False
    """Before the request's body has been read (where the model stands in the path)."""


def once(fault: Fault, name: str | None = None) -> Fault:
    """The same fault, but only the first time."""
    return replace(fault, name=name or f"{fault.name}-once", about=f"{fault.about} The first time only.", once=True)
