"""What the drivers of the Python libraries share: the job on stdin, three tools that keep account, the report.

Runs in an environment that has the libraries and nothing of this project.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Job:
    base_url: str
    key: str
    model: str
    effort: str | None
    questions: list[str]


@dataclass
class Toolbox:
    """Plain functions with the signatures that each library reads."""

    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def functions(self) -> list[Callable[..., Any]]:
        def get_weather(location: str) -> str:
            """Weather of a place"""
            self.calls.append(("get_weather", {"location": location}))
            return f"18 C in {location}"

        def get_time(location: str) -> dict[str, str]:
            """Local time of a place"""
            self.calls.append(("get_time", {"location": location}))
            return {"time": "12:00", "location": location}

        def add(a: float, b: float) -> str:
            """Add two numbers"""
            self.calls.append(("add", {"a": a, "b": b}))
            return f"{a + b:g}"

        return [get_weather, get_time, add]


Conversation = Callable[[Job, Toolbox, bool], Awaitable[list[str]]]
"""Asks the job's questions in one conversation, streamed or not, and returns the answers."""


async def report(conversation: Conversation) -> None:
    job = Job(**json.load(sys.stdin))
    made = {}
    for name, stream in (("whole", False), ("streamed", True)):
        toolbox = Toolbox()
        answers = await conversation(job, toolbox, stream)
        made[name] = {"answers": answers, "calls": toolbox.calls}
    json.dump(made, sys.stdout)
