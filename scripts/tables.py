"""Writes the tables in docs/ that come from the code. ``--check`` only tells whether they are up to date."""

import sys
from pathlib import Path

from antigravity2api.settings import SETTINGS, Setting

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "configuration.md"
BEGIN, END = "<!-- settings: made by `make docs` -->", "<!-- /settings -->"


def row(setting: Setting) -> str:
    """One setting as a line of the table."""
    names = [f"`{setting.env}`", *(f"or `{name}`" for name in setting.also)]
    if setting.secret:
        names.append(f"or `{setting.env}_FILE`")
    if setting.ancestor:
        names.append(f"(once `{setting.ancestor}`)")
    text = f"{setting.help} *Later.*" if setting.later else setting.help
    return f"| {' '.join(names)} | `{setting.name}` | {setting.form.expected} | {setting.shown} | {text} |"


def page(text: str) -> str:
    """The page with a fresh table in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    head = "| environment | in the TOML file | written as | default | meaning |\n| --- | --- | --- | --- | --- |"
    return f"{before}{BEGIN}\n{head}\n" + "\n".join(map(row, SETTINGS)) + f"\n{END}{after}"


def main() -> int:
    """Exit code 1 when ``--check`` found an old table."""
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if "--check" in sys.argv[1:]:
        if old != new:
            print(f"{PAGE.relative_to(ROOT)} is not what the settings say: make docs")
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
