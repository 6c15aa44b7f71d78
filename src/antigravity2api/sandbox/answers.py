"""A deterministic answer to a checked request: what a model of that family would send, made of the request alone."""

from __future__ import annotations

import array
import base64
import hashlib
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from antigravity2api.sandbox import png, usage
from antigravity2api.sandbox.calls import wanted_calls
from antigravity2api.sandbox.config import has_tool
from antigravity2api.sandbox.contents import Rules
from antigravity2api.sandbox.fit import Fitter
from antigravity2api.sandbox.google import Json
from antigravity2api.sandbox.prose import answer_text, question_text, thought_text
from antigravity2api.sandbox.question import Question, read, words

_LEVEL_TOKENS = {"MINIMAL": 8, "LOW": 24, "MEDIUM": 48, "HIGH": 96, "XHIGH": 160}
_RUN = words("compute calculate execute run code python sum product result")
_CALL_ID = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(slots=True)
class Candidate:
    """One candidate before it is cut into events."""

    parts: list[Json]
    finish: str = "STOP"
    extras: Json = field(default_factory=dict)
    """What stands beside the content: ``groundingMetadata``, ``urlContextMetadata`` …"""


@dataclass(slots=True)
class Answer:
    """A whole answer: the candidates and the figures of its usage."""

    rules: Rules
    seed: bytes
    candidates: list[Candidate]
    prompt: Counter[str]
    thoughts: int
    tool_prompt: int
    logprobs: int | None = None
    """How many alternatives to report for each token; None for no log probabilities."""

    @property
    def response_id(self) -> str:
        """The id that every event of the answer repeats."""
        if self.rules.profile.family == "claude":
            return "msg_vrtx_01" + self.seed.hex()[:22]
        return base64.urlsafe_b64encode(self.seed[:16]).decode().rstrip("=")


def seed_of(model: str, request: Json) -> bytes:
    """What makes an answer the same for the same request."""
    return hashlib.sha256(model.encode() + json.dumps(request, sort_keys=True).encode()).digest()


def answer(request: Json, rules: Rules) -> Answer:
    """The answer to a request that has passed the checks."""
    config: Json = request.get("generationConfig") or {}
    seed = seed_of(rules.model, request)
    question = read(question_text(request["contents"]))
    first, tool_prompt = _candidate(request, rules, question, seed)
    candidates = [first]
    for number in range(1, config.get("candidateCount", 1)):
        parts = [
            {**part, "text": f"{part['text']} (variant {number + 1})"} if "text" in part else part
            for part in first.parts
        ]
        candidates.append(Candidate(parts, first.finish, first.extras))
    thoughts = _thinking(config.get("thinkingConfig") or {}, rules)
    limit = config.get("maxOutputTokens")
    if limit is not None:
        thoughts = min(thoughts, limit)
    for candidate in candidates:
        _stop(candidate, config.get("stopSequences") or [])
        if limit is not None:
            _cut(candidate, limit - thoughts)
    if thoughts and (config.get("thinkingConfig") or {}).get("includeThoughts"):
        text = thought_text(question)
        for candidate in candidates:
            candidate.parts.insert(0, {"text": text, "thought": True})
    return Answer(
        rules, seed, candidates, usage.prompt_tokens(request), thoughts, tool_prompt,
        logprobs=config.get("logprobs", 0) if config.get("responseLogprobs") else None,
    )  # fmt: skip


def _candidate(request: Json, rules: Rules, question: Question, seed: bytes) -> tuple[Candidate, int]:
    config: Json = request.get("generationConfig") or {}
    modalities = config.get("responseModalities") or (["TEXT", "IMAGE"] if rules.profile.image_output else ["TEXT"])
    if "IMAGE" in modalities:
        return _picture(config, question, seed, in_words="TEXT" in modalities), 0
    if "AUDIO" in modalities or rules.profile.audio_output:
        return Candidate([_tone(question)]), 0
    calls = wanted_calls(request, question)
    if calls:
        return Candidate([_call_part(call, rules, seed, number) for number, call in enumerate(calls)]), 0
    if has_tool(request, "codeExecution") and (question.sum or question.words & _RUN):
        return _code(question, seed)
    text = _formatted(config, request, question)
    if text is not None:
        return Candidate([{"text": text}]), 0
    text = answer_text(request, question)
    if has_tool(request, "googleSearch"):
        return _grounded(text, question)
    if has_tool(request, "urlContext") and question.urls:
        retrieved = [
            {"retrievedUrl": url, "urlRetrievalStatus": "URL_RETRIEVAL_STATUS_SUCCESS"} for url in question.urls
        ]
        return Candidate([{"text": text}], extras={"urlContextMetadata": {"urlMetadata": retrieved}}), 100 * len(
            retrieved
        )
    return Candidate([{"text": text}]), 0


def _call_part(call: Json, rules: Rules, seed: bytes, number: int) -> Json:
    raw = hashlib.sha256(seed + bytes((number,))).digest()
    if rules.profile.family == "claude":
        return {"functionCall": {"id": "toolu_vrtx_01" + raw.hex()[:22], **call}}
    if rules.profile.signatures != "strict":
        return {"functionCall": call}
    return {"functionCall": {"id": "".join(_CALL_ID[byte % 36] for byte in raw[:8]), **call}}


def _formatted(config: Json, request: Json, question: Question) -> str | None:
    """JSON or one word, where the request asks for it."""
    schema: Any = config.get("responseSchema", config.get("responseJsonSchema"))
    mime_type = config.get("responseMimeType")
    if mime_type == "text/x.enum":
        return str(Fitter(question, schema).value(schema))
    if mime_type != "application/json":
        return None
    if schema is None:
        return json.dumps({"answer": answer_text(request, question)}, ensure_ascii=False)
    return json.dumps(Fitter(question, schema).value(schema), ensure_ascii=False)


def _picture(config: Json, question: Question, seed: bytes, *, in_words: bool) -> Candidate:
    image: Json = config.get("imageConfig") or {}
    width, height = png.size_of(image.get("aspectRatio", "1:1"), image.get("imageSize", "1K"))
    drawn = png.draw(width, height, seed, cat="cat" in question.words or "\u732b" in question.text)
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(drawn).decode()}}
    if not in_words:
        return Candidate([part])
    return Candidate([{"text": f"Here is a drawing for \u201c{' '.join(question.text.split())[:120]}\u201d."}, part])


def _tone(question: Question) -> Json:
    """Raw 16-bit samples at 24 kHz, a tenth of a second for each word."""
    length = 2400 * min(50, max(1, len(question.text.split())))
    samples = array.array("h", (int(6000 * math.sin(at * math.tau * 440 / 24_000)) for at in range(length)))
    data = base64.b64encode(samples.tobytes()).decode()
    return {"inlineData": {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": data}}


def _code(question: Question, seed: bytes) -> tuple[Candidate, int]:
    expression, value = question.sum or ("1 + 1", "2")
    identity = "ce" + seed.hex()[:6]
    parts: list[Json] = [
        {"executableCode": {"language": "PYTHON", "code": f"result = {expression}\nprint(result)\n", "id": identity}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": f"{value}\n", "id": identity}},
        {"text": f"The result of {expression} is {value}."},
    ]
    return Candidate(parts), 60


def _grounded(text: str, question: Question) -> tuple[Candidate, int]:
    """Search results for each sentence; segments are counted in bytes of UTF-8, as Google counts them."""
    query = " ".join(question.text.split())[:120] or "sandbox"
    chunks: list[Json] = []
    supports: list[Json] = []
    at = 0
    for sentence in _sentences(text):
        begin = text.index(sentence, at)
        at = begin + len(sentence)
        segment: Json = {"endIndex": len(text[:at].encode()), "text": sentence}
        if begin:
            segment["startIndex"] = len(text[:begin].encode())
        number = len(chunks)
        title = f"source{number + 1}.example.com"
        chunks.append({"web": {"uri": f"https://{title}/answer", "title": title, "domain": title}})
        supports.append({"segment": segment, "groundingChunkIndices": [number]})
    found = {
        "webSearchQueries": [query],
        "searchEntryPoint": {"renderedContent": '<div class="container"><a class="chip">sandbox</a></div>\n'},
        "groundingChunks": chunks,
        "groundingSupports": supports,
    }
    return Candidate([{"text": text}], extras={"groundingMetadata": found}), 120


def _sentences(text: str) -> list[str]:
    found, start = [], 0
    for at, char in enumerate(text):
        if char in ".!?" and (at + 1 == len(text) or text[at + 1] == " "):
            found.append(text[start : at + 1].strip())
            start = at + 1
    rest = text[start:].strip()
    return [sentence for sentence in [*found, rest] if sentence][:8]


def _thinking(config: Json, rules: Rules) -> int:
    """How many tokens of thought this request pays for."""
    profile = rules.profile
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    if profile.thinking == "none" or budget == 0:
        return 0
    if profile.thinking == "any" and not config:
        return 0
    if level is not None:
        return _LEVEL_TOKENS.get(level, 24)
    if budget is not None:
        return 40 if budget < 0 else min(budget, 64)
    if profile.thinking == "budget":
        return 40 if profile.default_budget else 0
    return _LEVEL_TOKENS.get(profile.default_level or "LOW", 24)


def _stop(candidate: Candidate, stops: list[str]) -> None:
    """End the text before the first stop sequence."""
    for index, part in enumerate(candidate.parts):
        text = part.get("text")
        if text is None:
            continue
        found = [at for at in (text.find(stop) for stop in stops) if at >= 0]
        if found:
            candidate.parts[index:] = [{**part, "text": text[: min(found)]}] if min(found) else []
            candidate.extras = {}
            return


def _cut(candidate: Candidate, limit: int) -> None:
    """End the parts where the tokens end; a picture is never cut."""
    spent = 0
    for index, part in enumerate(candidate.parts):
        if "inlineData" in part:
            continue
        cost = usage.part_tokens(part)
        if spent + cost <= limit:
            spent += cost
            continue
        rest = (
            part["text"].encode("utf-8", "replace")[: 4 * max(0, limit - spent)].decode("utf-8", "ignore")
            if "text" in part
            else ""
        )
        candidate.parts[index:] = [{**part, "text": rest}] if rest else []
        candidate.finish = "MAX_TOKENS"
        candidate.extras = {}
        return
