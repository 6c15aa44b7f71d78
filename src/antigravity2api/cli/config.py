"""``config init``, ``config check``, ``config show``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from antigravity2api.cli.common import (
    add_json,
    parser,
    print_json,
    print_table,
    read_settings,
    refuse,
    say,
    settings_from,
)
from antigravity2api.settings import (
    SETTINGS,
    Setting,
    Settings,
    SettingsError,
    check,
    config_places,
    in_words,
    redacted,
)


def run(arguments: list[str]) -> int:
    """Write, check or show the configuration."""
    options = parser("config")
    verbs = options.add_subparsers(dest="verb", metavar="VERB", required=True)
    about = {
        "init": "write a commented config.toml",
        "check": "say whether `serve` would start with it",
        "show": "print every setting",
    }
    init, checked, shown = (
        verbs.add_parser(name, help=text, description=text, allow_abbrev=False) for name, text in about.items()
    )
    init.add_argument("--force", action="store_true", help="replace a file that is there")
    shown.add_argument("--origin", action="store_true", help="tell where each value came from")
    for verb in (init, checked, shown):
        verb.add_argument("--config", metavar="FILE", help="the TOML file")
        verb.add_argument("--data-dir", metavar="DIR", help="where keys, images and the database live")
    add_json(checked)
    add_json(shown)
    parsed = options.parse_args(arguments)
    return {"init": _init, "check": _check, "show": _show}[parsed.verb](parsed)


def _init(options: argparse.Namespace) -> int:
    path = Path(options.config) if options.config else _default_path(options)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # 0600: keys may be written into it.
        mode = os.O_CREAT | os.O_WRONLY | (os.O_TRUNC if options.force else os.O_EXCL)
        with os.fdopen(os.open(path, mode, 0o600), "w", encoding="utf-8") as file:
            file.write(template())
    except FileExistsError:
        refuse([f"{path} is there already; --force replaces it."])
    except OSError as error:
        refuse([f"cannot write {path}: {error.strerror}."])
    print(path)
    say("Take away a # to set a value; `antigravity2api config check` tells whether it is right.")
    return 0


def _default_path(options: argparse.Namespace) -> Path:
    settings = settings_from(options)
    if settings.config is not None:
        return settings.config
    named = settings.origins["data_dir"] != "default"
    places = config_places(settings.data_dir, os.environ)
    return places[0] if named else places[-1]


def template() -> str:
    """A config.toml with every setting, commented out."""
    return "\n".join(_template_lines()) + "\n"


def _template_lines() -> Iterator[str]:
    yield "# Antigravity2API. Flags, the environment and .env win over this file."
    for setting in (item for item in SETTINGS if item.name not in ("config", "aliases")):
        yield ""
        yield f"# {setting.help}"
        yield f"# Write {setting.form.expected}. Default: {setting.shown}."
        if setting.later:
            yield "# Checked now; used in a later release."
        if setting.secret:
            yield f'# {setting.name}_file = "/path/to/a/file/with/it"'
        else:
            yield f"# {setting.name} = {_example(setting)}"
    yield ""
    yield "# Your own model names."
    yield "# [aliases]"
    yield '# fast = "gemini-2.5-flash"'


def _example(setting: Setting) -> str:
    value: Any = setting.default
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, tuple) and value:
        return json.dumps(value)
    return json.dumps(setting.shown if value and not isinstance(value, str) else value or "")


def _check(options: argparse.Namespace) -> int:
    try:
        settings = read_settings(options)
        errors, warnings = check(settings)
        warnings = [*settings.notices, *warnings]
    except SettingsError as error:
        errors, warnings = list(error.problems), []
    if options.json:
        print_json({"ok": not errors, "errors": errors, "warnings": warnings})
    else:
        say(*(f"warning: {text}" for text in warnings), *(f"error: {text}" for text in errors))
        if not errors:
            print("The configuration is right.")
    return 2 if errors else 0


def _show(options: argparse.Namespace) -> int:
    settings = settings_from(options)
    if options.json:
        print_json([_row(settings, setting) for setting in SETTINGS])
        return 0
    rows = []
    for setting in SETTINGS:
        row = _row(settings, setting)
        cells = [setting.name, in_words(row["value"])]
        rows.append([*cells, row["origin"]] if options.origin else cells)
    print_table(["SETTING", "VALUE", "ORIGIN"] if options.origin else ["SETTING", "VALUE"], rows)
    return 0


def _row(settings: Settings, setting: Setting) -> dict[str, Any]:
    return {
        "name": setting.name,
        "env": setting.env,
        "value": redacted(setting, getattr(settings, setting.name)),
        "origin": settings.origins[setting.name],
    }
