"""Gemini's answer as Chat Completions: the one mapping. Streams send its deltas, whole answers add them up.

Invariants of a ``Choice``: deltas keep the order of the parts; no delta carries ``content: null`` or an empty text;
calls are held until the candidate says how it ended, so a malformed answer hands none on; a signature is remembered
before the delta that shows its call's id leaves.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Protocol

import orjson

from antigravity2api import ids
from antigravity2api.dialects.base import Origin, Toolbox
from antigravity2api.dialects.chat import media
from antigravity2api.dialects.chat.checks import returned_call, structured
from antigravity2api.dialects.chat.citations import Insert, cite
from antigravity2api.dialects.chat.notes import ChatNotes
from antigravity2api.gemini.call import Call
from antigravity2api.gemini.fold import (
    Ending,
    Finish,
    bad_answer,
    joins,
    merged_grounding,
    merged_logprobs,
    parts_of,
    signature_of,
)
from antigravity2api.gemini.jsontext import dumps
from antigravity2api.gemini.memory import Keeper
from antigravity2api.gemini.schema import Target
from antigravity2api.gemini.signature import Signed, tagged
from antigravity2api.gemini.usage import Usage

Delta = dict[str, Any]

_FINISH = {Finish.STOP: "stop", Finish.LENGTH: "length", Finish.FILTER: "content_filter"}
_AUDIO_LIFE = 3600
_THOUGHT = frozenset({"text", "thought", "thoughtSignature"})


class Way:
    """What all choices of one answer share: the client's notes, where links point, who signed."""

    __slots__ = ("applied", "box", "call", "live", "notes", "origin", "retells", "upstream")

    def __init__(self, call: Call, origin: Origin, box: Toolbox, upstream: str, *, live: bool) -> None:
        self.call = call
        self.notes: ChatNotes = call.options if isinstance(call.options, ChatNotes) else ChatNotes()
        self.box = box
        self.upstream = upstream
        self.live = live
        """Whether deltas go out one by one; a whole answer may wait for the end of its audio."""
        self.origin = origin
        self.applied: list[str] = []
        """What was changed in the answer, or has to be said about it."""
        self.retells = self._as_strings()
        """Whether JSON comes with texts where the client wants other members of an enum: to be told in its words."""

    def choices(self) -> int:
        """How many choices the client asked for, however they are made."""
        return max(self.notes.candidates, self.call.copies, 1)

    def _as_strings(self) -> bool:
        schema, target = self.notes.json_schema, self.call.schema_target
        if schema is None or (target in (None, Target.JSON_SCHEMA) and self.upstream != "antigravity"):
            return False
        checker = self.box.validators.of(schema)
        return checker is not None and checker.converted

    def keeper(self) -> Keeper:
        """What keeps the signed parts of one choice for the request in which the client returns them."""
        call = self.call
        return Keeper(self.box.signatures, call.profile.family, self.upstream, call.request.get("contents") or ())


class Choice:
    """One candidate on its way to the client."""

    __slots__ = (
        "_audio",
        "_audio_type",
        "_calls",
        "_done_calls",
        "_grounding",
        "_held",
        "_images",
        "_keeper",
        "_last",
        "_logprobs",
        "_marks",
        "_part",
        "_signature",
        "_speaks",
        "_undecided",
        "_way",
        "ending",
        "index",
        "texts",
        "thoughts",
    )

    def __init__(self, index: int, way: Way) -> None:
        self.index = index
        self.ending = Ending()
        self.texts: list[str] = []
        """The content in order: the model's text, and ours as ``Insert``."""
        self.thoughts: list[str] = []
        """The shown thoughts that no signature followed yet."""
        self._way = way
        self._keeper = way.keeper()
        notes = way.notes
        self._held: list[str] | None = [] if notes.json_wrapped or notes.strip_fence else None
        """Text that cannot go out before the end is known; None where it streams."""
        self._undecided = notes.strip_fence and not notes.json_wrapped and not way.retells
        self._calls: list[tuple[Mapping[str, Any], str | None]] = []
        self._done_calls = 0
        self._signature: str | None = None
        self._grounding: dict[str, Any] = {}
        self._logprobs: dict[str, Any] = {}
        self._images = 0
        self._audio: list[bytes] = []
        self._audio_type = "", 0
        self._speaks = False
        self._last: Mapping[str, Any] | None = None
        self._part = -1
        self._marks: dict[int, int] = {}

    @property
    def run_length(self) -> int:
        """How many keys a part has that only continues the part before it, and whose text goes out as it is.

        1 for a text (then to be appended to ``texts``), 2 for a thought (to ``thoughts``), 0 where every part needs a
        look.
        """
        last = self._last
        if last is None or not joins(last, last):
            return 0
        if len(last) == 1:
            return 1 if self._held is None and self.ending.output else 0
        shown = last["thought"] is True and not self._way.notes.hide_reasoning
        return 2 if shown and self.ending.thoughts else 0

    def begin(self, text: str) -> None:
        """Take a plain text that opens the answer, as ``take`` does where it is all there is."""
        self.ending.output = True
        self._part = 0
        self._marks[0] = 0
        self._last = {"text": text}
        self.texts.append(text)

    def take(self, candidate: Mapping[str, Any]) -> list[Delta]:
        """The deltas of one event. Raises ``Fault`` for a malformed end."""
        out: list[Delta] = []
        for part in parts_of(candidate):
            self.ending.see(part)
            self._take_part(part, out)
        self.ending.note(candidate)
        grounding = candidate.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._grounding = merged_grounding(self._grounding, grounding)
        logprobs = candidate.get("logprobsResult")
        if isinstance(logprobs, dict):
            self._logprobs = merged_logprobs(self._logprobs, logprobs)
        if self.ending.reason is not None and self._held is None:
            self._release(out)
        return out

    def take_logprobs(self) -> dict[str, Any] | None:
        """Log probabilities that came since the last time, in OpenAI's shape."""
        if not self._logprobs:
            return None
        tokens = chat_logprobs(self._logprobs)
        self._logprobs = {}
        return {"content": tokens, "refusal": None} if tokens else None

    def close(self, finish: Finish, refused: str | None) -> tuple[list[Delta], Delta, str]:
        """Deltas that were held, the delta of the finish chunk, and the finish reason."""
        out: list[Delta] = []
        if self._way.notes.json_answer and finish is Finish.STOP and not self.ending.calls:
            self._check_json()
        self._release_text(out)
        held = None if self._held is None else [delta["content"] for delta in out]
        self._release(out)
        self._keeper.close(self.texts if held is None else held, altered=held is not None)
        if self._audio:
            out.append({"audio": self._whole_audio()})
        elif self._speaks:
            out.append({"audio": {"expires_at": ids.now() + _AUDIO_LIFE}})
        if finish is Finish.FILTER and self.ending.reason is None and refused is not None:
            out.append({"content": "", "refusal": refused})
        last: Delta = {}
        if self._grounding and self._held is None:
            found = cite(self._grounding, self.texts, self._marks)
            if found:
                last["annotations"] = found
        if self._signature is not None:
            last["extra_content"] = {"google": {"thought_signature": self._signature}}
        reason = _FINISH[finish]
        if finish is Finish.STOP and self._done_calls:
            reason = "function_call" if self._way.notes.legacy_functions else "tool_calls"
        return out, last, reason

    # -- parts -----------------------------------------------------------------------------------------------------

    def _take_part(self, part: Mapping[str, Any], out: list[Delta]) -> None:
        text = part.get("text")
        if text and len(part) == 1:
            if not joins(self._last, part):
                self._part += 1
                self._marks[self._part] = len(self.texts)
            self._last = part
            self._text(mended(text), out)
            return
        signature = signature_of(part)
        thought = bool(part.get("thought"))
        if text or len(part) > 1 or text is None:
            if not joins(self._last, part):
                self._part += 1
                self._marks[self._part] = len(self.texts)
            self._last = part
        if text is not None:
            if text:
                self._text(mended(text), out, thought=thought)
            if signature is not None and not thought and part.get("functionCall") is None:
                self._signature = signature
                self._keeper.text(len(self.texts) - bool(text), len(mended(text)), signature)
        if signature is not None and thought and part.keys() <= _THOUGHT:
            self._sign_thoughts(signature)
        if len(part) == 1 and text is not None:
            return
        if part.get("functionCall") is not None:
            self._calls.append((part["functionCall"], signature))
        if part.get("inlineData") is not None and not thought:  # a thought's picture is a draft
            self._blob(part["inlineData"], signature, out)
        for name, markdown in _MARKDOWN.items():
            if part.get(name) is not None:
                self._text(Insert(mended(markdown(part[name]))), out, thought=thought)

    def _text(self, text: str, out: list[Delta], *, thought: bool = False) -> None:
        if not text:
            return
        if thought:
            self.thoughts.append(text)
            if not self._way.notes.hide_reasoning:
                out.append({"reasoning_content": str(text)})
            return
        self.texts.append(text)
        if self._held is None:
            out.append({"content": str(text)})
            return
        self._held.append(text)
        if self._undecided:
            self._look_for_fence(out)

    def _sign_thoughts(self, signature: str) -> None:
        """Claude signs its thoughts, often in an empty part behind them."""
        self._keeper.thought("".join(self.thoughts), signature)
        self.thoughts.clear()

    def _look_for_fence(self, out: list[Delta]) -> None:
        """A text that does not begin with a fence needs no waiting."""
        so_far = "".join(self._held or ())
        start = so_far.lstrip()[:3]
        self._undecided = "```".startswith(start) and start != "```"
        if not "```".startswith(start):
            self._held = None
            out.append({"content": so_far})

    # -- what was held ---------------------------------------------------------------------------------------------

    def _release_text(self, out: list[Delta]) -> None:
        if not self._held:
            return
        text = self._finished("".join(self._held))
        self._held = []
        if text:
            out.append({"content": text})

    def _check_json(self) -> None:
        """Whether the answer is the JSON that was promised. Raises ``Fault``: what was sent cannot be taken back."""
        way = self._way
        held = self._held is not None
        text = self._finished("".join(self._held or ())) if held else "".join(self.texts)
        text = structured(text, way.notes, way.box.validators, copies=way.call.copies)
        if held:
            self._held = [text]

    def _finished(self, text: str) -> str:
        """A text that was held, as it goes out."""
        if self._way.notes.strip_fence and not self.ending.calls:
            text = media.without_fence(text)
        return _unwrapped(text) if self._way.notes.json_wrapped else text

    def _release(self, out: list[Delta]) -> None:
        """The calls, once the end is known to be a good one."""
        calls, self._calls = self._calls, []
        notes = self._way.notes
        for call, signature in calls:
            if self._done_calls and (notes.single_call or notes.legacy_functions):
                return
            out.append(self._call(call, signature, several=len(calls) > 1))
            self._done_calls += 1

    def _call(self, call: Mapping[str, Any], signature: str | None, *, several: bool) -> Delta:
        way = self._way
        upstream_name, name, restored, note = returned_call(call, way.notes, way.box.validators, self.ending.reason)
        if note is not None and note not in way.applied:
            way.applied.append(note)
        if name in way.notes.custom_tools:
            args = call.get("args") or {}
            restored = {"input": args["input"] if isinstance(args.get("input"), str) else text_of(args)}
        identity = ids.call_id()
        extra = {}
        if signature is not None:
            extra = {"extra_content": {"google": {"thought_signature": signature}}}
        returned = restored if isinstance(restored, dict) else {"value": restored}
        self._keeper.call(identity, upstream_name, returned, call, signature, several=several)
        if way.notes.legacy_functions:
            return {"function_call": {"name": name, "arguments": text_of(restored), **extra}}
        entry: Delta = {"index": self._done_calls, "id": identity}
        if name in way.notes.custom_tools:
            entry |= {"type": "custom", "custom": {"name": name, "input": restored["input"]}}
        else:
            entry |= {"type": "function", "function": {"name": name, "arguments": text_of(restored)}}
        return {"tool_calls": [{**entry, **extra}]}

    # -- media -----------------------------------------------------------------------------------------------------

    def _blob(self, blob: Mapping[str, Any], signature: str | None, out: list[Delta]) -> None:
        label = blob.get("mimeType")
        label = label if isinstance(label, str) else ""
        found = media.readable(blob.get("data") or "")
        raw, data = found if found is not None else (b"", "")
        image, audio = media.image_type(raw), media.audio_type(raw, label) if raw else None
        if image is not None:
            self._image(raw, data, image, signature, out)
        elif audio is None:
            self._text(Insert(media.left_out_note(label)), out)
        elif self._way.notes.audio is not None:
            self._speak(raw, label, audio, out)
        else:
            self._text(Insert(_audio_link(raw, data, label, audio)), out)

    def _image(self, raw: bytes, data: str, mime: str, signature: str | None, out: list[Delta]) -> None:
        url = self._image_url(raw, data, mime, signature)
        before = len(out)
        self._text(Insert(media.image_markdown(url)), out)
        if self._way.box.settings.images_extra:
            entry = {"index": self._images, "type": "image_url", "image_url": {"url": url}}
            if len(out) == before:
                out.append({})
            out[-1]["images"] = [entry]
        self._images += 1

    def _image_url(self, raw: bytes, data: str, mime: str, signature: str | None) -> str:
        """Where the picture can be had; one that cannot be stored travels inside the link."""
        box = self._way.box
        if box.settings.images != "inline":
            try:
                base_url = box.settings.image_base_url or self._way.origin.base_url
                kept = signature and tagged(Signed(signature, self._way.call.profile.family, self._way.upstream))
                return base_url.rstrip("/") + box.images.put(raw, mime, kept)
            except OSError:
                return media.data_url(mime, data)  # a full disk must not cost the picture
        if signature is not None:
            self._keeper.image(hashlib.sha256(raw).hexdigest(), signature)
        return media.data_url(mime, data)

    def _speak(self, raw: bytes, label: str, mime: str, out: list[Delta]) -> None:
        """Speech that was asked for: samples as they came, with a WAV head where that form was asked for."""
        if not self._way.live:
            self._audio_type = mime, media.pcm_rate(label)
            self._audio.append(raw)
            return
        piece: Delta = {}
        if not self._speaks:
            self._speaks = True
            piece["id"] = "audio_" + ids.token62(24)
            if self._wants_wav(mime):
                raw = media.wav_header(media.pcm_rate(label)) + raw
        out.append({"audio": {**piece, "data": base64.b64encode(raw).decode("ascii"), "transcript": ""}})

    def _wants_wav(self, mime: str) -> bool:
        audio = self._way.notes.audio
        return mime == media.PCM and audio is not None and audio.get("format") == "wav"

    def _whole_audio(self) -> Delta:
        raw = b"".join(self._audio)
        mime, rate = self._audio_type
        if self._wants_wav(mime):
            raw = media.wav_header(rate, len(raw)) + raw
        self._audio = []
        return {
            "id": "audio_" + ids.token62(24),
            "data": base64.b64encode(raw).decode("ascii"),
            "expires_at": ids.now() + _AUDIO_LIFE,
            "transcript": "",
        }


class _Markdown(Protocol):
    def __call__(self, value: Mapping[str, Any], /) -> str: ...


_MARKDOWN: Mapping[str, _Markdown] = {
    "executableCode": media.code_markdown,
    "codeExecutionResult": media.output_markdown,
    "fileData": media.file_markdown,
}


def _audio_link(raw: bytes, data: str, label: str, mime: str) -> str:
    """Speech nobody asked for as a link that plays; headless samples get a head for that."""
    if mime == media.PCM:
        raw = media.wav_header(media.pcm_rate(label), len(raw)) + raw
        mime, data = "audio/wav", base64.b64encode(raw).decode("ascii")
    return media.link_markdown("audio", media.data_url(mime, data))


# -- values ------------------------------------------------------------------------------------------------------------


def dumped(value: Any) -> bytes:
    """Compact JSON. Raises ``Fault`` for what only an upstream's wrong answer can hold."""
    try:
        return dumps(value)
    except ValueError:
        raise bad_answer("a value cannot be written as JSON") from None


def text_of(value: Any) -> str:
    """The same as text, for JSON inside JSON."""
    return dumped(value).decode("utf-8")


def mended(text: str) -> str:
    """The same text with U+FFFD for lone surrogates, which no UTF-8 can carry."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unwrapped(text: str) -> str:
    """The one value inside ``{"value": …}``, where a schema had to be wrapped; any other text as it is."""
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return text_of(whole["value"]) if isinstance(whole, dict) and whole.keys() == {"value"} else text


def chat_logprobs(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``logprobsResult`` token by token."""
    chosen = result.get("chosenCandidates")
    tops = result.get("topCandidates")
    tops = tops if isinstance(tops, list) else []
    tokens = []
    for position, candidate in enumerate(chosen if isinstance(chosen, list) else ()):
        token = _token(candidate)
        if token is None:
            continue
        top = tops[position] if position < len(tops) else None
        others = top.get("candidates") if isinstance(top, Mapping) else None
        entries = (_token(other) for other in (others if isinstance(others, list) else ()))
        token["top_logprobs"] = [entry for entry in entries if entry is not None]
        tokens.append(token)
    return tokens


def _token(candidate: Any) -> dict[str, Any] | None:
    if not isinstance(candidate, Mapping) or not isinstance(candidate.get("token"), str):
        return None
    text = mended(candidate["token"])
    value = candidate.get("logProbability", 0.0)
    fine = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    # -9999.0 is OpenAI's own word for "too small to tell".
    return {"token": text, "logprob": float(value) if fine else -9999.0, "bytes": list(text.encode("utf-8"))}


def chat_usage(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object, details included."""
    prompt, completion, cached, reasoning, prompted, completed, _ = usage
    details = {"cached_tokens": cached, "audio_tokens": prompted.get("audio", 0) if prompted else 0}
    for modality in ("text", "image") if prompted else ():
        if modality in prompted:
            details[f"{modality}_tokens"] = prompted[modality]
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": completed.get("audio", 0) if completed else 0,
        },
    }
