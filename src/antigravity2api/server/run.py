"""From settings to a running gateway. Objects are made here and nowhere else; each worker process makes its own."""

from __future__ import annotations

import gc
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial

from antigravity2api.dialects.base import ChatSettings, Toolbox
from antigravity2api.dialects.chat import ChatDialect
from antigravity2api.gateway import Gateway, Timing
from antigravity2api.gemini.models import ModelTable
from antigravity2api.journal import Journal
from antigravity2api.metrics import Metrics
from antigravity2api.model_lists import ModelLists
from antigravity2api.remote import RemoteImages
from antigravity2api.server.accounts import Accounts, upstreams_of
from antigravity2api.server.app import App
from antigravity2api.server.auth import Keys
from antigravity2api.server.listen import PortInUse, Server, bind, run_loop, run_workers
from antigravity2api.server.service import Limits
from antigravity2api.settings import Settings, lacking_upstreams
from antigravity2api.shared import Board
from antigravity2api.store.database import DatabaseRefused, at_start, database_path
from antigravity2api.store.images import DiskImages
from antigravity2api.store.live import LiveDatabase
from antigravity2api.store.signatures import DurableSignatures
from antigravity2api.telemetry import Log
from antigravity2api.upstreams.transport import HttpTransport

Announce = Callable[[Sequence[str]], None]
SANDBOX_KEY = "sandbox"
"""The embedded sandbox takes any key; this one says where it comes from."""


def run(settings: Settings, *, sandbox: bool, announce: Announce) -> int:
    """Serve until told to stop; the exit code. ``announce`` gets the addresses once they are bound."""
    try:
        # Before any worker is there: one process makes or upgrades the file.
        begun = at_start(database_path(settings.database_url))
    except DatabaseRefused as refused:
        sys.stderr.write(f"error: {refused}\n")
        return 2
    lacking = not sandbox and bool(lacking_upstreams(settings))
    sys.stderr.writelines(f"{'error' if lost and lacking else 'warning'}: {text}\n" for text, lost in begun)
    try:
        sockets = bind(settings.host, settings.port)
    except PortInUse as taken:
        sys.stderr.write(f"error: {taken.strerror}: choose another one with --port.\n")
        return 1
    except OSError as error:
        sys.stderr.write(
            f"error: cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            "choose another address with --host or --port.\n"
        )
        return 1
    announce([_url(sock) for sock in sockets])
    board = Board(settings.workers) if settings.workers > 1 else None
    worker = partial(_work, settings, sockets, board, sandbox=sandbox)
    return worker(0) if board is None else run_workers(settings.workers, sockets, worker)


def _work(
    settings: Settings, sockets: Sequence[socket.socket], board: Board | None, index: int, *, sandbox: bool
) -> int:
    run_loop(_serve(settings, sockets, board, index, sandbox=sandbox))
    return 0


async def _serve(
    settings: Settings, sockets: Sequence[socket.socket], board: Board | None, index: int, *, sandbox: bool
) -> None:
    async with AsyncExitStack() as stack:
        journal = Journal(
            settings.data_dir / "logs",
            ttl=settings.logs_ttl,
            max_bytes=settings.logs_max_bytes,
            capture=settings.capture,
            secrets=_secrets_of(settings),
        )
        stack.callback(journal.close)
        log = Log(level=settings.log_level, journal=journal)
        log.start()
        stack.callback(log.close)
        if sandbox:
            from antigravity2api.sandbox import Sandbox  # noqa: PLC0415 - only who asks for it pays for it

            emulator = Sandbox()
            await emulator.start()
            stack.push_async_callback(emulator.stop)
            settings = _towards(emulator.base_url, settings)
        live = LiveDatabase(database_path(settings.database_url), partial(_tell, log))
        stack.callback(live.close)
        ca_file = str(settings.ca_file) if settings.ca_file else None
        transport = HttpTransport(connect_timeout=settings.timeout_connect, proxy=settings.proxy, ca_file=ca_file)
        stack.push_async_callback(transport.close)
        app = await _build(settings, stack, live, transport, log, journal, board, index, sandbox=sandbox)

        def report(message: str, error: BaseException | None) -> None:
            log.event("error", message, error=type(error).__name__ if error else None)

        server = Server(app, sockets, _limits(settings), report, on_drain=app.drain)
        _settle_memory()
        await server.run()


def _towards(sandbox_url: str, settings: Settings) -> Settings:
    """The settings for a gateway whose only upstream is the embedded sandbox."""
    return replace(
        settings,
        upstreams=("gemini",),
        gemini_base_url=sandbox_url,
        gemini_api_key=(SANDBOX_KEY,),
        vertex=False,
        antigravity=False,
        antigravity_access_token=None,
        proxy=None,
    )


def _tell(log: Log, level: str, event: str, reason: str) -> None:
    log.event(level, event, reason=reason)


def _settle_memory() -> None:
    """Tell the collector that what exists now stays, and to look for cycles less often: answers make none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def _build(  # noqa: PLR0913 - each by what it is
    settings: Settings,
    stack: AsyncExitStack,
    live: LiveDatabase,
    transport: HttpTransport,
    log: Log,
    journal: Journal,
    board: Board | None,
    index: int,
    *,
    sandbox: bool,
) -> App:
    """The application for these settings; what it needs to end is on the ``stack``."""
    models = ModelTable.load(settings.aliases)
    # What the sandbox signs is kept apart: a real upstream would refuse it.
    signatures = DurableSignatures(live, realm="sandbox" if sandbox else "")
    images = DiskImages(settings.data_dir / "images", ttl=settings.images_ttl, max_bytes=settings.images_max_bytes)
    box = Toolbox(models, signatures, images, _chat_settings(settings))
    metrics = Metrics(lambda model: models.entry(model) is not None, board=board, place=index)
    stack.callback(metrics.close)
    upstreams = upstreams_of(settings, models)
    # Nothing that the sandbox does is remembered of a real credential, and none of those is shown to it.
    accounts = Accounts(settings, upstreams, transport, log, None if sandbox else live, on_refresh=metrics.refresh)
    await accounts.open()
    stack.push_async_callback(accounts.close)
    lists = ModelLists(
        models,
        list(upstreams.values()),
        transport,
        accounts.credential_for,
        active=accounts.active,
        cache=None if sandbox else live,
        agent=settings.user_agent,
        report=partial(_tell, log),
    )
    if settings.live_models:
        lists.start()
    stack.push_async_callback(lists.close)
    gateway = Gateway(
        accounts.routes,
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
        accounts=accounts,
        serves=lists.routed,
    )
    gateway.on_attempt, gateway.on_repair = metrics.attempt_ended, metrics.repaired
    metrics.watch_credentials(accounts.views)
    metrics.watch("database_queue", lambda: live.waiting)
    metrics.watch("database_lost_total", lambda: live.lost)
    metrics.watch("log_lost_total", lambda: log.lost + journal.lost)
    return App(
        gateway,
        ChatDialect(),
        Keys(settings.api_key),
        images,
        log,
        max_body=settings.max_body,
        metrics=metrics,
        metrics_open=settings.metrics_open,
        lists=lists,
        journal=journal,
    )


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


def _secrets_of(settings: Settings) -> list[str]:
    """What the configuration holds that no record may show: keys of clients and of upstreams, tokens."""
    given = [settings.antigravity_access_token, settings.antigravity_oauth_client_secret, settings.secret_key]
    return [*settings.api_key, *settings.gemini_api_key, *settings.vertex_api_key, *filter(None, given)]


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
