"""``RunningSandbox``: the emulator of Google's API in a thread of its own, for gateways in processes of theirs."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from antigravity2api.sandbox import Sandbox
from antigravity2api.sandbox.app import Seen


class RunningSandbox:
    """Use as a context manager; ``stop`` ends it earlier."""

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._sandbox: Sandbox

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        self._sandbox = Sandbox(**self._options)
        await self._sandbox.start()

    def _run(self, work: Any) -> Any:
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, self._loop)
        return done.result(10)

    @property
    def url(self) -> str:
        """Its root."""
        return self._sandbox.base_url

    @property
    def requests(self) -> list[Seen]:
        """What arrived so far."""
        return list(self._sandbox.requests)

    @property
    def generations(self) -> list[Seen]:
        """Of these the ones that asked for an answer."""
        return [seen for seen in self.requests if seen.operation.endswith("enerateContent")]

    def stop(self) -> None:
        """Nobody listens there any more."""
        self._run(self._sandbox.stop())
