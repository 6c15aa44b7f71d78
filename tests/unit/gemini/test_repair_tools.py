"""Which tool a refusal speaks of, and what is left of a request when tools go."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.repair import Learned, RepairState, apply_learned, repair
from antigravity2api.gemini.repair_tools import DROPPED, LOOSENED, REDUCED, blamed, digest_of, restaged, simplified
from fakes.chat_answer import make_call

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def request(*names: str, **more: Any) -> dict[str, Any]:
    declarations = [{"name": name, "parametersJsonSchema": SCHEMA} for name in names]
    return {"contents": [], "tools": [{"functionDeclarations": declarations}], **more}


def refusal(message: str) -> Fault:
    return Fault(Kind.INVALID_REQUEST, message, upstream_status=400)


NAMES = ("get", "tool", "schema", "read_file", "read-file")


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("tools[0].function_declarations[3].parameters: no", ["read_file"]),
        ("tools[0].functionDeclarations[0].parameters: no; tools[0].function_declarations[2].x", ["get", "schema"]),
        ("function_declarations[1].parameters.properties[x].enum: only allowed for STRING type", ["tool"]),
        ("tools.4.custom.input_schema: JSON schema is invalid", ["read-file"]),
        ("tools[1].function_declarations[0].parameters: no", []),
        ("tools[0].function_declarations[99].parameters: no", []),
        ("Invalid schema for function 'read-file': no", ["read-file"]),
        ("Invalid schema for function read_file: no", ["read_file"]),
        ("The function named `get` has an invalid schema", ["get"]),
        ("the schema of a tool cannot get that deep", []),
        ("maximum schema depth exceeded", []),
        ("tools[0].function_declarations[0]: see the tool 'schema'", ["get"]),
    ],
)
def test_who_is_blamed(message: str, found: list[str]) -> None:
    assert blamed(request(*NAMES), refusal(message)) == found  # type: ignore[arg-type]


def test_numbers_count_functions_only_in_their_own_entry() -> None:
    asked = {"tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]}
    assert blamed(asked, refusal("tools[1].function_declarations[1].parameters")) == ["g"]  # type: ignore[arg-type]
    assert blamed(asked, refusal("tools[0].function_declarations[1].parameters")) == []  # type: ignore[arg-type]
    assert blamed(asked, refusal("tools.1.input_schema: no")) == ["g"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("before", "left", "bare", "stage"),
    [
        (None, None, False, LOOSENED),
        (None, 2, False, LOOSENED),
        (None, 1, False, REDUCED),
        (None, 2, True, REDUCED),
        (LOOSENED, 2, False, REDUCED),
        (LOOSENED, 1, False, DROPPED),
        (REDUCED, 3, False, DROPPED),
    ],
)
def test_one_step_at_a_time(before: str | None, left: int | None, bare: bool, stage: str) -> None:
    call = make_call(request=request("f", "g"))
    if before is not None:
        call, _ = restaged(call, {"f": before})
    made, mended = simplified(call, ["f"], left, bare=bare)
    assert [(each.name, each.stage) for each in mended] == [("f", stage)]
    assert mended[0].original == {"name": "f", "parametersJsonSchema": SCHEMA}, "simplified from the client's own"
    assert mended[0].digest == digest_of(mended[0].original)
    kept = [each["name"] for each in made.request["tools"][0]["functionDeclarations"]]
    assert kept == (["g"] if stage == DROPPED else ["f", "g"])
    assert call.request["tools"][0]["functionDeclarations"][1] == {"name": "g", "parametersJsonSchema": SCHEMA}


def test_the_last_tool_takes_the_wish_to_call_along() -> None:
    calling = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}
    made, _ = restaged(make_call(request=request("f", toolConfig=calling)), {"f": DROPPED})
    assert made.request.keys() == {"contents"}


def test_a_wish_to_call_one_of_several_stays_for_the_others() -> None:
    calling = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f", "g"]}}
    made, _ = restaged(make_call(request=request("f", "g", "h", toolConfig=calling)), {"f": DROPPED})
    assert made.request["toolConfig"]["functionCallingConfig"]["allowedFunctionNames"] == ["g"]
    anyone = {"functionCallingConfig": {"mode": "ANY"}, "includeServerSideToolInvocations": True}
    made, _ = restaged(make_call(request=request("f", "g", toolConfig=anyone)), {"f": DROPPED})
    assert made.request["toolConfig"] == anyone


def test_a_tool_without_arguments_keeps_none() -> None:
    call = make_call(request={"contents": [], "tools": [{"functionDeclarations": [{"name": "f", "description": "d"}]}]})
    made, _ = restaged(call, {"f": LOOSENED})
    assert made.request["tools"][0]["functionDeclarations"] == [{"name": "f", "description": "d"}]


def test_simplified_schemas_are_remembered_in_bounds() -> None:
    learned = Learned()
    for number in range(200):
        learned.note("gemini", "m", ("schema", ((f"digest {number}", LOOSENED),)))
    ((word, known),) = learned.lessons("gemini", "m")
    assert word == "schema"
    assert len(known) == 64
    learned.note("gemini", "m", ("schema", (("digest 199", DROPPED),)))
    ((_, known),) = learned.lessons("gemini", "m")
    assert dict(known)["digest 199"] == DROPPED  # type: ignore[call-overload]


def test_what_was_learned_goes_on_from_where_it_ended() -> None:
    learned = Learned()
    call = make_call(request=request("f", "g"))
    message = "tools[0].function_declarations[0].parameters: unsupported"
    first = repair(call, refusal(message), RepairState())
    assert first is not None
    assert first.learn is not None
    learned.note("gemini", call.model, first.learn)
    taught = apply_learned(call, learned, "gemini")
    assert taught.request == first.call.request
    second = repair(taught, refusal(message), RepairState())
    assert second is not None
    assert second.note == "tool.f:reduced"
    assert second.call.mended_tools[0].original == call.request["tools"][0]["functionDeclarations"][0]
