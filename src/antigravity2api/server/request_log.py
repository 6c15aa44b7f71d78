"""The log line of a finished request, as JSON bytes.

Written piece by piece: most pieces are numbers and words of ours, or stand ready from an earlier request. A dictionary
of them and its encoding cost three times as much, which was a tenth of a plain answer.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

import orjson

from antigravity2api.errors import Fault
from antigravity2api.gateway import Trace
from antigravity2api.gemini.usage import Usage
from antigravity2api.telemetry import clean, stamp

_MOST_TOLD = 256
"""Changes, and loosened schemas, in one line."""
_FLAGS = {False: "false", True: "true"}


@lru_cache(1024)
def quoted(text: str) -> str:
    """A value as it stands in a line: cleaned, and JSON. Models, paths and credentials repeat."""
    return orjson.dumps(clean(text)).decode()


def milliseconds(seconds: float) -> float:
    """With two places."""
    return int(seconds * 100_000 + 0.5) / 100


def request_line(
    request_id: str, asked: str, status: int, seconds: float, sent_bytes: int, outcome: str, peer: str, who: str
) -> str:
    """How a line begins. ``asked`` and ``who`` are members that stand ready: what was asked for, and by which key."""
    if outcome == "ok" and status >= 400:
        outcome = "failed" if status >= 500 else "refused"
    return (
        f'{{"ts":"{stamp()}","level":"info","event":"request","id":"{request_id}",{asked},"status":{status},'
        f'"outcome":"{outcome}","ms":{milliseconds(seconds)},"bytes":{sent_bytes},"peer":{quoted(peer)}{who}'
    )


def generation(trace: Trace, usage: Usage | None) -> str:
    """What a line says more of a request to a model."""
    told = (
        f',"model":{quoted(trace.model)},"stream":{_FLAGS[trace.stream]},"upstream":{quoted(trace.upstream)}'
        f',"credential":{quoted(trace.credential)},"attempts":{trace.attempts}'
    )
    if trace.asked and trace.asked != trace.model:
        told += f',"asked":{quoted(trace.asked)}'
    if trace.first_event is not None:
        told += f',"first_ms":{milliseconds(trace.first_event)}'
    if usage is not None:
        told += (
            f',"prompt_tokens":{usage.prompt},"completion_tokens":{usage.completion}'
            f',"reasoning_tokens":{usage.reasoning}'
        )
    if trace.fault is not None:
        told += _failure(trace.fault)
    if trace.tries:
        told += f',"tries":{orjson.dumps(trace.tries, default=str).decode()}'
    if trace.applied:  # each of them whole: here is where somebody looks for all
        told += f',"applied":{orjson.dumps(", ".join(map(clean, trace.applied[:_MOST_TOLD]))).decode()}'
    if trace.loosened:
        entries = dict(islice(trace.loosened.items(), _MOST_TOLD))
        told += f',"loosened":{orjson.dumps(entries).decode()}'
    return told


def _failure(fault: Fault) -> str:
    told = f',"fault":"{fault.kind.value}"'
    if fault.code:
        told += f',"code":{quoted(fault.code)}'
    if fault.param:
        told += f',"param":{orjson.dumps(clean(fault.param)).decode()}'
    if fault.upstream_status:
        told += f',"upstream_status":{fault.upstream_status:d}'
    return told
