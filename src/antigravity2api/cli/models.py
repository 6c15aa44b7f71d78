"""``models``: what the model table knows. Asks no upstream."""

from __future__ import annotations

from antigravity2api.cli.common import add_json, parser, print_json, print_table, settings_from


def run(arguments: list[str]) -> int:
    """Print the model table."""
    options = parser("models", flags=("config", "data_dir"))
    options.add_argument("--sandbox", action="store_true", help="list the sandbox's fault models too")
    add_json(options)
    parsed = options.parse_args(arguments)
    settings = settings_from(parsed)

    from antigravity2api.gemini.models import ModelTable

    columns = ("id", "kind", "input_limit", "output_limit", "surfaces", "alias_of")
    rows = [
        {
            "id": entry.id,
            "name": entry.display_name,
            "kind": entry.kind,
            "surfaces": entry.surfaces,
            "input_limit": entry.input_limit,
            "output_limit": entry.output_limit,
            "alias_of": entry.alias_of,
        }
        for entry in ModelTable.load(settings.aliases).entries()
    ]
    faults = _faults() if parsed.sandbox else []
    if parsed.json:
        print_json({"models": rows, "faults": faults} if parsed.sandbox else {"models": rows})
        return 0
    print_table(
        ["MODEL", "KIND", "INPUT", "OUTPUT", "WHERE", "ALIAS OF"],
        [[_cell(row[key]) for key in columns] for row in rows],
    )
    if faults:
        print()
        print_table(["SANDBOX MODEL", "WHAT IT DOES"], [[fault["id"], fault["about"]] for fault in faults])
    return 0


def _cell(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value or "")


def _faults() -> list[dict[str, str]]:
    from antigravity2api.sandbox.faults import FAULTS, PREFIX

    return [{"id": PREFIX + name, "about": fault.about} for name, fault in FAULTS.items()]
