"""From settings to a running gateway. Objects are made here and nowhere else; each worker process makes its own."""

from __future__ import annotations

import gc
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from antigravity2api.credentials import Record, Sort
from antigravity2api.dialects.base import ChatSettings, Toolbox
from antigravity2api.dialects.chat import ChatDialect
from antigravity2api.gateway import Gateway, Route, Timing
from antigravity2api.gemini.models import ModelTable
from antigravity2api.gemini.signature import SignatureStore
from antigravity2api.pool import Pool, static_ready
from antigravity2api.remote import RemoteImages
from antigravity2api.server.app import App
from antigravity2api.server.auth import Keys
from antigravity2api.server.listen import PortInUse, Server, bind, run_loop, run_workers
from antigravity2api.server.service import Limits
from antigravity2api.settings import Settings, configured_upstreams
from antigravity2api.store.database import DatabaseRefused, at_start, database_path
from antigravity2api.store.images import DiskImages
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
from antigravity2api.telemetry import Log
from antigravity2api.upstreams.antigravity import Antigravity, quota_group
from antigravity2api.upstreams.base import Upstream
from antigravity2api.upstreams.gemini_api import GeminiApi
from antigravity2api.upstreams.transport import HttpTransport, address_of

Announce = Callable[[Sequence[str]], None]
SANDBOX_KEY = "sandbox"
"""The embedded sandbox takes any key; this one says where it comes from."""


def run(settings: Settings, *, sandbox: bool, announce: Announce) -> int:
    """Serve until told to stop; the exit code. ``announce`` gets the addresses once they are bound."""
    try:
        # Before any worker is there: one process makes or upgrades the file.
        warnings = at_start(database_path(settings.database_url))
    except DatabaseRefused as refused:
        sys.stderr.write(f"error: {refused}\n")
        return 2
    sys.stderr.writelines(f"warning: {warning}\n" for warning in warnings)
    try:
        sockets = bind(settings.host, settings.port)
    except PortInUse as taken:
        sys.stderr.write(f"error: {taken.strerror}: choose another one with --port.\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"error: cannot listen on {settings.host}:{settings.port}: {error.strerror}.\n")
        return 1
    announce([_url(sock) for sock in sockets])
    worker = partial(_work, settings, sockets, sandbox=sandbox)
    return worker(0) if settings.workers == 1 else run_workers(settings.workers, sockets, worker)


def _work(settings: Settings, sockets: Sequence[socket.socket], index: int, *, sandbox: bool) -> int:
    run_loop(_serve(settings, sockets, sandbox=sandbox))
    return 0


async def _serve(settings: Settings, sockets: Sequence[socket.socket], *, sandbox: bool) -> None:
    log = Log(level=settings.log_level)
    log.start()
    emulator = None
    if sandbox:
        from antigravity2api.sandbox import Sandbox  # noqa: PLC0415 - only who asks for it pays for it

        emulator = Sandbox()
        await emulator.start()
    live = LiveDatabase(database_path(settings.database_url), lambda *about: _tell(log, *about))
    transport = HttpTransport(connect_timeout=settings.timeout_connect, proxy=None if sandbox else settings.proxy)
    try:
        models = ModelTable.load(settings.aliases)
        # What the sandbox signs is kept apart: a real upstream would refuse it.
        signatures = DurableSignatures(live, realm="sandbox" if sandbox else "")
        app = build(settings, models, transport, log, signatures, sandbox_url=emulator.base_url if emulator else None)

        def report(message: str, error: BaseException | None) -> None:
            log.event("error", message, error=type(error).__name__ if error else None)

        server = Server(app, sockets, _limits(settings), report, on_drain=app.drain)
        _settle_memory()
        await server.run()
    finally:
        await transport.close()
        if emulator is not None:
            await emulator.stop()
        live.close()
        log.close()


def _tell(log: Log, level: str, event: str, reason: str) -> None:
    log.event(level, event, reason=reason)


def _settle_memory() -> None:
    """Tell the collector that what exists now stays, and to look for cycles less often: answers make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def build(
    settings: Settings,
    models: ModelTable,
    transport: HttpTransport,
    log: Log,
    signatures: SignatureStore,
    *,
    sandbox_url: str | None = None,
) -> App:
    """The application for these settings; within a running loop."""
    images = DiskImages(settings.data_dir / "images", ttl=settings.images_ttl, max_bytes=settings.images_max_bytes)
    box = Toolbox(models, signatures, images, _chat_settings(settings))
    gateway = Gateway(
        _routes(settings, models, sandbox_url),
        transport,
        box,
        timing=Timing(
            first_event=settings.timeout_first_event,
            gap=settings.timeout_gap,
            total=settings.timeout_total,
            heartbeat=settings.heartbeat,
        ),
        max_attempts=settings.max_attempts,
        prefetch=RemoteImages().prefetch if settings.fetch_images else None,
    )
    return App(gateway, ChatDialect(), Keys(settings.api_key), images, log, max_body=settings.max_body)


def _routes(settings: Settings, models: ModelTable, sandbox_url: str | None) -> list[Route]:
    """The configured upstreams in the operator's order; the sandbox is the only one when it was asked for."""

    def pool(records: list[Record], quota_group: Callable[[str], str] = str) -> Pool:
        return Pool(records, static_ready, clock=time.monotonic, cooldown=settings.cooldown, quota_group=quota_group)

    def gemini(url: str, keys: Sequence[str]) -> Route:
        upstream: Upstream = GeminiApi(address_of(url), models, user_agent=settings.user_agent)
        records = [
            Record(id=f"gemini-{n}", upstream="gemini", sort=Sort.API_KEY, secret={"key": key})
            for n, key in enumerate(keys, 1)
        ]
        return Route(upstream, pool(records))

    if sandbox_url is not None:
        return [gemini(sandbox_url, [SANDBOX_KEY])]
    routes = {}
    configured = configured_upstreams(settings)
    if "gemini" in configured:
        routes["gemini"] = gemini(settings.gemini_base_url, settings.gemini_api_key)
    if "antigravity" in configured and settings.antigravity_access_token:
        record = Record(
            id="antigravity-1",
            upstream="antigravity",
            sort=Sort.ACCESS_TOKEN,
            secret={"access_token": settings.antigravity_access_token},
            project=settings.antigravity_project,
        )
        antigravity: Upstream = Antigravity(
            address_of(settings.antigravity_base_url), models, user_agent=settings.user_agent
        )
        routes["antigravity"] = Route(antigravity, pool([record], quota_group))
    return [routes[name] for name in settings.upstreams if name in routes]


def _chat_settings(settings: Settings) -> ChatSettings:
    return ChatSettings(
        temperature=settings.default_temperature,
        top_p=settings.default_top_p,
        top_k=settings.default_top_k,
        max_tokens=settings.default_max_tokens,
        headroom=settings.headroom,
        show_thoughts=settings.show_thoughts,
        strict_params=settings.strict_params,
        mid_system=settings.mid_system,
        filler=settings.filler,
        max_n=settings.max_n,
        images_extra=settings.images_extra,
        images=settings.images,
        image_base_url=settings.image_base_url,
        fetch_images=settings.fetch_images,
        system_instruction=settings.system_instruction,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        head=settings.timeout_head,
        body=settings.timeout_body,
        keepalive=settings.timeout_keepalive,
        write=settings.timeout_write,
        drain=settings.timeout_drain,
    )


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
