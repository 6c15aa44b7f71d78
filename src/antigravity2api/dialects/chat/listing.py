"""``/v1/models``: each entry in OpenAI's and Anthropic's shape at once, so that both SDKs read the same answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from antigravity2api.gemini.models import ModelEntry


def list_models(entries: Iterable[ModelEntry], created: int) -> bytes:
    """The list, in the table's order."""
    data = [_entry(entry, created) for entry in entries]
    return orjson.dumps(
        {
            "object": "list",
            "data": data,
            "has_more": False,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


def one_model(entry: ModelEntry, created: int) -> bytes:
    """A single model."""
    return orjson.dumps(_entry(entry, created))


def _entry(entry: ModelEntry, created: int) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "id": entry.id,
        "object": "model",
        "type": "model",
        "created": created,
        "created_at": datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "owned_by": "google",
        "display_name": entry.display_name or entry.id,
    }
    if entry.input_limit is not None:
        whole["context_length"] = entry.input_limit
    if entry.output_limit is not None:
        whole["max_output_tokens"] = entry.output_limit
    return whole
