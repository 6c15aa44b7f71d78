"""An answer as Google sends it: one response, or a list of events with text in pieces and running totals."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from antigravity2api.sandbox import usage
from antigravity2api.sandbox.answers import Answer, Candidate
from antigravity2api.sandbox.google import Json

_TOKENS = re.compile(r"\s*\S+|\s+")
_PIECE = 3
_MOST_PIECES = 200


def unary(answer: Answer) -> Json:
    """The whole answer in one response."""
    candidates = []
    for index, candidate in enumerate(answer.candidates):
        parts = _signed(answer, candidate.parts)
        shown = _candidate(index, parts, candidate.finish)
        shown.update(candidate.extras)
        shown.update(
            _logprobs(answer, "".join(part["text"] for part in parts if "text" in part and not part.get("thought")))
        )
        candidates.append(shown)
    total, images = _written(answer.candidates)
    return _response(answer, candidates, total, images)


def events(answer: Answer) -> list[Json]:
    """The answer as a stream of responses; every text is a delta, every usage a total so far."""
    made: list[Json] = []
    totals = _Totals()
    for index, candidate in enumerate(answer.candidates):
        parts = list(_pieces(answer, candidate))
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            shown = _candidate(index, [part], candidate.finish if last else None)
            if "text" in part and not part.get("thought"):
                shown.update(_logprobs(answer, part["text"]))
            if last:
                shown.update(candidate.extras)
            totals.add(part)
            made.append(_response(answer, [shown], totals.tokens, totals.images))
        if not parts:
            made.append(_response(answer, [_candidate(index, [], candidate.finish)], totals.tokens, totals.images))
        totals.next_text()
    return made


class _Totals:
    """Tokens written so far; a text is counted as a whole, however it was cut."""

    def __init__(self) -> None:
        self._before = 0
        self._bytes = 0
        self.images = 0

    @property
    def tokens(self) -> int:
        return self._before + -(-self._bytes // 4)

    def add(self, part: Json) -> None:
        if "text" in part:
            if not part.get("thought"):
                self._bytes += len(part["text"].encode("utf-8", "replace"))
            return
        self.next_text()
        self._before += usage.part_tokens(part)
        self.images += "inlineData" in part and part["inlineData"]["mimeType"].startswith("image/")

    def next_text(self) -> None:
        self._before, self._bytes = self.tokens, 0


def _written(candidates: Iterable[Candidate]) -> tuple[int, int]:
    totals = _Totals()
    for candidate in candidates:
        for part in candidate.parts:
            totals.add(part)
            totals.next_text()
    return totals.tokens, totals.images


def _candidate(index: int, parts: list[Json], finish: str | None) -> Json:
    content: Json = {"parts": parts, "role": "model"} if parts else {"role": "model"}
    shown: Json = {"content": content}
    if finish is not None:
        shown["finishReason"] = finish
    shown["index"] = index
    return shown


def _response(answer: Answer, candidates: list[Json], tokens: int, images: int) -> Json:
    response: Json = {
        "candidates": candidates,
        "usageMetadata": usage.metadata(answer.prompt, tokens, answer.thoughts, answer.tool_prompt, images),
        "modelVersion": answer.rules.model,
        "responseId": answer.response_id,
    }
    if answer.rules.vertex:
        response["usageMetadata"]["trafficType"] = "ON_DEMAND"
        # As steady as everything else: made of the question, not of the clock.
        response["createTime"] = f"2026-11-20T10:00:00.{int.from_bytes(answer.seed[:4], 'big') % 10**6:06d}Z"
    return response


def _signed(answer: Answer, parts: list[Json]) -> list[Json]:
    """The parts, signed where the family signs: first call, code, image, thought (Claude), else the last text."""
    result = [dict(part) for part in parts]
    place = _place_of_signature(answer, result)
    if place is not None:
        result[place]["thoughtSignature"] = answer.rules.signer.sign(result[place], answer.seed)
    return result


def _place_of_signature(answer: Answer, parts: list[Json]) -> int | None:
    profile = answer.rules.profile
    if profile.signatures == "none" or not profile.known or not parts:
        return None
    if profile.family == "claude":
        return 0 if parts[0].get("thought") else None
    for index, part in enumerate(parts):
        if "functionCall" in part or "executableCode" in part or ("inlineData" in part and profile.image_output):
            return index
    return len(parts) - 1 if profile.signatures == "strict" and not parts[-1].get("thought") else None


def _pieces(answer: Answer, candidate: Candidate) -> Iterator[Json]:
    """The parts as they come over a stream. Half of the answers (by seed) end with an empty text part of its own."""
    parts = candidate.parts
    place = _place_of_signature(answer, parts)
    trailing = answer.seed[3] % 2 == 0
    for index, part in enumerate(parts):
        if "text" not in part:
            signed = {"thoughtSignature": answer.rules.signer.sign(part, answer.seed)} if index == place else {}
            yield {**part, **signed}
            continue
        texts = pieces(part["text"])
        for number, text in enumerate(texts):
            piece: Json = {**part, "text": text}
            if index == place and number == len(texts) - 1 and (part.get("thought") or not trailing):
                # A thought is signed as a whole: its pieces are joined again before they return.
                whole = part if part.get("thought") else piece
                piece["thoughtSignature"] = answer.rules.signer.sign(whole, answer.seed)
            yield piece
    if parts and trailing:
        empty: Json = {"text": ""}
        if place == len(parts) - 1 and "text" in parts[place] and not parts[place].get("thought"):
            empty["thoughtSignature"] = answer.rules.signer.sign(empty, answer.seed)
        yield empty


def pieces(text: str) -> list[str]:
    """A text cut between words, a few words to a piece."""
    tokens = _TOKENS.findall(text)
    size = max(_PIECE, len(tokens) // _MOST_PIECES + 1)
    return ["".join(tokens[at : at + size]) for at in range(0, len(tokens), size)]


def _logprobs(answer: Answer, text: str) -> Json:
    if answer.logprobs is None or not text:
        return {}
    chosen: list[Json] = []
    top: list[Json] = []
    for token in _TOKENS.findall(text):
        number = sum(token.encode("utf-8", "replace"))
        picked = {"token": token, "tokenId": number, "logProbability": -0.01 - number % 7 / 100}
        chosen.append(picked)
        others: list[Any] = [
            {"token": f"{token}{other}", "tokenId": number + other, "logProbability": picked["logProbability"] - other}
            for other in range(1, answer.logprobs)
        ]
        top.append({"candidates": [picked, *others][: max(1, answer.logprobs)]})
    mean = sum(item["logProbability"] for item in chosen) / len(chosen)
    result: Json = {"chosenCandidates": chosen}
    if answer.logprobs:
        result["topCandidates"] = top
    return {"avgLogprobs": mean, "logprobsResult": result}
