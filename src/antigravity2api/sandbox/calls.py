"""Which declared functions a question asks for, and with which arguments."""

from __future__ import annotations

from typing import Any

from antigravity2api.sandbox.config import declared
from antigravity2api.sandbox.contents import calls_of, results_of, turn_start
from antigravity2api.sandbox.fit import Fitter
from antigravity2api.sandbox.google import Json
from antigravity2api.sandbox.question import Question, words

MOST_CALLS = 8
_ENOUGH = 2


def wanted_calls(request: Json, question: Question) -> list[Json]:
    """The calls of this step as ``{"name", "args"}``, in order; empty when the model should answer in words."""
    choice: Json = (request.get("toolConfig") or {}).get("functionCallingConfig") or {}
    mode = choice.get("mode", "AUTO")
    allowed = choice.get("allowedFunctionNames") or []
    functions = [item for item in declared(request) if not allowed or item["name"] in allowed]
    if mode == "NONE" or not functions:
        return []
    chosen = _chosen(functions, question)
    contents = request["contents"]
    if results_of(contents[-1]):
        # A later step of the same turn: go on only where the question orders one thing after another, or where it must.
        done = {
            part["functionCall"]["name"] for content in contents[turn_start(contents) :] for part in calls_of(content)
        }
        rest = [function for function in chosen if function["name"] not in done]
        chosen = rest[:1] if rest and _in_steps(question) else []
    elif _in_steps(question):
        chosen = chosen[:1]
    if not chosen and mode == "ANY":
        chosen = functions[:1]
    calls: list[Json] = []
    for function in chosen:
        calls += _calls(function, question)
    return calls[:MOST_CALLS]


def _in_steps(question: Question) -> bool:
    text = f" {question.text.lower()} "
    return " then " in text or " and after that " in text


def _chosen(functions: list[Json], question: Question) -> list[Json]:
    """The best match, and every other function whose name answers to a word that the better ones left over."""
    rated = []
    for order, function in enumerate(functions):
        name_words = words(function["name"]) & question.words
        said = (
            words(function.get("description", "")) | words(" ".join(_schema(function).get("properties") or ()))
        ) & question.words
        named = function["name"] in question.text
        score = 10 * named + _ENOUGH * len(name_words) + len(said - name_words)
        if score >= _ENOUGH:
            rated.append((-score, order, name_words or said, named, function))
    rated.sort(key=lambda item: item[:2])
    taken: set[str] = set()
    chosen: list[tuple[int, Json]] = []
    for _, order, matched, named, function in rated:
        if not chosen or named or (matched - taken and words(function["name"]) & matched - taken):
            chosen.append((order, function))
            taken |= matched
    return [function for _, function in sorted(chosen, key=lambda item: item[0])]


def _schema(function: Json) -> Json:
    schema = function.get("parameters", function.get("parametersJsonSchema"))
    return schema if isinstance(schema, dict) else {}


def _calls(function: Json, question: Question) -> list[Json]:
    """One call, or one for each thing named when the function takes one at a time."""
    schema = _schema(function)
    if not schema:
        return [{"name": function["name"], "args": {}}]
    focuses: list[str | None] = [None]
    if _takes_one(schema) and len(question.names) > 1:
        focuses = list(question.names)
    calls: list[Json] = []
    for focus in focuses:
        args = Fitter(question, schema, focus).value(schema)
        call = {"name": function["name"], "args": args if isinstance(args, dict) else {}}
        if call not in calls:
            calls.append(call)
    return calls


def _takes_one(schema: Json) -> bool:
    """Whether the function is about a single thing: one required text that no choice or format narrows."""
    properties: Json = schema.get("properties") or {}
    required = [name for name in schema.get("required") or [] if name in properties] or list(properties)[:1]
    texts = [name for name in required if _is_text(properties[name])]
    return len(texts) == 1


def _is_text(schema: Any) -> bool:
    if not isinstance(schema, dict) or "enum" in schema or "format" in schema or "pattern" in schema:
        return False
    return str(schema.get("type", "string")).lower() == "string"
