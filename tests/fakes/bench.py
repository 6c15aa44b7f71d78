"""``Bench``: a gateway in front of scripted upstreams, all in the test's own loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest

from antigravity2api.credentials import Record, Sort
from antigravity2api.dialects.base import Origin
from antigravity2api.dialects.chat import ChatDialect
from antigravity2api.errors import Fault
from antigravity2api.gateway import Gateway, Route, Timing, Trace
from antigravity2api.job import Job
from antigravity2api.pool import Pool, static_ready
from antigravity2api.upstreams.antigravity import Antigravity
from antigravity2api.upstreams.base import Address
from antigravity2api.upstreams.gemini_api import GeminiApi
from fakes.chat_answer import TABLE, make_box
from fakes.transport import FakeResponder, FakeTransport, Play


class Bench:
    """A gateway in front of scripted upstreams: ``gemini`` with as many keys as asked, and ``antigravity`` if asked."""

    def __init__(self, *, keys: int = 1, second: bool = False, attempts: int = 3, **timing: float) -> None:
        self.transport = FakeTransport()
        self.box = make_box()
        routes = [_route(GeminiApi(Address("gemini", 443, tls=True), TABLE), keys)]
        if second:
            routes.append(_route(Antigravity(Address("antigravity", 443, tls=True), TABLE), 1))
        self.gateway = Gateway(routes, self.transport, self.box, timing=Timing(**timing), max_attempts=attempts)
        self.dialect = ChatDialect()
        self.trace = Trace()

    async def ask(self, responder: FakeResponder | None = None, **body: Any) -> FakeResponder:
        """One request; raises the ``Fault`` of one that failed before its first byte."""
        responder = responder or FakeResponder()
        asked = {"model": "gemini-2.5-flash", "messages": [{"role": "user", "content": "hi"}], **body}
        origin = Origin("http://localhost:8045", None, self.gateway.first_upstream)
        trace = self.trace = Trace()
        job = Job(self.gateway, self.dialect, origin, responder, trace)
        job.begin(orjson.dumps(asked))
        try:
            await responder.over.wait()
        except asyncio.CancelledError:
            job.cancel()
            await responder.over.wait()
            raise
        assert responder.ended
        if trace.fault is not None and responder.status != 200:
            raise trace.fault
        return responder

    async def fault(self, **body: Any) -> Fault:
        """The ``Fault`` of a request that fails."""
        with pytest.raises(Fault) as caught:
            await self.ask(**body)
        return caught.value

    def play(self, *answers: Play, host: str = "gemini") -> None:
        self.transport.play(host, *answers)

    @property
    def sent(self) -> list[Any]:
        """The body of each request that went upstream; an envelope's inner one."""
        return [each.json.get("request", each.json) for each in self.transport.sent]


def _route(upstream: Any, credentials: int) -> Route:
    made = [
        Record(
            id=f"{upstream.name}-{n}",
            upstream=upstream.name,
            sort=Sort.API_KEY,
            secret={"key": f"secret-{n}"},
            project="project",
        )
        for n in range(1, credentials + 1)
    ]
    return Route(upstream, Pool(made, static_ready, clock=time.monotonic))


def said(answer: FakeResponder) -> str:
    """The text of a whole answer."""
    return answer.json["choices"][0]["message"]["content"]
