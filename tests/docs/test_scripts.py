"""The scripts that guard releases and CI find what they are there for."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """Writes a wheel of a small tree, changed as told, and gives what is wrong with it."""
    check = script("check_wheel")
    tree = {"antigravity2api/__init__.py": b"", "antigravity2api/ids.py": b"good", "antigravity2api/py.typed": b""}
    for file, data in tree.items():
        path = tmp_path / "src" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    monkeypatch.setattr(check, "ROOT", tmp_path)

    def write(changes: dict[str, bytes | None], name: str = "antigravity2api-1-py3-none-any.whl") -> list[str]:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("antigravity2api-1.dist-info/METADATA", b"")
            for file, data in (tree | changes).items():
                if data is not None:
                    archive.writestr(file, data)
        return check.problems(tmp_path / name)

    return write


def test_a_wheel_of_exactly_the_tree_is_fine(wheel):
    assert wheel({}) == []


def test_a_file_that_is_not_in_the_tree_is_found(wheel):
    assert wheel({"antigravity2api_init.pth": b"import os"}) == ["antigravity2api_init.pth: in the wheel, not in git"]


def test_a_missing_file_is_found(wheel):
    assert wheel({"antigravity2api/py.typed": None}) == ["antigravity2api/py.typed: in git, not in the wheel"]


def test_a_changed_file_is_found(wheel):
    assert wheel({"antigravity2api/ids.py": b"evil"}) == ["antigravity2api/ids.py: differs from the tree"]


def test_a_compiled_wheel_is_found(wheel):
    name = "antigravity2api-1-cp311-cp311-linux_x86_64.whl"
    assert wheel({}, name) == [f"{name}: not a pure wheel"]


def test_skips_are_found_and_expected_failures_are_not(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="ok"/>'
        '<testcase classname="a" name="b"><skipped type="pytest.skip" message="no Node"/></testcase>'
        '<testcase classname="a" name="c"><skipped type="pytest.xfail" message="known"/></testcase>'
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    assert script("no_skips").skipped(report) == ["a.b: no Node"]


def pythons(**env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "scripts/pythons"], capture_output=True, text=True, check=False, env=env)


def fake_python(directory: Path, name: str, version: str, *, optimised: bool = False) -> None:
    path = directory / name
    known = f"{version} {int(optimised)}" if version else ""
    path.write_text(f"#!/bin/sh\necho {known}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path):
    """A PATH with nothing on it but the tools that the script needs."""
    for tool in ("sh", "awk", "sed", "tr"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    return tmp_path


def test_the_default_python_comes_first_then_the_oldest_and_the_newest(machine):
    fake_python(machine, "python3", "3012")
    for minor in (11, 12, 13, 14):
        fake_python(machine, f"python3.{minor}", f"30{minor}")
    done = pythons(PATH=str(machine))
    assert [Path(line).name for line in done.stdout.splitlines()] == ["python3", "python3.11", "python3.14"]
    done = pythons(PATH=str(machine), PYTHON="python3.14")
    assert [Path(line).name for line in done.stdout.splitlines()] == ["python3.14", "python3.11"]


def test_an_optimised_python_is_preferred(machine):
    behind = machine / "behind"
    behind.mkdir()
    fake_python(machine, "python3", "3013")
    fake_python(behind, "python3", "3011", optimised=True)
    path = f"{machine}:{behind}"
    done = pythons(PATH=path)
    assert done.stdout.splitlines() == [f"{behind}/python3", f"{machine}/python3"]
    done = pythons(PATH=path, PYTHON=f"{machine}/python3")
    assert done.stdout.splitlines() == [f"{machine}/python3", f"{behind}/python3"]


def test_one_python_is_enough(machine):
    fake_python(machine, "python3", "3011")
    assert pythons(PATH=str(machine)).stdout == f"{machine}/python3\n"


def test_no_python_is_told_with_the_command_that_brings_it(machine):
    fake_python(machine, "python3", "")
    done = pythons(PATH=str(machine))
    assert (done.returncode, done.stdout) == (2, "")
    assert "apt-get install python3 python3-venv" in done.stderr


def test_a_python_that_was_asked_for_has_to_do(machine):
    fake_python(machine, "python3", "3011")
    fake_python(machine, "python3.9", "")
    assert pythons(PATH=str(machine), PYTHON="python3.9").returncode == 2


def test_shell_scripts_are_well_formed():
    for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci/run"]:
        if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/usr/bin/env bash")):
            assert subprocess.run(["bash", "-n", path], check=False).returncode == 0, path
            assert path.stat().st_mode & 0o111, path


def test_this_python_is_supported():
    assert sys.version_info >= (3, 11)
