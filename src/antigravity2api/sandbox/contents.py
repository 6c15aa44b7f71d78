"""The conversation's rules: roles, parts, media types, the order of calls and results, thought signatures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from antigravity2api.gemini.models import ModelProfile
from antigravity2api.sandbox.google import GoogleError, Json, bad, nested
from antigravity2api.sandbox.messages import PART_DATA
from antigravity2api.sandbox.signing import Signer, is_escape

IMAGES = frozenset("image/png image/jpeg image/webp image/heic image/heif".split())
AUDIO = frozenset(
    "audio/wav audio/x-wav audio/mp3 audio/mpeg audio/aiff audio/aac audio/ogg audio/flac audio/opus audio/pcm "
    "audio/webm "
    "audio/m4a audio/mp4 audio/l16".split()
)
VIDEO = frozenset(
    "video/mp4 video/mpeg video/mov video/quicktime video/avi video/x-flv video/mpg video/webm video/wmv "
    "video/3gpp".split()
)
_TEXT = re.compile(r"text/[a-z0-9.+-]+", re.ASCII)
_SCRIPTS = frozenset("application/x-javascript application/x-python application/rtf".split())
_OBJECTS = re.compile(r"(?:https?|gs)://(?!generativelanguage\.)\S+", re.ASCII)
_FILES = re.compile(r"https?://\S+|files/[a-z0-9-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the checks need to know about the model and its backend."""

    model: str
    profile: ModelProfile
    signer: Signer
    wrapped: bool = False
    vertex: bool = False


def check_contents(request: Json, rules: Rules) -> None:
    """Raise Google's 400 for the first thing wrong in ``contents`` and ``systemInstruction``."""
    contents = request.get("contents") or []
    if not contents:
        raise bad("* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(contents):
        _check_role(content)
        _check_parts(content, f"GenerateContentRequest.contents[{index}]", rules)
    _check_system(request.get("systemInstruction"), rules)
    _check_order(contents, rules)
    _check_signatures(contents, rules)


def modality(mime_type: str) -> str | None:
    """Google's word for a MIME type in usage figures; None when the type is not taken."""
    mime_type = mime_type.lower().split(";")[0].strip()
    if mime_type in IMAGES:
        return "IMAGE"
    if mime_type in AUDIO:
        return "AUDIO"
    if mime_type in VIDEO:
        return "VIDEO"
    if mime_type == "application/pdf":
        return "DOCUMENT"
    if _TEXT.fullmatch(mime_type) or mime_type in _SCRIPTS:
        return "TEXT"
    return None


def calls_of(content: Json) -> list[Json]:
    """The functionCall parts of a content."""
    return [part for part in content.get("parts") or [] if "functionCall" in part]


def results_of(content: Json) -> list[Json]:
    """The functionResponse parts of a content."""
    return [part for part in content.get("parts") or [] if "functionResponse" in part]


def turn_start(contents: list[Json]) -> int:
    """Where the current turn begins: the last user content that brings no function results."""
    for index in range(len(contents) - 1, -1, -1):
        if contents[index].get("role", "user") != "model" and not results_of(contents[index]):
            return index
    return 0


def _check_role(content: Json) -> None:
    role = content.get("role", "")
    if role == "system":
        raise bad("Content with system role is not supported.")
    if role not in ("", "user", "model"):
        raise bad("Please use a valid role: user, model.")


def _check_system(system: Json | None, rules: Rules) -> None:
    if system is None:
        return
    if not rules.profile.system:
        raise bad(f"Developer instruction is not enabled for models/{rules.model}")
    parts = system.get("parts") or []
    if not parts:
        raise bad("* GenerateContentRequest.system_instruction.parts: contents.parts must not be empty.\n")
    for index, part in enumerate(parts):
        _check_data(part, f"GenerateContentRequest.system_instruction.parts[{index}]")
        if "text" not in part:
            raise bad("System instruction can only contain text parts.")


def _check_parts(content: Json, path: str, rules: Rules) -> None:
    parts = content.get("parts") or []
    if not parts:
        raise bad(f"* {path}.parts: contents.parts must not be empty.\n")
    for index, part in enumerate(parts):
        where = f"{path}.parts[{index}]"
        _check_data(part, where)
        _check_media(part, where, rules)
    # Vertex AI, which stands behind the wrapped form too, wants words; the Gemini API takes an empty text.
    if (rules.wrapped or rules.vertex) and all(
        part.get("text") == "" and "thoughtSignature" not in part for part in parts
    ):
        raise bad("Unable to submit request because it must have a text parameter. Add a text parameter and try again.")


def _check_data(part: Json, path: str) -> None:
    if not any(name in part for name in PART_DATA):
        raise bad(f"* {path}.data: required oneof field 'data' must have one initialized field\n")
    for name in ("functionCall", "functionResponse"):
        if name in part and not part[name].get("name"):
            spelled = "function_call" if name == "functionCall" else "function_response"
            raise bad(f"* {path}.{spelled}.name: Name cannot be empty.\n")
    if "functionResponse" in part and "response" not in part["functionResponse"]:
        raise bad(f"* {path}.function_response.response: required field is missing\n")


def _check_media(part: Json, path: str, rules: Rules) -> None:
    if "inlineData" in part:
        _check_blob(part["inlineData"], f"{path}.inline_data")
    if "fileData" in part:
        uri = part["fileData"].get("fileUri", "")
        if rules.vertex:
            if not _OBJECTS.fullmatch(uri):
                raise bad(f"Invalid file URI: {uri}. Use a Cloud Storage URI (gs://bucket/object) or an https URL.")
        elif not _FILES.fullmatch(uri):
            raise bad(
                f"Unsupported file URI type: {uri}; File uri must be a file API (e.g. "
                "https://generativelanguage.googleapis.com/files/some-id) or Youtube (e.g. "
                "https://www.youtube.com/watch?v=some_video_id)"
            )
    if "functionResponse" in part:
        media = part["functionResponse"].get("parts") or []
        if media and not rules.profile.multimodal_tool_results:
            raise bad("Multimodal function response is not supported for this model.")
        for index, item in enumerate(media):
            if "inlineData" in item:
                _check_blob(item["inlineData"], f"{path}.function_response.parts[{index}].inline_data")


def _check_blob(blob: Json, path: str) -> None:
    mime_type = blob.get("mimeType", "")
    if not mime_type:
        raise bad(f"* {path}.mime_type: required field is missing\n")
    if modality(mime_type) is None:
        raise bad(f"Unsupported MIME type: {mime_type}")
    if not blob.get("data"):
        raise bad(f"* {path}.data: required field is missing\n")


def _check_order(contents: list[Json], rules: Rules) -> None:
    """Google's rules for turns; consecutive contents of one role are tolerated where no call is involved."""
    roles = [content.get("role") or "user" for content in contents]
    if roles[0] == "model":
        raise bad("Please ensure that multiturn requests start with a user role.")
    for index, content in enumerate(contents):
        calls, results = calls_of(content), results_of(content)
        if calls and roles[index] == "user":
            raise bad("Function call parts must be in a content of the model role.")
        if results and roles[index] == "model":
            raise bad("Function response parts must be in a content of the user role.")
        if calls:
            if roles[index - 1] == "model":
                raise bad(
                    "Please ensure that function call turn comes immediately after a user turn or after a function "
                    "response turn."
                )
            _check_pairs(calls, results_of(contents[index + 1]) if index + 1 < len(contents) else [], rules)
        elif results and not calls_of(contents[index - 1] if index else {}):
            raise bad("Please ensure that function response turn comes immediately after a function call turn.")
    if roles[-1] == "model" and not rules.profile.prefill:
        raise bad("Please ensure that multiturn requests end with a user role.")


def _check_pairs(calls: list[Json], results: list[Json], rules: Rules) -> None:
    if len(calls) != len(results):
        raise bad(
            "Please ensure that the number of function response parts is equal to the number of function call parts of "
            "the "
            "function call turn."
        )
    for asked, told in zip(calls, results, strict=True):
        call, result = asked["functionCall"], told["functionResponse"]
        if call["name"] != result["name"]:
            raise bad(
                f"Please ensure that function response parts have the names and the order of the function call parts: "
                f"expected "
                f"`{call['name']}`, found `{result['name']}`."
            )
        if call.get("id", "") != result.get("id", "") and (call.get("id") or rules.profile.call_ids):
            raise bad(
                f"Please ensure that the id of a function response is the id of its function call: expected "
                f"`{call.get('id', '')}`, found `{result.get('id', '')}`."
            )
        if rules.profile.call_ids and not call.get("id"):
            raise bad(f"Function call `default_api:{call['name']}` is missing an id, which this model requires.")


def _check_signatures(contents: list[Json], rules: Rules) -> None:
    kind = rules.profile.signatures
    for part, whole in _signed_parts(contents):
        if "functionResponse" in part:
            raise bad("Thought signature is not valid on a function response part.")
        if kind == "none" or (is_escape(part["thoughtSignature"]) and rules.profile.family != "claude"):
            continue
        if not rules.profile.known:
            continue
        if not rules.signer.is_valid(whole, part["thoughtSignature"]):
            raise _corrupted(rules)
    if kind != "strict":
        return
    for index in range(turn_start(contents), len(contents)):
        calls = calls_of(contents[index])
        if calls and "thoughtSignature" not in calls[0]:
            raise bad(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work "
                "correctly, and missing thought_signature may lead to degraded model performance. Additional data, "
                "function "
                f"call `default_api:{calls[0]['functionCall']['name']}` , position {index + 1}. Please refer to "
                "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )


def _signed_parts(contents: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Each signed part, and what was signed: a thought is signed as a whole, however many parts it came in."""
    for content in contents:
        thought = ""
        for part in content.get("parts") or []:
            thought = thought + part.get("text", "") if part.get("thought") else ""
            if "thoughtSignature" in part:
                yield part, {**part, "text": thought} if part.get("thought") else part
                thought = ""


def _corrupted(rules: Rules) -> GoogleError:
    if rules.profile.family == "claude":
        return nested("messages: Invalid `signature` in `thinking` block")
    return bad("Corrupted thought signature.")
