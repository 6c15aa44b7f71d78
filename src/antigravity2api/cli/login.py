"""``login``: a Google account for the antigravity upstream, by a browser here or anywhere else."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from antigravity2api.cli.common import add_json, parser, print_json, refuse, say, written
from antigravity2api.cli.vaults import Store, opened, put_in
from antigravity2api.credentials import Record, Sort, State
from antigravity2api.forms import integer
from antigravity2api.settings import Settings
from antigravity2api.upstreams.codeassist import TERMS

if TYPE_CHECKING:
    from antigravity2api.oauth import Login
    from antigravity2api.upstreams.codeassist import Refused
    from antigravity2api.upstreams.grants import Grant
    from antigravity2api.upstreams.transport import HttpTransport

OPT_IN = (
    f"The antigravity upstream is off. {TERMS}. A Gemini API key or Vertex AI is the supported way.",
    "If you want it all the same: set ANTIGRAVITY2API_ANTIGRAVITY=on, which says that you have read this.",
)
NO_CLIENT = (
    "a login needs an OAuth client of your own, and none is configured. In the Google Cloud console, under "
    "APIs & Services > Credentials, create an OAuth client ID of the type Desktop app, and set "
    "ANTIGRAVITY_OAUTH_CLIENT_ID and ANTIGRAVITY_OAUTH_CLIENT_SECRET."
)
_OTHERS = {
    "gemini": "The Gemini API takes keys: set GEMINI_API_KEY, or `antigravity2api credentials add`.",
    "vertex": "Vertex AI takes Google's own credentials: `gcloud auth application-default login`, or a key file.",
}


def run(arguments: list[str]) -> int:
    """Log in and store what Google gives; 1 where the account cannot be used yet, 2 for wrong use."""
    options = parser("login", flags=("data_dir", "config"))
    options.add_argument("--upstream", default="antigravity", choices=("antigravity", *_OTHERS), help="what it is for")
    options.add_argument(
        "--no-browser", action="store_true", help="print the address, and read what the browser shows in the end"
    )
    options.add_argument(
        "--port", dest="answer_port", metavar="N", type=written(integer(1, 65535)), help="loopback port for the answer"
    )
    options.add_argument("--label", metavar="NAME", help="a name for people instead of the account's e-mail address")
    add_json(options)
    parsed = options.parse_args(arguments)
    if other := _OTHERS.get(parsed.upstream):
        refuse([other])
    with opened(parsed) as store:
        settings = store.settings
        if not settings.antigravity:
            say(*OPT_IN)
            return 2
        if not settings.antigravity_oauth_client_id:
            refuse([NO_CLIENT])
        say(f"warning: {TERMS}.")
        from antigravity2api.cli.firstrun import make_data_dir

        make_data_dir(settings.data_dir)
        from antigravity2api.oauth import LoginRefused

        try:
            # Read before there is a loop: a blocked terminal and its Ctrl-C do not go together with one.
            pasted = _by_paste(settings, parsed.answer_port) if parsed.no_browser else None
            return asyncio.run(_login(store, parsed, pasted))
        except LoginRefused as refused:
            say(f"error: {refused}")
            return 1


async def _login(store: Store, options: argparse.Namespace, pasted: tuple[Login, str] | None) -> int:
    from antigravity2api.errors import Fault
    from antigravity2api.upstreams.transport import HttpTransport

    settings = store.settings
    try:
        transport = HttpTransport(
            connect_timeout=settings.timeout_connect,
            proxy=settings.proxy,
            ca_file=str(settings.ca_file) if settings.ca_file else None,
        )
    except (OSError, ValueError) as error:
        say(f"error: {error}")
        return 2
    try:
        login, code = pasted or await _by_browser(settings, options.answer_port)
        return await _with_google(store, options, transport, login, code)
    except Fault as fault:
        say(f"error: Google could not be asked: {fault.message}")
        return 1
    finally:
        await transport.close()


async def _with_google(
    store: Store, options: argparse.Namespace, transport: HttpTransport, login: Login, code: str
) -> int:
    from antigravity2api.oauth import email_of, exchange, pages_beside

    settings = store.settings
    asked = time.time()
    agent = settings.user_agent
    grant = await exchange(transport, settings.oauth_token_url, login, code, agent=agent)
    email = await email_of(transport, grant.token, agent=agent, url=pages_beside(settings.oauth_token_url)[1])
    say(f"Google knows this account as {email}." if email else "Google did not say whose account it is.")
    project, refused = await _project(settings, transport, grant.token)
    record = await _keep(store, grant, asked, email=email, label=options.label or email, found=(project, refused))
    return _told(record, refused, as_json=options.json)


def _client(settings: Settings) -> Any:
    from antigravity2api.upstreams.grants import Client

    return Client(str(settings.antigravity_oauth_client_id), settings.antigravity_oauth_client_secret)


async def _by_browser(settings: Settings, port: int | None) -> tuple[Login, str]:
    from antigravity2api.oauth import Login, LoginRefused, listening, pages_beside

    try:
        async with listening(port or 0) as listener:
            login = listener.login = Login.begin(_client(settings), listener.port)
            page = login.page(pages_beside(settings.oauth_token_url)[0])
            say("Open this page and log in (no browser on this machine? use --no-browser):", "", f"  {page}", "")
            _open_browser(page)
            return login, await listener.code()
    except OSError as error:
        raise LoginRefused(f"Port {port or 0} cannot be used here: {error.strerror}. Choose another --port.") from None


def _open_browser(page: str) -> None:
    """Open the page where there is a desktop; a browser for the terminal would only be in the way."""
    desktop = sys.platform in ("win32", "darwin") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))
    if not desktop:
        return
    import webbrowser

    def show() -> None:
        with contextlib.suppress(webbrowser.Error, OSError):
            webbrowser.open(page)

    threading.Thread(target=show, daemon=True).start()  # some browsers hold on to their caller


def _by_paste(settings: Settings, port: int | None) -> tuple[Login, str]:
    from antigravity2api.oauth import Login, LoginRefused, pages_beside

    login = Login.begin(_client(settings), port or random.randint(49152, 65535))  # noqa: S311 - nobody listens there
    say(
        "Open this page in a browser on any machine and log in:",
        "",
        f"  {login.page(pages_beside(settings.oauth_token_url)[0])}",
        "",
        "In the end the browser cannot reach 127.0.0.1: that is right. Copy the whole address it shows then, and paste "
        "it here (the code in it is enough):",
    )
    try:
        text = sys.stdin.readline(8192)
    except (OSError, ValueError):
        text = ""
    if not text.strip():
        raise LoginRefused("Nothing was pasted.")
    return login, login.code_in(text)


async def _project(settings: Settings, transport: HttpTransport, token: str) -> tuple[str | None, Refused | None]:
    """The account's project, or why it has none. What may pass by itself is left to the gateway."""
    from antigravity2api.errors import Fault
    from antigravity2api.onboarding import CodeAssistCalls, ProjectRefused
    from antigravity2api.upstreams.shaping import address_of

    calls = CodeAssistCalls(transport, address_of(settings.antigravity_base_url), agent=settings.user_agent)
    say("Asking for the account's project; a new account can take a minute or two.")
    try:
        return await calls.project(token, settings.antigravity_project), None
    except ProjectRefused as refusal:
        return None, refusal.refused
    except Fault as fault:
        say(f"warning: the project is not known yet ({fault.message.rstrip('.')}); it is asked for with the first use.")
        return None, None


async def _keep(
    store: Store,
    grant: Grant,
    asked: float,
    *,
    email: str,
    label: str,
    found: tuple[str | None, Refused | None],
) -> Record:
    """Store the login; one of an account that is there already takes its place."""
    project, refused = found
    secret: dict[str, Any] = {
        "refresh_token": grant.refresh_token,
        "access_token": grant.token,
        "expires_at": asked + grant.life,
        "expires_in": grant.life,
        **({"email": email} if email else {}),
    }
    record = Record(
        id="",
        upstream="antigravity",
        sort=Sort.OAUTH_USER,
        secret=secret,
        label=label,
        project=project,
        state=refused.state if refused else State.READY,
        message=refused.message if refused else "",
        link=refused.link if refused else "",
    )
    return await put_in(store, record)


def _told(record: Record, refused: Refused | None, *, as_json: bool) -> int:
    """Say what came of it; the exit code."""
    closed = record.state is State.DISABLED_BY_TERMS
    if as_json:
        shown: Callable[[Any], None] = print_json
        shown(
            {
                "id": record.id,
                "label": record.label,
                "project": record.project,
                "state": record.state.value,
                "message": record.message,
                "link": record.link,
                "enabled": record.enabled,
            }
        )
    whose = f"{record.id} ({record.label})" if record.label else record.id
    if refused is None and not closed:
        where = f", in the project {record.project}" if record.project else ""
        say(f"Logged in: {whose}{where}. A running gateway uses it within a second.")
        if not record.enabled:
            say(f"It is switched off: `antigravity2api credentials enable {record.id}`.")
        return 0
    page = f" Open {record.link}" if record.link else ""
    say(f"Logged in: {whose}, but it cannot be used yet: {record.message}{page}")
    return 1
