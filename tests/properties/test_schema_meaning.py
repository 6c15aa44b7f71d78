"""What a compiled schema means: the strict sandbox takes it, and what fits it fits the client's schema as well, but
for what the report says was loosened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from antigravity2api.gemini.schema import Target, compile_parameters, compile_response, restore_args
from antigravity2api.gemini.validation import Validators, Verdict
from fakes.odd_schemas import schemas
from fakes.schemas import SURFACES, TARGET_OF, accept, as_json_schema, judge, values

every_surface = pytest.mark.parametrize("surface", SURFACES)


@every_surface
@settings(max_examples=30, deadline=None)
@given(schema=schemas())
def test_the_sandbox_takes_it(surface: str, schema: dict[str, Any]) -> None:
    accept(compile_parameters(schema, TARGET_OF[surface]).schema, surface)
    response = compile_response(schema, TARGET_OF[surface]).schema
    if response is not None and surface != "claude":
        assert compile_response(response, TARGET_OF[surface]).schema == response


# -- meaning

plain = st.sampled_from([1, 2.5, "a", "b", True, None])
leaves = st.one_of(
    st.sampled_from([
        {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "null"}, {"type": ["string", "null"]},
        {"type": "number", "minimum": 1, "maximum": 5}, {"type": "integer", "exclusiveMinimum": 2, "maximum": 6},
        {"type": "number", "exclusiveMaximum": 3}, {"type": "integer", "multipleOf": 2},
        {"type": ["integer", "string"]},
        {"type": "string", "minLength": 2}, {"type": "string", "pattern": "^a+$"}, {"type": "string", "format": "date"},
        {"const": "a"}, {"const": 5}, {"enum": [1, 2, 3]}, {"enum": ["a", "b", None]}, {"enum": [True]},
        {"type": "object"}, {"type": "object", "additionalProperties": {"type": "integer"}}, {},
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2, "uniqueItems": True},
        {"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}, {"$ref": "#/$defs/x"},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": False},
    ]),
    st.lists(plain, min_size=1, max_size=3).map(lambda members: {"enum": members}),
)  # fmt: skip


def _objects(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": sorted(required & properties.keys()),
            **({"additionalProperties": False} if closed else {}),
        },
        st.dictionaries(st.sampled_from(["a", "b", "type", "items"]), below, min_size=1, max_size=3),
        st.sets(st.sampled_from(["a", "b", "type"])),
        st.booleans(),
    )


nested = st.recursive(
    leaves,
    lambda below: st.one_of(
        _objects(below),
        st.builds(lambda items: {"type": "array", "items": items}, below),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(below, min_size=1, max_size=3)),
        st.builds(lambda branches: {"oneOf": branches}, st.lists(below, min_size=2, max_size=3)),
        st.builds(lambda branches: {"allOf": branches}, st.lists(below, min_size=1, max_size=2)),
    ),
    max_leaves=6,
)
meaningful = st.builds(lambda root, one: {**root, "$defs": {"x": one}}, _objects(nested), _objects(leaves))


@pytest.mark.parametrize("target", list(Target))
@settings(max_examples=80, deadline=None)
@given(schema=meaningful, data=st.data())
def test_what_fits_the_output_fits_the_input(target: Target, schema: dict[str, Any], data: st.DataObject) -> None:
    compiled = compile_parameters(schema, target)
    assume(compiled.schema is not None)
    assert compiled.schema is not None
    sent = compiled.schema if target is Target.JSON_SCHEMA else as_json_schema(compiled.schema)
    args = data.draw(values(sent))
    assume(judge(sent).is_valid(args))
    restored = restore_args(args, schema, compiled)
    if compiled.loosened:
        Validators().settle(restored, schema)
        return
    assert judge(_with_tuples(schema)).is_valid(restored), json.dumps([schema, sent, args, restored])


def _with_tuples(node: Any) -> Any:
    """Draft 7's tuples in the words of 2020-12, which the judge reads."""
    if isinstance(node, list):
        return [_with_tuples(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    out = {key: _with_tuples(value) for key, value in node.items()}
    if isinstance(out.get("items"), list):
        out["prefixItems"] = out.pop("items")
    return out


@settings(max_examples=50, deadline=None)
@given(schema=meaningful, data=st.data())
def test_what_fits_the_input_passes_untouched(schema: dict[str, Any], data: st.DataObject) -> None:
    compiled = compile_parameters(schema, Target.JSON_SCHEMA)
    assert compiled.schema is not None
    args = data.draw(values(compiled.schema))
    assume(judge(_with_tuples(schema)).is_valid(args))
    restored = restore_args(args, schema, compiled)
    assert Validators().settle(restored, schema) == (restored, Verdict.FINE)


@settings(max_examples=50, deadline=None)
@given(schema=schemas(), data=st.data())
def test_a_settled_value_fits_or_is_the_models_own(schema: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the schema: nothing raises, and only what then fits was changed."""
    validators = Validators()
    wanted = compile_parameters(schema, Target.JSON_SCHEMA).schema
    args = data.draw(values(wanted if wanted is not None else True))
    args = args if isinstance(args, dict) else {"a": args}
    mangled = {name: json.dumps(value) if not isinstance(value, str) else value for name, value in args.items()}
    for given_args in (args, mangled):
        settled, verdict = validators.settle(given_args, schema)
        checker = validators.of(schema)
        if verdict is Verdict.COERCED:
            assert checker is not None
            assert checker.fits(settled)
            assert settled != given_args
        else:
            assert settled is given_args


@settings(max_examples=100, deadline=None)
@given(schema=st.one_of(schemas(), meaningful), data=st.data())
def test_the_short_way_restores_as_the_long_one(schema: dict[str, Any], data: st.DataObject) -> None:
    wanted = compile_parameters(schema, Target.JSON_SCHEMA).schema
    args = data.draw(st.one_of(values(wanted if wanted is not None else True), values(True)))
    args = args if isinstance(args, dict) else {"a": args}
    for given_args in (args, {**args, "_placeholder": True}, {"a": {"a": [1.0, "1"], "_placeholder": True}}):
        assert Validators().restored(given_args, schema) == restore_args(given_args, schema)
