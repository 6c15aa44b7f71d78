"""One gateway in front of one scripted Gemini for the whole suite, and what each official SDK saw of it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.gateway import KEY, ROOT, GatewayProcess, World, clean_environment
from fakes.google import answer, picture
from fakes.upstream import ScriptedUpstream

HERE = Path(__file__).resolve().parent
NODE = ROOT / "tests" / "node"
VENVS = ROOT / ".venvs"
FORMS = ("JPEG", "PNG", "GIF", "WEBP")
Seen = dict[str, Any]


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    with ScriptedUpstream(default=answer) as upstream:
        env = {
            "GEMINI_API_KEY": "upstream-key",
            "GOOGLE_GEMINI_BASE_URL": upstream.url,
            "ANTIGRAVITY2API_COOLDOWN": "off",
            "ANTIGRAVITY2API_MAX_ATTEMPTS": "1",
        }
        with GatewayProcess(env=env) as gateway:
            yield World(gateway, upstream)


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """A data URL for each promised format."""
    return {form: f"data:image/{form.lower()};base64,{base64.b64encode(picture(form)).decode()}" for form in FORMS}


@pytest.fixture(scope="session")
def drive(world: World, images: dict[str, str]) -> Callable[[list[str]], Seen]:
    """Runs one driver to its end; every scenario is in what it prints."""

    def run(command: list[str]) -> Seen:
        job = {"base_url": f"{world.gateway.url}/v1", "key": KEY, "images": images}
        done = subprocess.run(
            command,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=120,
            cwd=NODE,
            env=clean_environment({"PYTHONPATH": "", "NO_PROXY": "*"}),
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen: Seen = json.loads(done.stdout)
        return seen

    return run


@pytest.fixture(scope="session")
def node(sdk: Callable[[str], None]) -> str:
    """The Node that the SDK runs on."""
    sdk("node")
    command = [sys.executable, str(ROOT / "scripts" / "sdk-envs"), "--print-node"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="session")
def old_python(sdk: Callable[[str], None]) -> str:
    """The interpreter that has openai 0.28."""
    sdk("old")
    return str(VENVS / "openai-0.28" / "bin" / "python")


@pytest.fixture(scope="session")
def new_python(sdk: Callable[[str], None]) -> str:
    """The interpreter that has the current openai."""
    sdk("new")
    return str(VENVS / "openai-new" / "bin" / "python")


@pytest.fixture(scope="session")
def old(old_python: str, drive: Callable[[list[str]], Seen]) -> Seen:
    """What openai 0.28 saw."""
    return drive([old_python, str(HERE / "sdk_old.py")])


@pytest.fixture(scope="session")
def new(new_python: str, drive: Callable[[list[str]], Seen]) -> Seen:
    """What the current openai package saw."""
    return drive([new_python, str(HERE / "sdk_new.py")])


@pytest.fixture(scope="session")
def js(node: str, drive: Callable[[list[str]], Seen]) -> Seen:
    """What the Node SDK saw."""
    return drive([node, str(NODE / "sdk.mjs")])
