"""The lists in a running process: asked of the sandbox, kept, taken up again, and never in anybody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini.call import Credential
from antigravity2api.gemini.models import ModelTable
from antigravity2api.model_lists import FORGET, READ, WRITE, ModelLists
from antigravity2api.sandbox import Sandbox
from antigravity2api.sandbox.catalogue import CODE_ASSIST_MODELS, MODELS
from antigravity2api.upstreams.antigravity import Antigravity
from antigravity2api.upstreams.base import Upstream
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.shaping import address_of
from antigravity2api.upstreams.transport import HttpTransport
from antigravity2api.upstreams.vertex import Vertex

TABLE = ModelTable.load()
CREDENTIALS = {
    "gemini": Credential("gemini-1", "key"),
    "vertex": Credential("vertex-1", "token", "p-1"),
    "antigravity": Credential("antigravity-1", "token", "p-1"),
}


class Cache:
    """A table of one row an upstream."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[Any, ...]] = {}
        self.written = asyncio.Event()

    def read(self, sql: str, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
        assert sql == READ
        return self.rows.get(parameters[0])

    def write(self, sql: str, parameters: Sequence[Any], size: int = 0) -> None:
        if sql == WRITE:
            assert size == len(parameters[3])
            self.rows[parameters[0]] = tuple(parameters[1:])
            self.written.set()
        else:
            assert sql == FORGET


class World:
    """A sandbox, and lists that ask it."""

    def __init__(self, sandbox: Sandbox, transport: HttpTransport) -> None:
        self.sandbox = sandbox
        self.transport = transport
        self.cache = Cache()
        self.told: list[tuple[str, str, str]] = []
        self.now = 1_000_000.0
        self.credentials: dict[str, Credential] = dict(CREDENTIALS)

    def upstreams(self, *names: str) -> list[Upstream]:
        address = address_of(self.sandbox.base_url)
        made: dict[str, Upstream] = {
            "gemini": GeminiApi(address, TABLE),
            "vertex": Vertex("p-1", "global", TABLE, base_url=self.sandbox.base_url),
            "antigravity": Antigravity(address, TABLE),
        }
        return [made[name] for name in names]

    def lists(self, *names: str, **more: Any) -> ModelLists:
        async def credential_for(upstream: str) -> Credential:
            if upstream not in self.credentials:
                raise Fault(Kind.CREDENTIAL, "none")
            return self.credentials[upstream]

        def report(level: str, event: str, reason: str) -> None:
            self.told.append((level, event, reason))

        return ModelLists(
            TABLE,
            self.upstreams(*(names or ("gemini",))),
            self.transport,
            credential_for,
            cache=self.cache,
            report=report,
            wall=lambda: self.now,
            **more,
        )

    @property
    def asked(self) -> list[str]:
        return [seen.operation for seen in self.sandbox.requests]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with Sandbox() as sandbox:
        transport = HttpTransport()
        yield World(sandbox, transport)
        await transport.close()


async def until(done: Callable[[], bool]) -> None:
    """Give the background its turns until something is so."""
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - what is waited for is a state, of several objects
            await asyncio.sleep(0)


async def test_every_upstream_of_the_sandbox_agrees_with_the_table(world: World) -> None:
    lists = world.lists("gemini", "vertex", "antigravity")
    before = {entry.id for entry in lists.entries() if entry.kind in ("chat", "image")}
    for name in ("gemini", "vertex", "antigravity"):
        assert lists.serves(name, "gemini-3.8-flash") is None
        found = await lists.refresh(name)
        assert lists.known(name) is found
        assert lists.serves(name, "gemini-3.8-flash") is True
        assert lists.serves(name, "gemini-9-gone") is False
    after = {entry.id for entry in lists.entries() if entry.kind in ("chat", "image")}
    assert before <= after
    assert after - before <= {name for name, _ in CODE_ASSIST_MODELS} | set(MODELS)
    entry = lists.entry("models/gemini-4-neon")
    assert entry is not None
    assert entry.id == "gemini-4-neon"
    assert lists.entry("tab_flash_lite_preview") is None
    assert not any(seen.operation.endswith("GenerateContent") for seen in world.sandbox.requests)


async def test_a_long_list_comes_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antigravity2api.upstreams.model_pages._GEMINI_PAGE", 5)
    found = await world.lists().refresh("gemini")
    assert tuple(found.models) == tuple(MODELS)
    assert len(world.asked) == -(-len(MODELS) // 5)


async def test_a_user_says_whose_quota_the_list_of_vertex_costs(world: World) -> None:
    world.credentials["vertex"] = Credential("vertex-1", "no-role", "p-1")
    with pytest.raises(Fault) as caught:
        await world.lists("vertex").refresh("vertex")
    assert caught.value.reason == "IAM_PERMISSION_DENIED"
    first, second = world.sandbox.requests
    assert ("x-goog-user-project" in first.headers, second.headers.get("x-goog-user-project")) == (False, "p-1")


async def test_it_is_asked_behind_the_back_of_who_looks(world: World) -> None:
    lists = world.lists(first=3600.0)
    lists.start()
    assert lists.serves("gemini", "gemini-3.8-flash") is None
    assert lists.entries()
    await asyncio.sleep(0)
    assert world.asked == []
    lists.wanted()
    await until(world.cache.written.is_set)
    assert lists.serves("gemini", "gemini-3.8-flash") is True
    assert world.asked == ["listModels"]
    await lists.close()


async def test_it_is_asked_by_itself_soon_after_the_start(world: World) -> None:
    lists = world.lists(first=0.001)
    lists.start()
    await until(world.cache.written.is_set)
    assert world.asked == ["listModels"]
    await lists.close()


async def test_a_restart_knows_it_without_asking(world: World) -> None:
    await world.lists().refresh("gemini")
    world.sandbox.reset()
    world.now += 60
    again = world.lists(first=0.0)
    again.start()
    assert again.serves("gemini", "gemini-3.8-flash") is True
    assert again.serves("gemini", "gemini-9-gone") is False
    again.wanted()
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.asked == []
    await again.close()


@pytest.mark.parametrize("days", [8, -1])
async def test_a_list_that_is_too_old_or_from_the_future_says_nothing(world: World, days: int) -> None:
    await world.lists().refresh("gemini")
    world.now += days * 86400
    again = world.lists(first=3600.0)
    again.start()
    assert again.serves("gemini", "gemini-3.8-flash") is None
    await again.close()


async def test_another_root_has_another_list(world: World) -> None:
    await world.lists().refresh("gemini")
    elsewhere = World(world.sandbox, world.transport)
    elsewhere.cache = world.cache
    async with Sandbox() as other:
        elsewhere.sandbox = other
        again = elsewhere.lists(first=3600.0)
        again.start()
        assert again.known("gemini") is None
        await again.close()


async def test_what_another_process_learned_is_taken_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antigravity2api.model_lists._LOOK", 0.001)
    mine = world.lists(first=0.0)
    mine.start()
    await until(world.cache.written.is_set)
    other = world.lists()
    world.now += 60
    newer = await other.refresh("gemini")
    await until(lambda: mine.known("gemini") == newer)
    assert world.asked == ["listModels", "listModels"]
    await mine.close()


async def test_a_failure_is_told_once_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antigravity2api.model_lists._SHORTEST", 0.001)
    world.credentials["gemini"] = Credential("gemini-1", "invalid")
    lists = world.lists(first=0.0)
    lists.start()
    await until(lambda: len(world.asked) > 2)
    assert lists.serves("gemini", "gemini-3.8-flash") is None
    assert lists.entries()
    ((level, event, reason),) = world.told
    assert (level, event) == ("warning", "models")
    assert "gemini could not be asked for its models: API key not valid" in reason
    world.credentials["gemini"] = CREDENTIALS["gemini"]
    await until(world.cache.written.is_set)
    assert lists.serves("gemini", "gemini-3.8-flash") is True
    await lists.close()


async def test_without_a_credential_nobody_is_asked(world: World) -> None:
    world.credentials.clear()
    lists = world.lists(first=0.0)
    lists.start()
    await until(lambda: bool(world.told))
    assert world.asked == []
    assert lists.entries()
    await lists.close()


async def test_a_rotten_row_is_no_list(world: World) -> None:
    for row in [("c", 1_000_000.0, b"x"), ("c", "soon", b"{}"), ("c", 1_000_000.0, "text"), ("c", 1_000_000.0, b"{}")]:
        world.cache.rows["gemini"] = row
        lists = world.lists(first=3600.0)
        lists.start()
        assert lists.known("gemini") is None
        await lists.close()


async def test_a_request_goes_where_the_upstream_says_that_the_model_is(world: World) -> None:
    lists = world.lists("gemini", "vertex")
    gemini, vertex = world.upstreams("gemini", "vertex")
    assert lists.routed(vertex, "gemini-3.8-flash")
    assert not lists.routed(vertex, "gemma-4-31b-it")
    assert not lists.routed(gemini, "gemini-embedding-next")
    await lists.refresh("gemini")
    assert lists.routed(gemini, "gemini-2.0-flash")
    assert not lists.routed(gemini, "gemini-omni-1.2-flash")


async def test_an_upstream_is_asked_once_it_has_a_credential(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antigravity2api.model_lists._LOOK", 0.001)
    active: list[str] = []
    lists = world.lists("gemini", "vertex", first=0.0, active=lambda: active)
    lists.start()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (world.asked, world.told) == ([], [])
    assert [entry.id for entry in lists.entries()] == [entry.id for entry in TABLE.entries() if entry.on("gemini")]
    active.append("vertex")
    assert lists.entry("gemma-4-31b-it") is None
    await until(world.cache.written.is_set)
    assert world.asked == ["listPublisherModels"]
    assert lists.serves("gemini", "gemini-3.8-flash") is None
    await lists.close()
