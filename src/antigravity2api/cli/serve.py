"""``serve``: checks what would be unsafe, makes what a first start needs, and runs the gateway."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from antigravity2api.cli.common import parser, refuse, say, settings_from
from antigravity2api.cli.firstrun import make_data_dir, refuse_open_key, with_first_key
from antigravity2api.settings import Settings, check, configured_upstreams, is_loopback, lacking_upstreams

TERMS = (
    "warning: the antigravity upstream is on. Google's terms do not allow third-party software to use the service "
    "behind Antigravity and Gemini CLI, and accounts have been suspended for it. A Gemini API key is the supported way."
)
NO_UPSTREAM = (
    "No upstream is configured, so no model can answer yet. To add one, start again with a Gemini API key:",
    "    GEMINI_API_KEY=... antigravity2api serve",
    "Or try everything without a key, on made-up answers:",
    "    antigravity2api serve --sandbox",
)

NO_ACCOUNT = (
    "The antigravity upstream has no account yet: `antigravity2api login`, `antigravity2api credentials import FILE "
    "--upstream antigravity`, or ANTIGRAVITY_ACCESS_TOKEN."
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get weather information",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string", "description": "City name"}},
            "required": ["location"],
        },
    },
}


def run(arguments: list[str]) -> int:
    """Start the gateway; returns when it has stopped."""
    options = parser("serve", flags=("host", "port", "data_dir", "config", "workers"))
    options.add_argument("--sandbox", action="store_true", help="answer from the embedded sandbox, all made up")
    options.add_argument("--demo", action="store_true", help=argparse.SUPPRESS)
    parsed = options.parse_args(arguments)
    settings = settings_from(parsed)
    if parsed.demo and not (parsed.sandbox and is_loopback(settings.host)):
        refuse(["--demo goes with --sandbox on a loopback address only."])

    refusals, _ = check(settings)
    if refusals:
        refuse(refusals)
    stored, unreadable = (set(), 0) if parsed.sandbox else _stored_upstreams(settings)
    _, warnings = check(settings, stored)
    say(*(f"note: {text}" for text in settings.notices))
    # The demo's key is an example on purpose: it guards made-up answers on this machine alone.
    say(*(f"warning: {text}" for text in warnings if not parsed.demo))
    make_data_dir(settings.data_dir)
    refuse_open_key(settings)
    if not settings.api_key:
        settings = with_first_key(settings)
    _say_upstreams(settings, stored, unreadable, sandbox=parsed.sandbox)
    return _serve(settings, sandbox=parsed.sandbox, demo=parsed.demo)


def _say_upstreams(settings: Settings, stored: set[str], unreadable: int, *, sandbox: bool) -> None:
    if sandbox:
        say("The sandbox answers: every text and picture is made up, and nothing leaves this machine.")
        return
    ready = {*configured_upstreams(settings), *stored}
    if unreadable:
        level = "error" if lacking_upstreams(settings, stored) else "warning"
        say(
            f"{level}: {unreadable} stored credential{'s' if unreadable > 1 else ''} cannot be decrypted: "
            "`antigravity2api credentials list` says which and why."
        )
    if settings.antigravity:
        say(TERMS)
        if "antigravity" not in ready:
            say(NO_ACCOUNT)
    if not unreadable and not ready.intersection(settings.upstreams):
        say(*NO_UPSTREAM)


def _stored_upstreams(settings: Settings) -> tuple[set[str], int]:
    """The upstreams that have a credential in the store, and how many credentials cannot be read."""
    import sqlite3

    from antigravity2api.cli.peek import stored_records
    from antigravity2api.store.database import DatabaseError
    from antigravity2api.store.secrets import SecretsError

    try:
        records, unreadable = stored_records(settings)  # changes nothing: the start mends what is damaged, and says so
    except (sqlite3.Error, OSError, DatabaseError, SecretsError):
        return set(), 0
    usable = {record.upstream for record in records if settings.antigravity or record.upstream != "antigravity"}
    return usable, len(unreadable)


def _serve(settings: Settings, *, sandbox: bool, demo: bool) -> int:
    from antigravity2api.server.run import run as serve

    def announce(urls: Sequence[str]) -> None:
        say(f"Listening on {' and '.join(urls)}. Ctrl-C stops it.")
        if demo:
            say("", demo_page(f"http://localhost:{urls[0].rpartition(':')[2]}", settings.api_key[0]))

    return serve(settings, sandbox=sandbox, announce=announce)


def demo_page(root: str, key: str) -> str:
    """Ready-to-paste requests."""
    head = f'  -H "Authorization: Bearer {key}"'
    chat = f'curl {root}/v1/chat/completions \\\n  -H "Content-Type: application/json" \\\n{head}'

    def ask(model: str, text: str, **more: object) -> str:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return f"{chat} \\\n  -d '{json.dumps(body)}'"

    parts = [
        ("Models", f"curl {root}/v1/models \\\n{head}"),
        ("Chat, streamed", ask("gemini-2.0-flash-exp", "Hello", stream=True)),
        ("Chat, in one piece", ask("gemini-2.0-flash-exp", "Hello", stream=False)),
        ("A tool call", ask("gemini-2.0-flash-exp", "What is the weather in Beijing?", tools=[WEATHER])),
        ("A picture", ask("gemimi-3.0-pro-image", "Draw a cute cat", stream=False)),
    ]
    return "\n".join(f"# {title}\n{command}\n" for title, command in parts)
