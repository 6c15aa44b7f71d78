"""``version``."""

from __future__ import annotations

import platform

from antigravity2api import __version__
from antigravity2api.cli.common import add_json, parser, print_json
from antigravity2api.cli.main import PROGRAM


def run(arguments: list[str]) -> int:
    """Print the version."""
    options = parser("version")
    add_json(options)
    if options.parse_args(arguments).json:
        print_json({"version": __version__, "python": platform.python_version(), "platform": platform.platform()})
    else:
        print(f"{PROGRAM} {__version__}")
    return 0
