"""What the commands share: parsers, loading the settings, talking and printing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from antigravity2api.cli.main import COMMANDS, PROGRAM
from antigravity2api.forms import Form
from antigravity2api.settings import Settings, SettingsError, load

FLAGS = {
    "host": ("H", "address to listen on"),
    "port": ("P", "port to listen on"),
    "data_dir": ("DIR", "where keys, images and the database live"),
    "config": ("FILE", "the TOML file"),
    "workers": ("N", "server processes"),
}
"""Settings that have a flag: placeholder and help."""


class Parser(argparse.ArgumentParser):
    """Wrong use gets one sentence that says what was meant or where to look, instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say it and end with exit code 2."""
        end = "" if message.endswith(("?", ".")) else f"; `{self.prog} --help` tells more."
        say(f"{self.prog}: {message}{end}")
        raise SystemExit(2)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As the original, but what is left over is refused here, by the parser that knows its own options."""
        found, extra = super().parse_known_args(args, namespace)
        if extra:
            word = str(extra[0])
            options = [name for action in self._actions for name in action.option_strings]
            close = get_close_matches(word.partition("=")[0], options, n=1) if word.startswith("-") else []
            said = (
                f"there is no option {word[:100]!r}" if word.startswith("-") else f"{word[:100]!r} is a word too many"
            )
            self.error(f"{said}. Did you mean {close[0]}?" if close else said)
        return found, extra

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        choices = [str(choice) for choice in action.choices]
        close = get_close_matches(str(value), choices, n=1)
        hint = f"Did you mean `{close[0]}`?" if close else f"It is one of: {', '.join(choices)}."
        name = "/".join(action.option_strings) or action.metavar or action.dest
        raise argparse.ArgumentError(None, f"{name} cannot be {str(value)[:100]!r}. {hint}")


def parser(command: str, *, flags: Iterable[str] = (), epilog: str | None = None) -> argparse.ArgumentParser:
    """The parser of a command, with flags for some settings."""
    made = Parser(
        prog=f"{PROGRAM} {command}", description=_sentence(COMMANDS[command]), epilog=epilog, allow_abbrev=False
    )
    for name in flags:
        metavar, text = FLAGS[name]
        made.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, help=text)
    return made


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def written(form: Form) -> Callable[[str], Any]:
    """The type of a flag whose value is written in a form."""

    def read(raw: str) -> Any:
        try:
            return form.read(raw.strip())
        except ValueError:
            raise argparse.ArgumentTypeError(f"{raw[:200]!r} is not {form.expected}") from None

    return read


def add_json(target: argparse.ArgumentParser) -> None:
    """``--json`` for commands that print data."""
    target.add_argument("--json", action="store_true", help="print JSON")


def read_settings(options: argparse.Namespace) -> Settings:
    """The settings of this run. Raises SettingsError."""
    overrides = {name: value for name in FLAGS if (value := getattr(options, name, None)) is not None}
    if empty := [name for name, value in overrides.items() if not value.strip()]:
        raise SettingsError(f"--{name.replace('_', '-')}: no value was given." for name in empty)
    try:
        place = Path.cwd()
    except OSError as error:
        raise SettingsError(["the current directory is gone or closed to this user: change to another one."]) from error
    return load(overrides, os.environ, place)


def settings_from(options: argparse.Namespace) -> Settings:
    """The settings of this run; wrong ones end it with exit code 2."""
    try:
        return read_settings(options)
    except SettingsError as error:
        refuse(error.problems)


def refuse(problems: Iterable[str]) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    for problem in problems:
        say(f"error: {problem}")
    raise SystemExit(2)


def say(*lines: str) -> None:
    """Talk to the operator, on stderr."""
    for line in lines:
        print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """Data as JSON on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Data for people on stdout: aligned columns, no colours."""
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
