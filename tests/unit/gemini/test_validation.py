"""Arguments and JSON answers against a client's schema: what is put right, what is not, and what no schema can do."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from antigravity2api.errors import Kind, Retry
from antigravity2api.gemini.validation import BadStructure, Validators, Verdict

FINE, COERCED, INVALID = Verdict.FINE, Verdict.COERCED, Verdict.INVALID


def with_one(node: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": node}, **more}


INTEGER, NUMBER, STRING, BOOLEAN = ({"type": word} for word in ("integer", "number", "string", "boolean"))
NUMBERS = {"type": "array", "items": INTEGER}
THING = {"type": "object", "properties": {"n": INTEGER}, "required": ["n"]}


@pytest.mark.parametrize(
    ("node", "given", "wanted"),
    [
        (INTEGER, "5", 5),
        (INTEGER, "-5", -5),
        (INTEGER, "5.0", 5),
        (INTEGER, " 7 ", 7),
        (NUMBER, "2.5", 2.5),
        (NUMBER, "1e3", 1000.0),
        (NUMBER, "3", 3),
        (BOOLEAN, "true", True),
        (BOOLEAN, "False", False),
        (STRING, 5, "5"),
        (STRING, 5.0, "5"),
        (STRING, 2.5, "2.5"),
        (STRING, True, "true"),
        (THING, '{"n":1}', {"n": 1}),
        (THING, '{"n":"1"}', {"n": 1}),
        (NUMBERS, "[1,2]", [1, 2]),
        (NUMBERS, '["1"]', [1]),
        (NUMBERS, 3, [3]),
        (NUMBERS, "3", [3]),
        ({"type": "array", "items": STRING}, "one", ["one"]),
        ({"type": "array", "items": THING}, {"n": 1}, [{"n": 1}]),
        ({"anyOf": [INTEGER, {"type": "null"}]}, "5", 5),
        ({"$ref": "#/$defs/n"}, "5", 5),
        ({"type": ["integer", "null"]}, "5", 5),
        ({"enum": ["5", "6"]}, 5, "5"),
        ({"prefixItems": [INTEGER, STRING]}, ["1", 2], [1, "2"]),
        ({"type": "object", "additionalProperties": INTEGER}, {"x": "1"}, {"x": 1}),
    ],
)
def test_types_are_put_right_where_the_schema_says_so(node: Any, given: Any, wanted: Any) -> None:
    schema = with_one(node, **{"$defs": {"n": INTEGER}})
    settled, verdict = Validators().settle({"a": given}, schema)
    assert verdict is COERCED
    assert json.dumps(settled) == json.dumps({"a": wanted})


@pytest.mark.parametrize(
    ("node", "given"),
    [
        (INTEGER, "five"),
        (INTEGER, "5.5"),
        (INTEGER, "1_000"),
        (INTEGER, "\u0665"),
        (INTEGER, ""),
        (INTEGER, True),
        (BOOLEAN, "yes"),
        (BOOLEAN, 1),
        (STRING, None),
        (STRING, ["a"]),
        (STRING, {"a": 1}),
        (THING, '{"n":'),
        (THING, "[1]"),
        (THING, {"n": "x"}),
        (NUMBERS, ["x"]),
        ({"enum": ["a"]}, "A"),
        ({"type": "integer", "minimum": 10}, "5"),
        (False, 1),
    ],
)
def test_nothing_is_invented(node: Any, given: Any) -> None:
    args = {"a": given}
    before = json.dumps(args)
    settled, verdict = Validators().settle(args, with_one(node, required=["a"]))
    assert verdict is INVALID
    assert settled is args
    assert json.dumps(settled) == before


@pytest.mark.parametrize(
    ("schema", "args"),
    [
        (with_one({}), {"a": "5"}),
        (with_one({"type": ["integer", "string"]}), {"a": "5"}),
        (with_one(STRING), {"a": "5", "b": None}),
        (with_one({"anyOf": [{"type": "integer"}, {}]}), {"a": "5"}),
        ({}, {"a": 1}),
        ({"type": "object"}, {}),
        (with_one({"type": "any"}), {"a": 1}),
        (with_one({"type": "string", "nullable": True}), {"a": None}),
        (with_one({"enum": ["a"], "nullable": True}), {"a": None}),
        (with_one({"type": "string", "format": "uri"}), {"a": "no uri"}),
        (with_one({"type": "string", "pattern": "(?=x)"}), {"a": "y"}),
        (with_one({"$ref": "https://example.test/schema.json"}), {"a": "y"}),
        (with_one({"$ref": "#/nowhere"}), {"a": "y"}),
        (with_one({"not": {"$ref": "#/nowhere"}}), {"a": "y"}),
        (with_one({"oneOf": [STRING, {"pattern": "(?=x)"}]}), {"a": "y"}),
        (with_one({"if": {"pattern": "(?=x)"}, "then": False}), {"a": "y"}),
        ({**with_one(STRING), "unevaluatedProperties": False}, {"b": 1}),
        ({"properties": 5, "required": True, "items": "x", "enum": 3, "additionalProperties": False}, {"a": 1}),
        ({"$schema": "https://example.test/own", "type": "object"}, {"a": 1}),
        (
            {
                "$schema": "http://json-schema.org/draft-04/schema#",
                "properties": {"a": {"minimum": 1, "exclusiveMinimum": True}},
            },
            {"a": 2},
        ),
        ({"properties": {"a": {"items": [INTEGER, STRING]}}}, {"a": [1, "x"]}),
        (with_one(STRING), {"a": "\ud83d"}),
    ],
)
def test_what_fits_or_cannot_be_judged_passes_untouched(schema: Any, args: Any) -> None:
    settled, verdict = Validators().settle(args, schema)
    assert verdict is FINE
    assert settled is args


def test_a_null_for_an_absent_optional_goes() -> None:
    schema = {
        "type": "object",
        "properties": {"a": STRING, "b": INTEGER, "c": {"type": ["string", "null"]}, "d": THING},
        "required": ["a"],
    }
    args = {"a": "x", "b": None, "c": None, "d": {"n": 1, "m": None}}
    assert Validators().settle(args, schema) == ({"a": "x", "c": None, "d": {"n": 1, "m": None}}, COERCED)
    assert Validators().settle({"a": None}, schema)[1] is INVALID


def test_half_of_the_truth_is_not_sent() -> None:
    schema = {"type": "object", "properties": {"a": INTEGER, "b": INTEGER}}
    args = {"a": "5", "b": "x"}
    assert Validators().settle(args, schema) == (args, INVALID)


# -- hostile schemas, in a process that can be ended

HOSTILE: dict[str, Any] = {
    "a chain of twos": {
        "$ref": "#/$defs/a0",
        "$defs": {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)} | {"a40": {}},
    },
    "a chain of twos below": {
        "$ref": "#/$defs/a0",
        "$defs": {
            f"a{n}": {"anyOf": [{"properties": {"a": {"$ref": f"#/$defs/a{n + 1}"}}, "maxProperties": 9}] * 2}
            for n in range(40)
        }
        | {"a40": False},
    },
    "itself at once": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "in turns": {
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}] * 2}},
    },
    "a bush": {
        "anyOf": [
            {"properties": {"a": {"$ref": "#"}}, "required": ["a", "z"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["a", "y"]},
            {"properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        ]
    },
    "everything of everything": {
        "$defs": {f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{m}"} for m in range(12)]} for n in range(12)},
        "$ref": "#/$defs/a0",
    },
    "patterns": with_one({"allOf": [{"pattern": f"(a+)+{n}$"} for n in range(300)]}),
    "a costly pattern": with_one({"anyOf": [{"pattern": r"(\w{1,100}){1,100}" + str(n)} for n in range(100)]}),
    "looking ahead": with_one({"pattern": r"^(?=(a+)+$)(a|aa)+\1$"}),
    "another machine": {
        "$ref": "http://127.0.0.1:9/x",
        "$schema": "http://127.0.0.1:9/s",
        "$id": "http://127.0.0.1:9/i",
    },
    "a file": {"$ref": "file:///etc/passwd"},
    "deep": json.loads('{"properties":{"a":' * 30 + "{}" + "}}" * 30),
    "wide": {"properties": {f"p{n}": {"enum": list(range(20))} for n in range(8000)}},
    "itself below": {"properties": {"a": {"$ref": "#"}}, "additionalProperties": False},
    "a long chain": {
        "$ref": "#/$defs/a0",
        "$defs": {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(3000)} | {"a3000": {}},
    },
}
_PROGRAM = """
import json, sys, time
from antigravity2api.gemini.validation import Validators
case = json.load(sys.stdin)
deep = {}
for _ in range(900):
    deep = {"a": deep}
long = {"a": "a" * 200_000 + "!"}
validators = Validators()
began = time.process_time()
for args in ({}, {"a": 1}, long, deep):
    validators.settle(args, case)
print(time.process_time() - began)
"""


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_no_schema_hangs_crashes_or_fetches(schema: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _PROGRAM],
        input=json.dumps(schema),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 3, "seconds of the processor"


# -- memory


def test_checkers_are_remembered_and_bounded() -> None:
    validators = Validators()
    schema = with_one(INTEGER)
    first = validators.of(schema)
    assert validators.of(schema) is first
    assert validators.of(json.loads(json.dumps(schema))) is first, "the same words in another object"
    for number in range(600):
        validators.of({"title": str(number)})
    assert len(validators) <= 512
    assert validators.of(with_one(INTEGER)) is not None


def test_large_schemas_are_not_kept_for_long() -> None:
    validators = Validators()
    for number in range(6):
        validators.of({"description": f"{number}" * (2 << 20)})
    assert len(validators) < 5


def test_the_library_is_loaded_on_first_use_only() -> None:
    program = (
        "import sys, antigravity2api.dialects.chat, antigravity2api.gemini.repair as r; "
        "assert 'jsonschema_rs' not in sys.modules; "
        "from antigravity2api.gemini.validation import Validators; Validators().settle({}, {}); "
        "assert 'jsonschema_rs' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


# -- structured output


@pytest.mark.parametrize(
    ("text", "schema", "wrong"),
    [
        ("{", None, "not valid JSON"),
        ("", None, "not valid JSON"),
        ("[1]", None, "not a JSON object"),
        ('{"a":NaN}', None, "not valid JSON"),
        ('{"a":"x"}', with_one(INTEGER), '$.a: "x" is not of type "integer"'),
        ("{}", with_one(INTEGER, required=["a"]), '"a" is a required property'),
        ('{"a":[1,"x"]}', with_one(NUMBERS), "$.a[1]"),
        ("[]", {"type": "array", "minItems": 1}, "$:"),
    ],
)
def test_an_answer_that_is_not_what_was_promised(text: str, schema: Any, wrong: str) -> None:
    with pytest.raises(BadStructure) as caught:
        Validators().structured(text, schema)
    fault = caught.value
    assert wrong in fault.message
    assert (fault.kind, fault.code, fault.retry) == (Kind.BAD_ANSWER, "structured_output_invalid", Retry.REPAIRED)
    assert fault.answer == text


@pytest.mark.parametrize(
    ("text", "schema"),
    [
        ('{"a": 1}', None),
        (' {"a" : 1.0 }\n', with_one(INTEGER)),
        ("[]", {"type": "array"}),
        ('"x"', {"enum": ["x"]}),
        ('{"a":"y"}', with_one({"$ref": "https://example.test/x"})),
    ],
)
def test_a_right_answer_stays_as_it_is(text: str, schema: Any) -> None:
    assert Validators().structured(text, schema) == text


def test_members_that_could_only_be_told_as_texts_come_back() -> None:
    schema = with_one({"enum": [1, 2, True]})
    assert Validators().structured('{"a": "2"}', schema) == '{"a":2}'


def test_a_long_complaint_is_cut() -> None:
    with pytest.raises(BadStructure) as caught:
        Validators().structured(json.dumps({"a": "x" * 10_000}), with_one(INTEGER))
    assert len(caught.value.message) < 600


@pytest.mark.parametrize(
    ("schema", "demanded"),
    [
        (with_one(STRING, required=["a"]), True),
        ({"$ref": "#/$defs/x", "$defs": {"x": with_one(STRING, required=["a"])}}, True),
        ({"type": "object", "allOf": [with_one(STRING, required=["a"])]}, True),
        (with_one(STRING), False),
        (with_one(STRING, required=[]), False),
        (with_one(STRING, anyOf=[{"required": ["a"]}, {"required": ["b"]}]), False),
        ({"$ref": "#/nowhere", "required": True}, False),
    ],
)
def test_who_asks_for_arguments(schema: Any, demanded: bool) -> None:
    assert Validators().demands(schema) is demanded
