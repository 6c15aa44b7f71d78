"""Small programs in processes of their own, with the gateway's source on their path."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).resolve().parents[2] / "src"


def start(program: str, *arguments: object) -> subprocess.Popen[str]:
    """Begin to run a program's text."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(SRC)},
    )


def finish(running: subprocess.Popen[str], timeout: float = 40.0) -> str:
    """What it printed, once it has ended well."""
    try:
        out, err = running.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        raise
    assert (running.returncode, err) == (0, "")
    return out


def run(program: str, *arguments: object) -> str:
    """Run a program's text to its end; what it printed."""
    return finish(start(program, *arguments))
