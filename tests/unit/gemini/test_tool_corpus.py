"""Tools of MCP servers and agents as they are written in the field: accepted everywhere, and their calls come back."""

from __future__ import annotations

import json

import pytest

from antigravity2api.gemini.repair_tools import LOOSENED, REDUCED, restaged
from antigravity2api.gemini.schema import compile_parameters, compile_response, restore_args
from antigravity2api.gemini.validation import Validators, Verdict
from fakes.chat_answer import make_call
from fakes.schemas import SURFACES, TARGET_OF, Tool, accept, as_json_schema, corpus, judge

CORPUS = corpus()
every_server = pytest.mark.parametrize("tools", CORPUS.values(), ids=CORPUS)


def test_the_corpus_is_wide() -> None:
    assert len(CORPUS) >= 30
    tools = [tool for tools in CORPUS.values() for tool in tools]
    assert len(tools) >= 90
    text = json.dumps([tool.parameters for tool in tools])
    for keyword in (
        "$ref", "$defs", "definitions", "anyOf", "oneOf", "allOf", "const", "prefixItems", "patternProperties",
        "additionalProperties", "exclusiveMinimum", "multipleOf", "uniqueItems", "format", "pattern", "not", "default",
    ):  # fmt: skip
        assert f'"{keyword}":' in text, keyword


@every_server
@pytest.mark.parametrize("surface", SURFACES)
def test_every_surface_takes_it_with_all_its_arguments(tools: list[Tool], surface: str) -> None:
    target = TARGET_OF[surface]
    for tool in tools:
        compiled = compile_parameters(tool.parameters, target)
        accept(compiled.schema, surface)
        if compiled.schema is not None:
            assert compile_parameters(compiled.schema, target).schema == compiled.schema, tool.name
        wanted = set(tool.parameters.get("properties", ()))
        assert wanted <= set((compiled.schema or {}).get("properties", ())), tool.name
        response = compile_response(tool.parameters, target).schema
        if response is not None and surface != "claude":
            accept(response, surface)


@every_server
@pytest.mark.parametrize("stage", [LOOSENED, REDUCED])
def test_a_refused_one_gets_simpler_and_keeps_its_arguments(tools: list[Tool], stage: str) -> None:
    for tool in tools:
        declaration = {"name": "f", "description": "d", "parametersJsonSchema": tool.parameters}
        call = make_call(request={"contents": [], "tools": [{"functionDeclarations": [declaration]}]})
        made, _ = restaged(call, {"f": stage})
        (simple,) = made.request["tools"][0]["functionDeclarations"]
        assert "parametersJsonSchema" not in simple
        assert made.applied == (f"tool.f:{stage}",)
        for surface in ("gemini openapi", "antigravity"):
            accept(simple.get("parameters"), surface)
        if stage == REDUCED:
            assert "JSON Schema" in simple["description"]
            kinds = {node["type"] for node in simple.get("parameters", {}).get("properties", {}).values()}
            assert kinds <= {"STRING", "NUMBER", "INTEGER", "BOOLEAN"}


@every_server
def test_right_arguments_pass_untouched(tools: list[Tool]) -> None:
    validators = Validators()
    for tool in tools:
        sent = compile_parameters(tool.parameters, TARGET_OF["gemini json"]).schema
        for args in tool.samples:
            assert judge(tool.parameters).is_valid(args), "the sample itself"
            assert sent is None or judge(sent).is_valid(args), "the schema that goes up forbids it"
            restored = restore_args(args, tool.parameters)
            assert json.dumps(restored) == json.dumps(args)
            assert validators.settle(restored, tool.parameters) == (restored, Verdict.FINE)
            checker = validators.of(tool.parameters)
            assert checker is not None
            assert checker.fits(args)


@every_server
def test_wrong_arguments_are_found(tools: list[Tool]) -> None:
    validators = Validators()
    for tool in tools:
        for args in tool.wrong:
            assert not judge(tool.parameters).is_valid(args), "the sample itself"
            checker = validators.of(tool.parameters)
            assert checker is not None
            assert checker.fits(args) is False
            assert checker.complaint(args).startswith("$")


@every_server
def test_what_a_model_writes_as_texts_comes_back_typed(tools: list[Tool]) -> None:
    """Every value as text, which is what a reduced tool asks for: put right wherever the schema says so."""
    validators = Validators()
    for tool in tools:
        for args in tool.samples:
            as_texts = {
                name: value if isinstance(value, str | None) else json.dumps(value) for name, value in args.items()
            }
            settled, verdict = validators.settle(restore_args(as_texts, tool.parameters), tool.parameters)
            assert verdict is not Verdict.INVALID, (tool.name, settled)
            assert judge(tool.parameters).is_valid(settled)


def test_a_schema_message_reads_as_json_schema() -> None:
    node = {"type": "OBJECT", "properties": {"a": {"type": "STRING", "nullable": True}}}
    assert judge(as_json_schema(node)).is_valid({"a": None})
