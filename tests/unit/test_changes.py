"""Every short note has a sentence."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import antigravity2api
from antigravity2api.changes import explained, loosened
from antigravity2api.gemini.repair_tools import STAGES
from antigravity2api.gemini.schema import Target


@pytest.mark.parametrize(
    ("note", "words"),
    [
        ("model:gemini-x", "has the model as gemini-x"),
        ("max_tokens:clamped 65536", "max_tokens was more than the model takes; 65536 was sent"),
        ("frequency_penalty:dropped", "frequency_penalty is refused by this model"),
        ("user:ignored", "user has no counterpart"),
        ("google.thinking_config:unknown keys ignored", "google.thinking_config has keys"),
        ("messages[3].content[0]:thoughts are not sent back", "messages[3].content[0]"),
        ("schema:OPENAPI", "sent as OPENAPI"),
        ("schema.format", "format in a schema"),
        ("tools[0]:dropped", "tools[0] is refused"),
        ("topK", "topK is not known to the upstream"),
        ("coerced:f", "arguments of f had the wrong JSON type"),
        ("signatures:escaped", "escape value"),
        ("tool.get_weather:loosened", "schema of tool get_weather; it was sent in a looser form"),
        ("tool.get_weather:reduced", "went into the description"),
        ("tool.get_weather:dropped", "tool get_weather in every form"),
        ("response_format:described", "an instruction asked for it"),
        ("response_format:asked again", "did not fit the schema"),
        ("thinkingConfig:off without the signed thought of these calls", "signed thought"),
        ("thinkingLevel:HIGH", "highest thinking level"),
        ("continued:3", "in 3 pieces"),
    ],
)
def test_a_note_in_words(note, words):
    assert words in explained(note)


def test_a_loosened_schema_in_words():
    assert "does not take oneOf, the deepest parts of get_weather" in loosened("get_weather", ("oneOf", "size"))


def test_what_is_no_note_stays():
    assert explained("some thing: else") == "some thing: else"


# -- every note that the code can make ---------------------------------------------------------------------------------

SOURCE = Path(antigravity2api.__file__).parent
LISTS = {"applied", "_applied", "notes", "said"}
"""What lists of notes are called."""
NOT_NOTES = {"cli", "sandbox", "store", "importing.py", "changes.py"}
"""Where such a name holds something else."""


def literals(node: ast.expr, constants: dict[str, str]) -> Iterator[str]:
    """The texts that an expression can be, each open place filled with a word."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(
                next(literals(piece.value if isinstance(piece, ast.FormattedValue) else piece, constants), "word")
                for piece in node.values
            )
        case ast.IfExp():
            yield from literals(node.body, constants)
            yield from literals(node.orelse, constants)
        case ast.BinOp():
            yield from literals(node.left, constants)
        case ast.Tuple() | ast.List():
            for entry in node.elts:
                yield from literals(entry, constants)
        case ast.Starred():
            yield from literals(node.value, constants)
        case ast.GeneratorExp() | ast.ListComp():
            yield from literals(node.elt, constants)
        case ast.Name(id=name) if name in constants:
            yield constants[name]
        case ast.Call(func=ast.Attribute(attr="join"), args=[inner]):
            yield from literals(inner, constants)


def places(node: ast.AST) -> list[ast.expr]:
    """What stands where a note is made: put into a list of notes, given along with a repaired request, or given a name
    that says so."""
    match node:
        case ast.Call(func=ast.Attribute(value=holder, attr="append" | "extend"), args=[note]) if is_list(holder):
            return [note]
        case ast.AugAssign(target=holder, value=note) if is_list(holder):
            return [note]
        case ast.Call(func=ast.Attribute(attr="with_request"), args=[_, *notes]):
            return notes
        case ast.Call(func=ast.Name(id="_with" | "Repair"), args=[_, note, *_]):
            return [note]
        case ast.Call(func=ast.Name(id="_configured"), args=[_, _, *notes]):
            return notes
        case ast.Call(func=ast.Name(id="Returned"), args=[*_, note]):
            return [note]
        case ast.Assign(targets=[ast.Name(id="note" | "notes")], value=note):
            return [note]
        case ast.FunctionDef(name="notes" | "_checked_text"):
            return [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
    return []


def is_list(holder: ast.expr) -> bool:
    return ast.unparse(holder).rpartition(".")[2] in LISTS


@cache
def notes_of_the_source() -> frozenset[str]:
    files = [path for path in SOURCE.rglob("*.py") if NOT_NOTES.isdisjoint(path.relative_to(SOURCE).parts)]
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    constants = {
        target.id: node.value.value
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return frozenset(
        note
        for tree in trees
        for node in ast.walk(tree)
        for place in places(node)
        for note in literals(place, constants)
    )


def test_notes_are_found_in_the_source() -> None:
    """A few of each way to make one, so that a new way is not overlooked."""
    assert {
        "tools:dropped", "schema.word", "schema:word", "tool.word:word", "signatures:escaped", "word:default dropped",
        "thinking:off", "hosted tools:dropped", "response_format:asked again", "response_format:described",
        "model:word", "thinkingLevel:HIGH", "continued:word",
        "thought_signature:escape value", "unsigned thoughts",
    } <= notes_of_the_source()  # fmt: skip


@pytest.mark.parametrize("note", sorted(notes_of_the_source()))
def test_each_note_that_the_code_can_make_has_its_sentence(note: str) -> None:
    """``word`` stands for what is filled in; where that is a verb, every verb is asked for below."""
    stands_for = {"tool.word:word": "tool.word:loosened", "word:word": "coerced:word"}
    sentence = explained(stands_for.get(note, note))
    assert sentence != note
    assert " " in sentence
    if ":" in note:
        assert not sentence.endswith("is not known to the upstream; it was left out")


@pytest.mark.parametrize("stage", STAGES)
def test_each_stage_of_a_refused_tool_has_a_sentence_of_its_own(stage: str) -> None:
    assert "tool get_weather" in explained(f"tool.get_weather:{stage}")


@pytest.mark.parametrize("target", [Target.OPENAPI, Target.ANTIGRAVITY])
def test_each_schema_form_has_a_name_that_people_know(target: Target) -> None:
    assert target.value not in explained(f"schema:{target.value}")
