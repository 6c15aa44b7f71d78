"""Answers that come in pieces: a token at the end of each, or checkpoints within a stream that then breaks."""

from __future__ import annotations

import base64
from typing import Any

from antigravity2api.sandbox.exchange import Exchange
from antigravity2api.sandbox.fault import Fault
from antigravity2api.sandbox.google import GoogleError, Json

_CHAPTERS = ("Chapter 1. It begins.\n", "Chapter 2. It goes on.\n", "Chapter 3. It ends.\n")
_SPOKEN = ("Once ", "upon ", "a time ", "there was ", "an end.")
_CHECKPOINT, _BREAK = 2, 4
"""Words before the checkpoint, and before the connection breaks."""
_PART = b"sandbox piece "


def _token(number: int) -> str:
    return base64.b64encode(_PART + b"%d" % number).decode()


def _piece(ex: Exchange, last: int) -> int:
    """Which piece the request asks for. Raises GoogleError for a token that was never given out."""
    token = ex.request.get("continuationToken")
    if token is None:
        return 0
    try:
        data = base64.b64decode(str(token).replace("-", "+").replace("_", "/"))
        number = int(data.removeprefix(_PART)) if data.startswith(_PART) else -1
    except ValueError:
        number = -1
    if not 0 < number <= last:
        raise GoogleError(400, "Invalid continuation token.")
    return number


def _event(ex: Exchange, text: str, **candidate: Any) -> Json:
    rest = {key: value for key, value in ex.chunks()[-1].items() if key != "candidates"}
    content = {"parts": [{"text": text}], "role": "model"} if text else {"role": "model"}
    return {"candidates": [{"content": content, "index": 0, **candidate}], **rest}


async def _chapters(ex: Exchange) -> None:
    try:
        number = _piece(ex, len(_CHAPTERS) - 1)
    except GoogleError as error:
        await ex.send_error(error)
        return
    end: Json = {"finishReason": "STOP"}
    if number < len(_CHAPTERS) - 1:
        end = {"finishReason": "CONTINUATION", "continuationToken": _token(number + 1)}
    await ex.play([_event(ex, _CHAPTERS[number]), _event(ex, "", **end)])


async def _broken_once(ex: Exchange) -> None:
    """A checkpoint, more words, a break; with the token the words since then once more, and the rest."""
    try:
        number = _piece(ex, 1)
    except GoogleError as error:
        await ex.send_error(error)
        return
    if number:
        words = [_event(ex, word) for word in _SPOKEN[_CHECKPOINT:]]
        await ex.play([*words, _event(ex, "", finishReason="STOP")])
        return
    spoken = [_event(ex, word) for word in _SPOKEN[:_BREAK]]
    spoken[_CHECKPOINT - 1]["candidates"][0]["continuationToken"] = _token(1)
    if not ex.stream:  # a whole answer has no middle
        await ex.play([_event(ex, "".join(_SPOKEN), finishReason="STOP")])
        return
    await ex.start()
    for data in ex.pieces(spoken):
        await ex.piece(data)
    ex.conn.close()


PIECE_FAULTS = (
    Fault("continued", "The answer comes in three pieces, each asked for with the token of the one before.", _chapters),
    Fault(
        "checkpoint-break",
        "A token within the stream, then the connection breaks; with the token the answer goes on from there.",
        _broken_once,
    ),
)
