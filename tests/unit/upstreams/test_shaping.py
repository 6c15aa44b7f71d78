"""Steps that the upstreams share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from antigravity2api.gemini.schema import SchemaCache, Target
from antigravity2api.upstreams.shaping import Notes, compiled_config, compiled_tools

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^x"}}}


@pytest.mark.parametrize("target", list(Target))
def test_schemas_are_compiled_once_also_by_a_memory_that_was_empty(target: Target) -> None:
    cache = SchemaCache()
    made = []
    for _ in range(2):  # as two requests would bring it
        tools = json.loads(json.dumps([{"functionDeclarations": [{"name": "f", "parametersJsonSchema": SCHEMA}]}]))
        (tool,) = compiled_tools(tools, target, [], cache)
        made.append(next(value for key, value in tool["functionDeclarations"][0].items() if key != "name"))
    assert len(cache) == 1
    assert made[0] is made[1]


@pytest.mark.parametrize("target", list(Target))
def test_so_are_response_schemas(target: Target) -> None:
    cache = SchemaCache()
    made = [compiled_config({"responseJsonSchema": {**SCHEMA}}, target, [], cache) for _ in range(2)]
    assert len(cache) == 1
    first, second = (next(iter(config.values())) for config in made)
    assert first is second


def test_what_is_loosened_is_told_by_the_name_of_its_tool() -> None:
    notes = Notes()
    plain = {"type": "object", "properties": {"a": {"type": "string"}}}
    declared = [{"name": "f", "parametersJsonSchema": SCHEMA}, {"name": "g", "parametersJsonSchema": plain}]
    compiled_tools([{"functionDeclarations": declared}], Target.JSON_SCHEMA, notes)
    compiled_config({"responseJsonSchema": SCHEMA}, Target.ANTIGRAVITY, notes)
    assert notes == ["schema.pattern"]
    assert notes.loosened == {"f": ("pattern",), "response_format": ("pattern",)}
