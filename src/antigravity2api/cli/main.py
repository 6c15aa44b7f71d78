"""The program: finds the command, runs it, and turns its end into an exit code.

Exit codes: 0 fine, 1 the command worked and found a problem, 2 wrong use or configuration, 130 interrupted. Data goes
to stdout, talk to stderr. A command's module is imported only when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from antigravity2api import __version__

PROGRAM = "antigravity2api"
COMMANDS = {
    "serve": "start the gateway",
    "sandbox": "start the embedded upstream alone",
    "credentials": "list, add, import and change what upstreams are asked with",
    "models": "list the models that can be used now, or explain who serves one",
    "login": "add a Google account for the antigravity upstream",
    "logs": "show what happened to requests",
    "config": "write, check or show the configuration",
    "db": "upgrade the database or make a backup of it",
    "doctor": "find out what is wrong with a set-up, and what to do about it",
    "healthcheck": "ask a running gateway whether it is ready",
    "version": "print the version",
}
"""Command → what it does. Each has a module of its name here, with ``run(arguments) -> exit code``."""
LATER = {
    "chat": "until then ask with curl or an SDK, as the README shows",
    "keys": "until then ANTIGRAVITY2API_API_KEY takes the keys of several clients, comma separated",
    "usage": "until then /metrics counts requests and tokens, and `logs list` shows the last ones",
}
"""Commands to come → what serves meanwhile."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = arguments[0] if arguments else ""
    if command in ("", "-h", "--help") or arguments == ["help"]:
        print(usage(), file=sys.stdout if command else sys.stderr)
        return 0 if command else 2
    if command == "help":  # help COMMAND
        command, arguments = arguments[1], [arguments[1], "--help"]
    if command in ("-V", "--version"):
        command = "version"
    if command not in COMMANDS:
        print(f"{PROGRAM}: {unknown(command)}", file=sys.stderr)
        return 2
    return _guarded(command, arguments[1:])


def _guarded(command: str, arguments: list[str]) -> int:
    module = importlib.import_module(f"{PROGRAM}.cli.{command}")
    try:
        code: int = module.run(arguments)
        sys.stdout.flush()
    except SystemExit as stop:  # argparse: 0 after --help, 2 after wrong use
        return stop.code if isinstance(stop.code, int) else 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader (`| head`) has what it wants; Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file or directory that this user may not use: nothing that a traceback explains
        place = f"{error.filename}: " if error.filename else ""
        remedy = f"; `{PROGRAM} doctor` tells what to do" if isinstance(error, PermissionError) else ""
        print(f"error: {place}{error.strerror or error}{remedy}.", file=sys.stderr)
        return 1
    return code


def usage() -> str:
    """The help page of the program."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {PROGRAM} COMMAND [options]",
            "",
            "An OpenAI-compatible gateway in front of the Gemini API, Vertex AI and Antigravity.",
            "",
            "commands:",
            *lines,
            "",
            f"`{PROGRAM} COMMAND --help` tells more. Version {__version__}.",
        ]
    )


def unknown(command: str) -> str:
    """What to say about a command that does not exist."""
    from difflib import get_close_matches

    if command in LATER:
        return f"`{command}` comes in a later release; {LATER[command]}."
    if command.startswith("-"):
        example = f"{PROGRAM} serve --port 9000"
        return f"there is no option {command[:100]!r} before a command; options follow it, as in `{example}`."
    close = get_close_matches(command, COMMANDS, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"Commands: {', '.join(COMMANDS)}."
    return f"there is no command {command[:100]!r}. {hint}"
