"""The schema compiler, rule by rule, and the way back of arguments."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.schema import (
    PLACEHOLDER,
    Compiled,
    SchemaCache,
    Target,
    compile_parameters,
    compile_response,
    restore_args,
)

A, B, C = Target.JSON_SCHEMA, Target.OPENAPI, Target.ANTIGRAVITY


def prop(node: Any, target: Target = B, **beside: Any) -> Any:
    """A node in the place of a property, compiled."""
    schema = compile_parameters({"type": "object", "properties": {"p": node}, **beside}, target).schema
    assert schema is not None
    return schema["properties"]["p"]


def params(schema: Any, target: Target = B) -> Any:
    return compile_parameters(schema, target).schema


# -- the whole


def test_one_schema_with_everything_in_the_openapi_form() -> None:
    schema = {
        "type": "object",
        "$defs": {
            "n": {
                "type": "object",
                "properties": {"v": {"const": "x"}, "next": {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}]}},
            }
        },
        "properties": {
            "root": {"$ref": "#/$defs/n"},
            "id": {"type": "string", "format": "uuid"},
            "k": {"oneOf": [{"type": "integer"}, {"type": "string"}]},
            "m": {"type": "object", "additionalProperties": {"type": "number"}},
            "t": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
            "e": {"exclusiveMinimum": 0, "type": "integer"},
        },
        "required": ["root", "gone"],
        "additionalProperties": False,
    }
    leaf = {"type": "OBJECT", "nullable": True, "description": "recursive: n"}
    value = {"type": "STRING", "enum": ["x"]}
    once = {"type": "OBJECT", "nullable": True, "properties": {"v": value, "next": leaf}}
    assert params(schema) == {
        "type": "OBJECT",
        "properties": {
            "root": {"type": "OBJECT", "properties": {"v": value, "next": once}},
            "id": {"type": "STRING", "description": "format: uuid"},
            "k": {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]},
            "m": {"type": "OBJECT", "description": "object whose values are NUMBER"},
            "t": {
                "type": "ARRAY",
                "items": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}]},
                "minItems": 2,
                "maxItems": 2,
            },
            "e": {"type": "INTEGER", "minimum": 1},
        },
        "required": ["root"],
    }


def test_plain_json_schema_stays_as_it_is() -> None:
    schema = {
        "type": "object",
        "title": "T",
        "description": "D",
        "properties": {
            "a": {"type": "string", "format": "uri"},
            "b": {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 1},
            "c": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "d": {"type": ["string", "null"], "enum": ["u", "v"]},
        },
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"x": {"type": "object", "properties": {"y": {"type": "number", "maximum": 3}}, "required": ["y"]}},
    }
    compiled = compile_parameters(schema, A)
    assert compiled == Compiled(schema=schema)


@pytest.mark.parametrize("target", [A, B])
@pytest.mark.parametrize(
    "schema",
    [
        None,
        {},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"description": "Takes nothing."},
        {"properties": {}, "required": ["a"]},
        {"type": "object", "properties": {}, "additionalProperties": False},
        {"type": ["object", "null"]},
        {"$ref": "https://example.test/far.json"},
    ],
)
def test_a_function_without_arguments_gets_no_parameters(schema: Any, target: Target) -> None:
    compiled = compile_parameters(schema, target)
    assert compiled.schema is None
    assert not compiled.wrapped


@pytest.mark.parametrize("schema", [None, {}, {"type": "object", "properties": {}}])
def test_where_that_is_refused_it_gets_a_placeholder(schema: Any) -> None:
    compiled = compile_parameters(schema, C)
    assert compiled.placeholder == PLACEHOLDER
    assert compiled.schema is not None
    assert list(compiled.schema["properties"]) == compiled.schema["required"] == [PLACEHOLDER]
    assert restore_args({PLACEHOLDER: True}, schema) == {}


@pytest.mark.parametrize("schema", [[], "object", 7, True, False, 1.5])
def test_parameters_that_are_no_object_are_refused(schema: Any) -> None:
    with pytest.raises(Fault) as caught:
        compile_parameters(schema, A)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.code == "invalid_function_parameters"
    assert caught.value.param is None
    with pytest.raises(Fault) as caught:
        compile_response(schema, B)
    assert caught.value.code == "invalid_json_schema"


@pytest.mark.parametrize("target", list(Target))
def test_too_deep_is_refused(target: Target) -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(70):
        deep = {"type": "array", "items": deep}
    with pytest.raises(Fault) as caught:
        compile_parameters({"type": "object", "properties": {"p": deep}}, target)
    assert caught.value.code == "invalid_function_parameters"
    bottomless: list[Any] = []
    for _ in range(100_000):
        bottomless = [bottomless]
    with pytest.raises(Fault):
        compile_parameters({"type": "object", "default": bottomless}, target)


@pytest.mark.parametrize("target", list(Target))
def test_odd_keyword_values_are_dropped_and_named(target: Target) -> None:
    odd = {
        "type": 5,
        "properties": [],
        "required": True,
        "enum": "x",
        "items": 7,
        "anyOf": {},
        "allOf": "no",
        "minimum": "low",
        "minItems": -1,
        "pattern": 9,
        "format": [],
        "additionalProperties": "yes",
        "description": 3,
        "title": [],
        "$ref": 1,
    }
    compiled = compile_parameters({"type": "object", "properties": {"p": odd, "q": {"type": "string"}}}, target)
    assert compiled.schema is not None
    assert compiled.schema["properties"]["q"]["type"] in ("string", "STRING")
    orjson.dumps(compiled.schema)
    assert {"properties", "required", "enum", "allOf"} <= set(compiled.notes) | (
        {"properties"} if target is C else set()
    )


def test_notes_never_hold_words_of_the_client() -> None:
    compiled = compile_parameters({"type": "object", "properties": {"p": {"x-\r\nset-cookie": 1, "not": {}}}}, B)
    assert set(compiled.notes) == {"other keywords", "not"}


# -- references


def test_every_way_to_point() -> None:
    schema = {
        "$id": "https://example.test/root.json",
        "type": "object",
        "$defs": {
            "plain": {"type": "string"},
            "a/b~c d": {"type": "integer"},
            "named": {"$anchor": "here", "type": "boolean"},
            "other": {"$id": "https://example.test/other.json", "type": "number", "$defs": {"in": {"type": "null"}}},
            "%": {"type": "string", "title": "percent"},
        },
        "definitions": {"old": {"type": "array", "items": {"type": "string"}}},
        "properties": {
            "p1": {"$ref": "#/$defs/plain"},
            "p2": {"$ref": "#/$defs/a~1b~0c%20d"},
            "p3": {"$ref": "#here"},
            "p4": {"$ref": "#/definitions/old"},
            "p5": {"$ref": "https://example.test/root.json#/$defs/plain"},
            "p6": {"$ref": "https://example.test/other.json"},
            "p7": {"$ref": "#/properties/p2"},
            "p8": {"$ref": "https://elsewhere.test/x.json"},
            "p9": {"$ref": "#/$defs/nothing"},
            "p10": {"$ref": "#/$defs/%25"},
            "p11": {"allOf": [{"$ref": "#/definitions/old"}]},
        },
    }
    kinds = {name: node["type"] for name, node in params(schema)["properties"].items()}
    assert kinds == {
        "p1": "STRING",
        "p2": "INTEGER",
        "p3": "BOOLEAN",
        "p4": "ARRAY",
        "p5": "STRING",
        "p6": "NUMBER",
        "p7": "INTEGER",
        "p8": "STRING",
        "p9": "STRING",
        "p10": "STRING",
        "p11": "ARRAY",
    }
    made = params(schema, A)
    assert made["properties"]["p1"] == {"$ref": "#/$defs/plain"}
    assert made["properties"]["p2"] == {"$ref": "#/$defs/a~1b~0c d"}
    assert made["properties"]["p3"] == {"$ref": "#/$defs/named"}
    assert made["properties"]["p4"] == {"$ref": "#/$defs/old"}
    assert made["properties"]["p7"] == {"type": "integer"} or made["properties"]["p7"] == {"$ref": "#/$defs/a~1b~0c d"}
    assert made["properties"]["p8"] == {}
    assert set(made["$defs"]) == {"plain", "a/b~c d", "named", "old", "other", "%"}
    assert "definitions" not in made


def test_siblings_of_a_reference_are_kept() -> None:
    schema = {
        "type": "object",
        "$defs": {"n": {"type": "string", "description": "old", "minLength": 2}},
        "properties": {"p": {"$ref": "#/$defs/n", "description": "new"}, "q": {"$ref": "#/$defs/n", "default": "x"}},
    }
    assert params(schema)["properties"]["p"] == {"type": "STRING", "description": "new", "minLength": 2}
    made = params(schema, A)["properties"]
    assert made == {"p": {"type": "string", "description": "new"}, "q": {"$ref": "#/$defs/n"}}


def test_both_homes_of_definitions_with_one_name() -> None:
    schema = {
        "type": "object",
        "$defs": {"n": {"type": "string"}},
        "definitions": {"n": {"type": "integer"}},
        "properties": {"p": {"$ref": "#/$defs/n"}, "q": {"$ref": "#/definitions/n"}},
    }
    made = params(schema, A)
    assert made["$defs"] == {"n": {"type": "string"}, "n_2": {"type": "integer"}}
    assert made["properties"]["q"] == {"$ref": "#/$defs/n_2"}


def test_recursion_under_json_schema_leaves_required_alone_only_outside_of_cycles() -> None:
    tree = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["name", "children"],
    }
    compiled = compile_parameters(
        {"type": "object", "$defs": {"tree": tree}, "properties": {"t": {"$ref": "#/$defs/tree"}}, "required": ["t"]}, A
    )
    assert compiled.schema is not None
    assert compiled.schema["required"] == ["t"]
    assert compiled.schema["$defs"]["tree"]["required"] == ["name"]
    assert compiled.schema["$defs"]["tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/tree"}
    assert "required" in compiled.notes


def test_a_recursion_without_any_property_is_cut() -> None:
    lists = {"type": "array", "items": {"$ref": "#/$defs/l"}}
    made = params({"type": "object", "$defs": {"l": lists}, "properties": {"p": {"$ref": "#/$defs/l"}}}, A)
    assert made["$defs"]["l"] == {"type": "array", "items": {"type": "array", "description": "recursive: l"}}


def test_the_root_may_refer_to_itself() -> None:
    schema = {"type": "object", "title": "Tree", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    inner = params(schema)["properties"]["kids"]["items"]
    assert inner["properties"]["kids"]["items"] == {"type": "OBJECT", "description": "recursive: Tree"}
    made = params(schema, A)["properties"]["kids"]["items"]
    assert made["properties"]["kids"]["items"] == {"type": "object", "description": "recursive: Tree"}


@pytest.mark.parametrize("target", list(Target))
def test_circles_of_bare_references_end(target: Target) -> None:
    schema = {
        "type": "object",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}, "c": {"allOf": [{"$ref": "#/$defs/c"}]}},
        "properties": {"p": {"$ref": "#/$defs/a"}, "q": {"$ref": "#/$defs/c"}},
    }
    made = params(schema, target)
    assert set(made["properties"]) == {"p", "q"}
    assert orjson.loads(orjson.dumps(made)) == made


@pytest.mark.slow
@pytest.mark.parametrize("target", list(Target))
def test_a_schema_that_would_explode_stays_small(target: Target) -> None:
    bomb = {
        f"d{level}": {
            "type": "object",
            "properties": {name: {"$ref": f"#/$defs/d{level + 1}", "description": "x"} for name in "abcdefgh"},
        }
        for level in range(12)
    }
    bomb["d12"] = {"type": "object", "properties": {name: {"$ref": "#/$defs/d0"} for name in "abcdefgh"}}
    made = params({"type": "object", "$defs": bomb, "properties": {"p": {"$ref": "#/$defs/d0"}}}, target)
    assert len(orjson.dumps(made)) < 5_000_000


@pytest.mark.parametrize("target", list(Target))
def test_a_chain_of_a_thousand_references_ends(target: Target) -> None:
    chain: dict[str, Any] = {f"d{index}": {"$ref": f"#/$defs/d{index + 1}", "title": "x"} for index in range(1000)}
    chain["d1000"] = {"type": "string"}
    orjson.dumps(params({"type": "object", "$defs": chain, "properties": {"p": {"$ref": "#/$defs/d0"}}}, target))


# -- composition


def test_all_of_is_merged() -> None:
    node = {
        "description": "outer",
        "allOf": [
            {
                "type": "object",
                "properties": {"a": {"type": "string", "minLength": 2}},
                "required": ["a"],
                "description": "i",
            },
            {
                "properties": {"a": {"minLength": 3, "maxLength": 9}, "b": {"type": "integer", "minimum": 1}},
                "required": ["b"],
            },
            {"properties": {"b": {"minimum": 5}}},
        ],
    }
    assert prop(node) == {
        "type": "OBJECT",
        "description": "outer",
        "properties": {
            "a": {"type": "STRING", "minLength": 3, "maxLength": 9},
            "b": {"type": "INTEGER", "minimum": 5},
        },
        "required": ["a", "b"],
    }


def test_alternatives_of_both_kinds() -> None:
    node = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": "D"}
    assert prop(node) == {
        "description": "D",
        "anyOf": [{"type": "STRING"}, {"type": "ARRAY", "items": {"type": "STRING"}}],
    }
    assert prop(node, A)["oneOf"] == node["oneOf"]


def test_what_stands_beside_alternatives_moves_inside() -> None:
    node = {
        "type": "object",
        "properties": {"kind": {"type": "string"}},
        "required": ["kind"],
        "anyOf": [
            {"properties": {"a": {"type": "string"}}, "required": ["a"]},
            {"properties": {"b": {"type": "integer"}}},
        ],
    }
    made = prop(node)
    assert made.keys() == {"anyOf"}
    assert [sorted(branch["properties"]) for branch in made["anyOf"]] == [["a", "kind"], ["b", "kind"]]
    assert [branch["required"] for branch in made["anyOf"]] == [["kind", "a"], ["kind"]]


@pytest.mark.parametrize("target", list(Target))
def test_alternatives_that_only_ask_for_properties_are_let_go(target: Target) -> None:
    node = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    compiled = compile_parameters(node, target)
    assert compiled.schema is not None
    assert "anyOf" not in compiled.schema
    assert sorted(compiled.schema["properties"]) == ["a", "b"]
    assert "anyOf" in compiled.notes


@pytest.mark.parametrize(
    "node",
    [
        {"type": ["string", "null"], "format": "uuid", "description": "D"},
        {"anyOf": [{"type": "string", "format": "uuid"}, {"type": "null"}], "description": "D"},
        {"anyOf": [{"type": "string", "format": "uuid", "description": "inner"}, {"const": None}], "description": "D"},
        {"type": "string", "format": "uuid", "nullable": True, "description": "D"},
        {"oneOf": [{"enum": [None]}, {"type": "STRING", "format": "uuid"}], "description": "D"},
    ],
)
def test_null_in_all_its_spellings(node: dict[str, Any]) -> None:
    assert prop(node) == {"type": "STRING", "nullable": True, "description": "D (format: uuid)"}


def test_a_list_of_types_becomes_alternatives() -> None:
    node = {"type": ["string", "integer", "null"], "minLength": 2, "minimum": 3, "description": "D"}
    assert prop(node) == {
        "anyOf": [{"type": "STRING", "minLength": 2}, {"type": "INTEGER", "minimum": 3}],
        "nullable": True,
        "description": "D",
    }


def test_openapi_nullable_becomes_a_type_under_json_schema() -> None:
    assert prop({"type": "string", "nullable": True}, A) == {"type": ["string", "null"]}
    assert prop({"anyOf": [{"type": "string"}], "nullable": True}, A) == {
        "anyOf": [{"type": "string"}, {"type": "null"}]
    }


def test_one_branch_where_only_one_can_be_said() -> None:
    union = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"kind": {"const": "a"}, "x": {"type": "string"}},
                "required": ["kind", "x"],
            },
            {"type": "object", "properties": {"kind": {"const": "b"}, "y": {"type": "string"}}, "required": ["kind"]},
            {"type": "string"},
            {"type": "null"},
        ],
        "description": "D",
    }
    made = prop(union, C)
    assert made["type"] == "OBJECT"
    assert made["nullable"] is True
    assert made["description"] == "D (or string)"
    assert made["required"] == ["kind"]
    assert made["properties"]["kind"] == {"type": "STRING", "enum": ["a", "b"]}
    assert prop({"anyOf": [{"type": "integer"}, {"type": "string"}]}, C) == {
        "type": "STRING",
        "description": "or integer",
    }
    assert prop({"anyOf": [{"type": "integer"}, {"type": "array"}]}, C)["type"] == "ARRAY"


# -- values


def test_enums_of_all_kinds() -> None:
    assert prop({"enum": ["a", "b", "a", ""]}) == {"type": "STRING", "enum": ["a", "b"]}
    assert prop({"type": "integer", "enum": [1, 2]}) == {"type": "STRING", "enum": ["1", "2"], "description": "integer"}
    assert prop({"enum": [0.5, "x", None]}) == {
        "type": "STRING",
        "enum": ["0.5", "x"],
        "nullable": True,
        "description": "number",
    }
    assert prop({"const": True}) == {"type": "STRING", "enum": ["true"], "description": "boolean"}
    assert prop({"enum": [True, False]}) == {"type": "BOOLEAN"}
    assert prop({"enum": []}) == {"type": "STRING", "description": "any JSON value as text"}
    assert prop({"enum": [{"a": 1}, {"a": 2}]}) == {"type": "OBJECT", "description": 'one of {"a":1}, {"a":2}'}
    assert prop({"type": "string", "enum": ["a"], "minLength": 1, "format": "uuid"}) == {
        "type": "STRING",
        "enum": ["a"],
    }


def test_enums_under_json_schema() -> None:
    assert prop({"enum": ["a", "b"]}, A) == {"type": "string", "enum": ["a", "b"]}
    assert prop({"const": 3}, A) == {"type": "integer", "enum": [3]}
    assert prop({"enum": [1, 2.5]}, A) == {"type": "number", "enum": [1, 2.5]}
    assert prop({"enum": ["a", None]}, A) == {"type": ["string", "null"], "enum": ["a"]}
    assert prop({"const": True}, A) == {"type": "boolean"}
    assert prop({"enum": [{"a": 1}]}, A) == {"type": "object"}


def test_missing_types_are_inferred() -> None:
    assert prop({"properties": {"a": {"type": "string"}}})["type"] == "OBJECT"
    assert prop({"items": {"type": "string"}})["type"] == "ARRAY"
    assert prop({"minimum": 2}) == {"type": "NUMBER", "minimum": 2}
    assert prop({"pattern": "^a"}) == {"type": "STRING", "pattern": "^a"}
    for anything in ({}, True, False, None, 7, "whatever", {"description": ""}):
        assert prop(anything) == {"type": "STRING", "description": "any JSON value as text"}
    assert prop({}, A) == {}
    assert prop({"description": "D"}, A) == {"description": "D"}


def test_words_that_people_use_for_types() -> None:
    words = {
        "STRING": "STRING",
        "int": "INTEGER",
        "Float": "NUMBER",
        "bool": "BOOLEAN",
        "dict": "OBJECT",
        "list": "ARRAY",
    }
    assert {word: prop({"type": word})["type"] for word in words} == words
    assert prop("integer") == {"type": "INTEGER"}
    assert prop({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, A)["properties"] == {
        "a": {"type": "string"}
    }


def test_arrays_and_tuples() -> None:
    assert prop({"type": "array"}) == {"type": "ARRAY", "items": {"type": "STRING"}}
    assert prop({"type": "array", "items": {}})["items"] == {"type": "STRING", "description": "any JSON value as text"}
    same = {"type": "array", "items": [{"type": "number"}, {"type": "number"}]}
    assert prop(same) == {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": 2, "maxItems": 2}
    rest = {"type": "array", "prefixItems": [{"type": "number"}], "items": {"type": "string"}, "minItems": 4}
    assert prop(rest) == {"type": "ARRAY", "items": {"anyOf": [{"type": "NUMBER"}, {"type": "STRING"}]}, "minItems": 4}
    assert prop({"type": "array", "items": {"type": "string"}, "uniqueItems": True, "minItems": "3"}) == {
        "type": "ARRAY",
        "description": "items are unique",
        "items": {"type": "STRING"},
        "minItems": 3,
    }
    assert prop(same, A) == {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}
    closed = {"type": "array", "prefixItems": [{"type": "number"}], "items": False}
    assert prop(closed, A) == {"type": "array", "prefixItems": [{"type": "number"}], "maxItems": 1}


def test_maps_are_described() -> None:
    values = {"type": "object", "properties": {"x": {"type": "string"}}}
    assert (
        prop({"type": "object", "additionalProperties": values})["description"]
        == "object whose values are OBJECT with x"
    )
    assert prop({"patternProperties": {"^x": {"type": "integer"}}}) == {
        "type": "OBJECT",
        "description": "object whose values are INTEGER",
    }
    assert "description" not in prop({"type": "object", "additionalProperties": True})
    assert prop({"type": "object", "additionalProperties": values}, A)["additionalProperties"] == values
    mixed = {"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}
    assert prop(mixed, A) == {"type": "object"}, "names that fit the pattern were allowed"


def test_bounds() -> None:
    assert prop({"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 9}) == {
        "type": "INTEGER",
        "minimum": 3,
        "maximum": 8,
    }
    assert prop({"type": "number", "exclusiveMinimum": 2, "minimum": 1}) == {"type": "NUMBER", "minimum": 2}
    assert prop({"type": "integer", "minimum": 2, "exclusiveMinimum": True}) == {"type": "INTEGER", "minimum": 3}
    assert prop({"type": "integer", "exclusiveMinimum": 0.5}) == {"type": "INTEGER", "minimum": 1}
    assert prop({"type": "integer", "multipleOf": 5}) == {"type": "INTEGER", "description": "multiple of 5"}
    assert prop({"type": "integer", "exclusiveMinimum": 0}, A) == {"type": "integer", "minimum": 1}
    for value in (float("nan"), float("inf"), 10**400, "1"):
        assert prop({"type": "number", "minimum": value}) == {"type": "NUMBER"}
    assert prop({"type": "number", "maximum": 2**70})["maximum"] == float(2**70)


def test_formats() -> None:
    assert prop({"type": "string", "format": "date-time"}) == {"type": "STRING", "format": "date-time"}
    assert prop({"type": "integer", "format": "int32"}) == {"type": "INTEGER", "format": "int32"}
    assert prop({"type": "integer", "format": "double"}) == {"type": "INTEGER", "description": "format: double"}
    assert prop({"type": "string", "format": "uri"}, A) == {"type": "string", "format": "uri"}
    assert prop({"type": "string", "format": "date-time"}, C) == {"type": "STRING", "description": "format: date-time"}


def test_the_bare_form_says_constraints_in_words() -> None:
    node = {"type": "string", "title": "T", "minLength": 1, "pattern": "^a+$", "default": "a", "description": "D"}
    assert prop(node, C) == {"type": "STRING", "description": "D (minLength: 1; pattern: ^a+$)"}
    assert prop({"type": "object"}, C)["properties"].keys() == {PLACEHOLDER}


def test_properties_named_like_keywords_are_data() -> None:
    names = ["$ref", "type", "properties", "enum", "const", "anyOf", "required", "default", "items", "pattern", "not"]
    schema = {"type": "object", "properties": {name: {"type": "string"} for name in names}, "required": names}
    for target, word in ((A, "string"), (B, "STRING"), (C, "STRING")):
        made = params(schema, target)
        assert made["properties"] == {name: {"type": word} for name in names}
        assert made["required"] == names


def test_data_is_never_walked() -> None:
    tricky = {"$ref": "#/$defs/x", "type": "wrong", "properties": 7}
    assert prop({"type": "string", "default": tricky, "examples": [tricky]}, A) == {"type": "string"}
    assert prop({"enum": [tricky]})["description"].startswith("one of {")


# -- the top


@pytest.mark.parametrize("target", list(Target))
def test_parameters_that_are_no_object_are_wrapped(target: Target) -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}}
    compiled = compile_parameters(schema, target)
    assert compiled.wrapped
    assert compiled.schema is not None
    assert list(compiled.schema["properties"]) == compiled.schema["required"] == ["value"]
    assert restore_args({"value": [1.0, 2]}, schema) == [1, 2]
    assert restore_args({"value": [1.0]}, schema, compiled) == [1]


@pytest.mark.parametrize("target", list(Target))
def test_objects_behind_a_reference_or_in_alternatives_stand_at_the_top(target: Target) -> None:
    behind = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"a": {"type": "string"}}}}}
    either = {
        "anyOf": [
            {
                "type": "object",
                "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
                "required": ["a", "b"],
            },
            {"type": "object", "properties": {"a": {"type": "string"}, "c": {"type": "string"}}, "required": ["a"]},
        ]
    }
    for schema, names in ((behind, ["a"]), (either, ["a", "b", "c"])):
        compiled = compile_parameters(schema, target)
        assert not compiled.wrapped
        assert compiled.schema is not None
        assert sorted(compiled.schema["properties"]) == names
    assert compiled.schema is not None
    assert compiled.schema["required"] == ["a"]


def test_responses_may_be_arrays_and_enums() -> None:
    assert compile_response({"type": "array", "items": {"type": "string"}}, B).schema == {
        "type": "ARRAY",
        "items": {"type": "STRING"},
    }
    assert compile_response({"enum": ["a", "b"]}, A).schema == {"type": "string", "enum": ["a", "b"]}
    assert compile_response({}, A).schema is None
    assert compile_response({"type": "object"}, B).schema is None
    assert compile_response(None, A).schema is None
    assert compile_response({"type": "object", "properties": {"a": {"type": "object"}}}, C).placeholder is None


def test_the_order_of_properties_is_kept() -> None:
    schema = {"type": "object", "properties": {name: {} for name in "zaq"}, "propertyOrdering": ["q", "gone", "a"]}
    for target in (A, B):
        made = params(schema, target)
        assert list(made["properties"]) == ["z", "a", "q"]
        assert made["propertyOrdering"] == ["q", "a"]
    assert "propertyOrdering" not in params(schema, C)


def test_the_clients_schema_is_never_changed() -> None:
    schema = {
        "allOf": [{"properties": {"a": {"minLength": 1}}}, {"properties": {"a": {"maxLength": 2}}}],
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "anyOf": [{"properties": {"a": {"pattern": "x"}}}, {"properties": {"b": {"$ref": "#"}}}],
    }
    before = orjson.dumps(schema)
    for target in Target:
        compile_parameters(schema, target)
    assert orjson.dumps(schema) == before


# -- the memory


def test_the_same_json_is_compiled_once() -> None:
    cache = SchemaCache()
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    first = cache.compile(schema, "parameters", B)
    assert cache.compile({**schema}, "parameters", B) is first
    assert cache.compile(schema, "parameters", A) is not first
    assert cache.compile(schema, "response", B) is not first
    assert len(cache) == 3


def test_the_memory_is_bounded() -> None:
    cache = SchemaCache(max_bytes=4000)
    for index in range(50):
        cache.compile({"type": "object", "properties": {f"p{index}": {"type": "string"}}}, "parameters", B)
    assert len(cache) < 20
    cache.compile({"type": "object", "description": "x" * 4000}, "parameters", B)
    assert len(cache) < 20


def test_what_cannot_be_hashed_is_compiled_all_the_same() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "number", "maximum": 2**80}}}
    cache = SchemaCache()
    assert cache.compile(schema, "parameters", B) == compile_parameters(schema, B)
    assert len(cache) == 0
    with pytest.raises(Fault):
        cache.compile([], "parameters", B)


# -- the way back


def test_integral_floats_become_integers_where_the_schema_says_so() -> None:
    schema = {
        "type": "object",
        "$defs": {"n": {"type": "integer"}},
        "properties": {
            "i": {"type": "integer"},
            "n": {"type": "number"},
            "r": {"$ref": "#/$defs/n"},
            "l": {"items": {"type": "integer"}},
            "u": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
            "x": {},
            "t": {"prefixItems": [{"type": "integer"}, {"type": "number"}]},
            "m": {"additionalProperties": {"type": ["integer", "null"]}},
            "a": {"allOf": [{"properties": {"b": {"type": "integer"}}}]},
        },
    }
    args = {
        "i": 1.0,
        "n": 1.0,
        "r": 2.0,
        "l": [3.0, 3.5],
        "u": 4.0,
        "x": 5.0,
        "t": [6.0, 7.0],
        "m": {"k": 8.0},
        "a": {"b": 9.0},
        "unknown": 10.0,
    }
    restored = restore_args(args, schema)
    assert orjson.dumps(restored) == orjson.dumps(
        {
            "i": 1,
            "n": 1.0,
            "r": 2,
            "l": [3, 3.5],
            "u": 4,
            "x": 5.0,
            "t": [6, 7.0],
            "m": {"k": 8},
            "a": {"b": 9},
            "unknown": 10.0,
        }
    )
    assert args["i"] == 1.0
    assert isinstance(args["i"], float)


def test_enum_texts_become_the_members_they_stand_for() -> None:
    schema = {
        "type": "object",
        "properties": {
            "n": {"enum": [1, 2.5, "3"]},
            "b": {"const": True},
            "s": {"enum": ["1", 1]},
            "u": {"anyOf": [{"enum": [1, 2]}, {"type": "string"}]},
            "p": {"type": "integer"},
        },
    }
    assert restore_args({"n": "1", "b": "true", "s": "1", "u": "1", "p": "1"}, schema) == {
        "n": 1,
        "b": True,
        "s": "1",
        "u": "1",
        "p": "1",
    }
    assert restore_args({"n": "2.5"}, schema) == {"n": 2.5}
    assert restore_args({"n": "3"}, schema) == {"n": "3"}
    assert restore_args({"n": "nine"}, schema) == {"n": "nine"}
    assert restore_args({"n": "1" * 5000}, schema) == {"n": "1" * 5000}


def test_nothing_to_do_gives_back_the_same_object() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "number"}}},
    }
    args = {"a": "1", "b": [1.0, 2.5], "c": {"d": [None, True]}}
    assert restore_args(args, schema) is args
    assert restore_args(args, None) is args


def test_a_placeholder_goes_unless_the_client_declared_it() -> None:
    schema = {"type": "object", "properties": {"o": {"type": "object"}}}
    assert restore_args({PLACEHOLDER: True, "o": {PLACEHOLDER: True, "k": 1}}, schema) == {"o": {"k": 1}}
    own = {"type": "object", "properties": {PLACEHOLDER: {"type": "boolean"}}}
    assert restore_args({PLACEHOLDER: True}, own) == {PLACEHOLDER: True}


def test_a_parameter_called_value_is_not_unwrapped() -> None:
    schema = {"type": "object", "properties": {"value": {"type": "integer"}}}
    assert restore_args({"value": 1.0}, schema) == {"value": 1}


def test_recursive_schemas_restore_deep_arguments() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "kid": {"$ref": "#"}}}
    args: dict[str, Any] = {"n": 1.0}
    for _ in range(30):
        args = {"n": 1.0, "kid": args}
    restored = restore_args(args, schema)
    assert b"1.0" not in orjson.dumps(restored)
