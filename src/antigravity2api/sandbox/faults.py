"""Faults on demand: the model ``gemini-fault-NAME`` misbehaves as the name says, every time the same way.

This file holds the register; the behaviour stands in ``fault_statuses`` (honest HTTP errors), ``fault_wires`` (broken
connections and framing), ``fault_pieces`` (answers in several pieces) and ``fault_answers`` (well-framed answers that
are odd inside).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from antigravity2api.sandbox.fault import Fault
from antigravity2api.sandbox.fault_answers import ANSWER_FAULTS
from antigravity2api.sandbox.fault_pieces import PIECE_FAULTS
from antigravity2api.sandbox.fault_statuses import STATUS_FAULTS
from antigravity2api.sandbox.fault_wires import WIRE_FAULTS

PREFIX = "gemini-fault-"


def _register() -> Mapping[str, Fault]:
    found: dict[str, Fault] = {}
    for fault in (*WIRE_FAULTS, *STATUS_FAULTS, *ANSWER_FAULTS, *PIECE_FAULTS):
        if fault.name in found:
            raise ValueError(f"two faults are called {fault.name}")
        found[fault.name] = fault
    return MappingProxyType(found)


FAULTS: Mapping[str, Fault] = _register()
"""All faults by name; the model's name is ``gemini-fault-`` and this name."""


def fault_of(model: str) -> Fault | None:
    """The fault that a model's name asks for."""
    return FAULTS.get(model.removeprefix(PREFIX)) if model.startswith(PREFIX) else None
