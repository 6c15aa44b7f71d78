"""An agent: it keeps a conversation, runs tools, and treats its history as real clients do."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fakes.client import chat

Message = dict[str, Any]
Habit = Callable[[list[Message]], list[Message]]
"""What a client makes of its history before it sends it."""

CLAUDE = {"model": "claude-sonnet-4-6", "fields": {"reasoning_effort": "medium"}}
FLASH = {"model": "gemini-3.8-flash", "fields": {}}
WRAPPED = {"model": "gemini-3.7-flash-high", "fields": {}}
ARGON = {"model": "gemini-4-argon", "fields": {}}
"""Models of two families on two upstreams each."""

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": description,
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }
    for name, description, properties in (
        ("get_weather", "Weather of a place", {"location": {"type": "string"}}),
        ("get_time", "Local time of a place", {"location": {"type": "string"}}),
        ("add", "Add two numbers", {"a": {"type": "number"}, "b": {"type": "number"}}),
    )
]

CITIES = ("Paris", "London", "Oslo", "Rome", "Lima", "Cairo", "Delhi", "Quito", "Hanoi", "Tunis")


def questions() -> Iterator[str]:
    """What the user asks, without end: parallel calls, one call after another, numbers, words alone.

    No two conversations are the same: nobody finds in one what was remembered of another.
    """
    tag = secrets.token_hex(4)
    for number in range(10_000):
        one, two = CITIES[number % 10], CITIES[(number + 3) % 10]
        yield f"Weather in {one} and {two}? (day {number} of {tag})"
        yield f"What is the weather in {two}, and then the time there? Day {number}."
        yield f"Add {number} and {number + 0.5}"
        yield f"Tell me something about {one} and its winters."


def many_tools(count: int) -> tuple[list[dict[str, Any]], str]:
    """So many tools, and a question that needs one after the other."""
    names = [f"step_{number:02}" for number in range(1, count + 1)]
    properties = {"reason": {"type": "string"}}
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}
        for name in names
    ]
    return tools, f"Case {secrets.token_hex(4)}: " + " then ".join(names)


def run_tool(name: str, arguments: str) -> str:
    """The result of a tool: plain text, a JSON object, or nothing."""
    args = json.loads(arguments)
    if name == "add":
        return json.dumps({"sum": args["a"] + args["b"]})
    return "" if args.get("location") == "Quito" else f"{name} of {args.get('location')}: 18"


@dataclass
class Agent:
    """Asks and answers over one gateway. ``habit`` is applied to the history before every request."""

    habit: Habit = lambda messages: messages
    model: str = "gemini-3.8-flash"
    fields: dict[str, Any] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    asks: Iterator[str] = field(default_factory=questions)
    tools: list[dict[str, Any]] = field(default_factory=lambda: TOOLS)
    turns: int = 0
    notes: list[str] = field(default_factory=list)

    def turn(self, port: int, *, stream: bool = False) -> Message:
        """One request: the next question where nothing is open, else the results of the last calls."""
        if not self.messages or self.messages[-1].get("role") != "tool":
            self.messages.append({"role": "user", "content": next(self.asks)})
        message = self.ask(port, stream=stream)
        self.turns += 1
        self.messages.append(message)
        for call in message.get("tool_calls") or ():
            content = run_tool(call["function"]["name"], call["function"]["arguments"])
            self.messages.append({"role": "tool", "tool_call_id": call["id"], "content": content})
        return message

    def ask(self, port: int, *, stream: bool = False) -> Message:
        """The answer to the conversation as it stands."""
        sent = self.habit(json.loads(json.dumps(self.messages)))
        reply = chat(port, model=self.model, messages=sent, tools=self.tools, stream=stream, **self.fields)
        assert reply.status == 200, (self.turns, reply.body)
        self.notes.append(reply.header("x-antigravity2api-applied") or "")
        message: Message = _joined(reply.chunks) if stream else reply.json["choices"][0]["message"]
        return message


def _joined(chunks: list[Any]) -> Message:
    """The message of a stream, as SDKs add it up."""
    message: Message = {"role": "assistant", "content": ""}
    calls: list[Any] = []
    for chunk in chunks:
        assert "error" not in chunk, chunk
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    calls += [{key: item for key, item in call.items() if key != "index"} for call in value]
                elif name in ("content", "reasoning_content"):
                    message[name] = (message.get(name) or "") + value
                else:
                    message[name] = value
    if calls:
        message["tool_calls"] = calls
        message["content"] = message["content"] or None
    return message


# -- habits ------------------------------------------------------------------------------------------------------------


def keeps_everything(messages: list[Message]) -> list[Message]:
    return messages


def drops_unknown_fields(messages: list[Message]) -> list[Message]:
    """Only what OpenAI documents is kept."""
    made = []
    for message in messages:
        kept = {name: message[name] for name in ("role", "content", "tool_call_id") if name in message}
        if message.get("tool_calls"):
            kept["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {name: call["function"][name] for name in ("name", "arguments")},
                }
                for call in message["tool_calls"]
            ]
        made.append(kept)
    return made


def _with_ids(messages: list[Message], change: Callable[[str], str], *, calls: bool = True) -> list[Message]:
    for message in messages:
        for call in message.get("tool_calls") or () if calls else ():
            call["id"] = change(call["id"])
        if "tool_call_id" in message:
            message["tool_call_id"] = change(message["tool_call_id"])
    return messages


def cuts_ids(length: int, *, both: bool = True) -> Habit:
    """Ids are cut to a length, in calls and results or in results alone."""

    def habit(messages: list[Message]) -> list[Message]:
        return _with_ids(drops_unknown_fields(messages), lambda identity: identity[:length], calls=both)

    return habit


def rewrites_ids(messages: list[Message]) -> list[Message]:
    """Nine characters, as Mistral wants them; the same ones in every message with calls."""
    messages = drops_unknown_fields(messages)
    names: dict[str, str] = {}
    for message in messages:
        for number, call in enumerate(message.get("tool_calls") or ()):
            names[call["id"]] = call["id"] = f"id{number:07}"
        if "tool_call_id" in message:
            message["tool_call_id"] = names[message["tool_call_id"]]
    return messages


def drops_ids(messages: list[Message]) -> list[Message]:
    """No ids at all: results say which tool they are of."""
    messages = drops_unknown_fields(messages)
    names = {call["id"]: call["function"]["name"] for message in messages for call in message.get("tool_calls") or ()}
    for message in messages:
        for call in message.get("tool_calls") or ():
            call.pop("id")
        if "tool_call_id" in message:
            message["name"] = names[message.pop("tool_call_id")]
    return messages


def reorders_results(messages: list[Message]) -> list[Message]:
    """Parallel results come in the order in which the tools were ready."""
    made: list[Message] = []
    run: list[Message] = []
    for message in [*drops_unknown_fields(messages), {"role": ""}]:
        if message["role"] == "tool":
            run.append(message)
            continue
        made += reversed(run)
        run = []
        made.append(message)
    return made[:-1]


def writes_arguments_anew(messages: list[Message]) -> list[Message]:
    """Arguments are read and written by another JSON library: spaces, order, 1 for 1.0, escapes."""
    messages = drops_unknown_fields(messages)
    for message in messages:
        for call in message.get("tool_calls") or ():
            args = json.loads(call["function"]["arguments"], parse_int=float)
            args = dict(reversed(args.items()))
            call["function"]["arguments"] = json.dumps(args, indent=2, ensure_ascii=True)
    return messages


def cuts_messages(messages: list[Message]) -> list[Message]:
    """Each call is a message of its own, followed by its result."""
    made: list[Message] = []
    results = {message["tool_call_id"]: message for message in messages if message["role"] == "tool"}
    for message in drops_unknown_fields(messages):
        if message["role"] == "tool":
            continue
        calls = message.pop("tool_calls", ())
        if message.get("content") or not calls:
            made.append(message)
        for call in calls:
            made.append({"role": "assistant", "content": None, "tool_calls": [call]})
            if call["id"] in results:
                made.append(results[call["id"]])
    return made


def joins_messages(messages: list[Message]) -> list[Message]:
    """Steps that follow each other become one message with all calls, and all results behind it."""
    made: list[Message] = []
    results: list[Message] = []
    for message in [*drops_unknown_fields(messages), {"role": ""}]:
        if message["role"] == "tool":
            results.append(message)
        elif message.get("tool_calls") and results and not message.get("content"):
            made[-1]["tool_calls"] += message["tool_calls"]
        else:
            made += results
            results = []
            made.append(message)
    return made[:-1]


def trims_texts(messages: list[Message]) -> list[Message]:
    """White space around texts is taken off, and texts are sent as lists of parts."""
    messages = drops_unknown_fields(messages)
    for message in messages:
        if message["role"] == "assistant" and message.get("content"):
            text = message["content"].strip()
            half = len(text) // 2
            message["content"] = [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:] + " \n"}]
    return messages


def splits_messages(messages: list[Message]) -> list[Message]:
    """Each call is a message of its own, the last call first; the results come behind all of them."""
    made: list[Message] = []
    for message in drops_unknown_fields(messages):
        calls = message.pop("tool_calls", ())
        if message.get("content") or not calls:
            made.append(message)
        made += ({"role": "assistant", "content": None, "tool_calls": [call]} for call in reversed(calls))
    return made


def new_ids(habit: Habit) -> Habit:
    """Another habit by a client that gives ids of its own."""

    def both(messages: list[Message]) -> list[Message]:
        names = {call["id"]: secrets.token_hex(8) for message in messages for call in message.get("tool_calls") or ()}
        return habit(_with_ids(drops_unknown_fields(messages), names.__getitem__))

    return both


def all_at_once(messages: list[Message]) -> list[Message]:
    """Everything that goes together."""
    chance = random.Random(len(messages))
    messages = writes_arguments_anew(reorders_results(messages))
    return cuts_ids(40)(trims_texts(messages) if chance.random() < 0.5 else messages)


HABITS: dict[str, Habit] = {
    "keeps everything": keeps_everything,
    "drops unknown fields": drops_unknown_fields,
    "cuts ids to 40": cuts_ids(40),
    "cuts ids to 29": cuts_ids(29),
    "cuts ids to 20": cuts_ids(20),
    "cuts the ids of results": cuts_ids(16, both=False),
    "rewrites ids": rewrites_ids,
    "drops ids": drops_ids,
    "reorders parallel results": reorders_results,
    "writes arguments anew": writes_arguments_anew,
    "cuts messages": cuts_messages,
    "joins messages": joins_messages,
    "splits messages": splits_messages,
    "new ids, cuts messages": new_ids(cuts_messages),
    "new ids, joins messages": new_ids(joins_messages),
    "new ids, splits messages": new_ids(splits_messages),
    "trims texts": trims_texts,
    "all at once": all_at_once,
}
