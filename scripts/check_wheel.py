"""Builds the wheel and compares it with the tree: nothing may be in it that is not in git, and nothing may be missing.

A stolen release tool adds files (a ``.pth`` runs at every start of Python), so the comparison is exact.
"""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUFFIXES = {".py", ".sql", ".toml", ".typed"}


def tree() -> set[str]:
    """The package files in git, or (without git) on disk."""
    listed = subprocess.run(["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False)
    names = listed.stdout.split() or [str(path.relative_to(ROOT)) for path in ROOT.glob("src/**/*") if path.is_file()]
    kept = [name for name in names if Path(name).suffix in SUFFIXES and (ROOT / name).is_file()]
    return {name.removeprefix("src/") for name in kept}


def build(target: str) -> Path:
    """The wheel, built with what the environment holds, asking no index."""
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The wheel cannot be built:\n{done.stdout}{done.stderr}")
    return next(Path(target).glob("*.whl"))


def problems(wheel: Path) -> list[str]:
    """What is wrong with a wheel, one sentence each."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        changed = [name for name in names & tree() if archive.read(name) != (ROOT / "src" / name).read_bytes()]
    contents = {name for name in names if ".dist-info/" not in name}
    found = [f"{name}: in the wheel, not in git" for name in sorted(contents - tree())]
    found += [f"{name}: in git, not in the wheel" for name in sorted(tree() - contents)]
    found += [f"{name}: differs from the tree" for name in sorted(changed)]
    if not wheel.name.endswith("-py3-none-any.whl"):
        found.append(f"{wheel.name}: not a pure wheel")
    return found


def main() -> int:
    """Exit code 0 when wheel and tree are the same."""
    with tempfile.TemporaryDirectory() as target:
        wheel = build(target)
        found = problems(wheel)
        print("\n".join(found) or f"{wheel.name} holds exactly the tree.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
