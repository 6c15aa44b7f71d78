"""Vertex AI's settings, as Google's SDKs read them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from antigravity2api.settings import (
    Settings,
    check,
    configured_upstreams,
    lacking_upstreams,
    load,
    vertex_project,
)

Read = Callable[..., Settings]
ON = {"GOOGLE_GENAI_USE_VERTEXAI": "True"}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Settings of an environment, in a home and a working directory of their own."""

    def made(*, dotenv: str = "", **environ: str) -> Settings:
        (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
        return load({}, {"HOME": str(tmp_path), **environ}, tmp_path)

    return made


@pytest.fixture
def account(tmp_path: Path) -> str:
    """The file of a service account; only its project counts here."""
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"type": "service_account", "project_id": "file-project"}), encoding="utf-8")
    return str(path)


def warnings(settings: Settings) -> str:
    refusals, found = check(settings)
    assert refusals == []
    return "\n".join(found)


@pytest.mark.parametrize("word", ["true", "True", "1", "on"])
@pytest.mark.parametrize("name", ["GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_ENTERPRISE"])
def test_it_is_off_until_it_is_switched_on(read: Read, name: str, word: str) -> None:
    assert configured_upstreams(read(GOOGLE_CLOUD_PROJECT="p")) == ()
    settings = read(GOOGLE_CLOUD_PROJECT="p", **{name: word})
    assert configured_upstreams(settings) == ("vertex",)
    assert (settings.vertex_location, vertex_project(settings)) == ("global", "p")
    assert warnings(settings) == ""


def test_a_google_key_without_a_project_is_an_express_key_and_no_gemini_key(read: Read) -> None:
    settings = read(**ON, GOOGLE_API_KEY="k1,k2")
    assert (settings.vertex_api_key, settings.gemini_api_key) == (("k1", "k2"), ())
    assert configured_upstreams(settings) == ("vertex",)
    assert "express-mode key" in settings.notices[0]
    assert "k1" not in repr(settings)
    assert "gemini_api_key" not in {name for name, where in settings.origins.items() if where != "default"}


def test_the_gemini_key_stays_what_it_is(read: Read) -> None:
    settings = read(**ON, GOOGLE_API_KEY="express", GEMINI_API_KEY="gemini")
    assert (settings.vertex_api_key, settings.gemini_api_key) == (("express",), ("gemini",))
    assert configured_upstreams(settings) == ("gemini", "vertex")
    settings = read(dotenv="GEMINI_API_KEY=gemini", **ON, GOOGLE_API_KEY="express")
    assert (settings.vertex_api_key, settings.gemini_api_key) == (("express",), ("gemini",))
    assert settings.origins["gemini_api_key"] == "GEMINI_API_KEY (.env)"


def test_the_express_key_may_stand_in_a_file(read: Read, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n", encoding="utf-8")
    assert read(**ON, GOOGLE_API_KEY_FILE="key").vertex_api_key == ("from-file",)


@pytest.mark.parametrize("place", [{"GOOGLE_CLOUD_PROJECT": "p"}, {"GOOGLE_CLOUD_LOCATION": "eu"}])
def test_project_and_location_come_before_the_key(read: Read, place: dict[str, str]) -> None:
    settings = read(**ON, GOOGLE_API_KEY="k", **place)
    assert (settings.vertex_api_key, settings.gemini_api_key) == ((), ("k",))
    assert configured_upstreams(settings) == ("gemini", "vertex")
    assert f"is no express-mode key of Vertex AI, because {next(iter(place))}" in settings.notices[0]


def test_while_it_is_off_the_google_key_is_a_gemini_key(read: Read) -> None:
    settings = read(GOOGLE_API_KEY="k")
    assert (settings.vertex_api_key, settings.gemini_api_key, settings.notices) == ((), ("k",), ())


def test_the_project_may_stand_in_the_credentials_file(read: Read, account: str) -> None:
    settings = read(**ON, GOOGLE_APPLICATION_CREDENTIALS=account)
    assert vertex_project(settings) == "file-project"
    assert configured_upstreams(settings) == ("vertex",)
    assert warnings(settings) == ""
    assert vertex_project(read(**ON, GOOGLE_APPLICATION_CREDENTIALS=account, GOOGLE_CLOUD_PROJECT="own")) == "own"


def test_the_machines_own_credentials_may_know_the_project(read: Read) -> None:
    settings = read(**ON)
    assert (configured_upstreams(settings), vertex_project(settings)) == (("vertex",), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is no credentials file that can be read"),
        ("{", "is no credentials file that can be read"),
        ("[]", "is no credentials file that can be read"),
        ('{"type": "authorized_user"}', "set GOOGLE_CLOUD_PROJECT"),
    ],
)
def test_what_cannot_work_is_left_out_and_said(read: Read, tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "credentials.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    settings = read(**ON, GOOGLE_APPLICATION_CREDENTIALS=str(path))
    assert configured_upstreams(settings) == ()
    assert f"the vertex upstream cannot work like this: {words}" in warnings(settings).replace(
        f"GOOGLE_APPLICATION_CREDENTIALS (environment): {path} ", ""
    )


def test_stored_credentials_serve_beside_configured_ones_that_cannot(read: Read, tmp_path: Path) -> None:
    settings = read(**ON, GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "nowhere.json"))
    _, (warning,) = check(settings, {"vertex"})
    assert "has its stored credentials only" in warning
    assert "is no credentials file that can be read" in warning
    _, (warning,) = check(settings, {"gemini"})
    assert "cannot work like this" in warning


@pytest.mark.parametrize(
    ("environ", "stored", "lacking"),
    [
        ({}, (), ["gemini", "vertex", "antigravity"]),
        ({"GEMINI_API_KEY": "k"}, (), []),
        ({}, ("gemini",), []),
        ({"GEMINI_API_KEY": "k", "ANTIGRAVITY2API_ANTIGRAVITY": "on"}, (), ["antigravity"]),
        ({"GEMINI_API_KEY": "k", "ANTIGRAVITY2API_ANTIGRAVITY": "on"}, ("antigravity",), []),
        ({**ON, "GOOGLE_APPLICATION_CREDENTIALS": "nowhere.json"}, ("gemini",), ["vertex"]),
        ({"ANTIGRAVITY2API_UPSTREAMS": "gemini"}, ("antigravity",), ["gemini"]),
    ],
)
def test_upstreams_that_lack_every_credential(
    read: Read, environ: dict[str, str], stored: tuple[str, ...], lacking: list[str]
) -> None:
    assert sorted(lacking_upstreams(read(**environ), stored)) == sorted(lacking)


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({**ON, "GOOGLE_API_KEY": "k", "GOOGLE_APPLICATION_CREDENTIALS": "x.json"}, "CREDENTIALS is not used"),
        ({**ON, "GOOGLE_CLOUD_PROJECT": "p", "ANTIGRAVITY2API_UPSTREAMS": "gemini"}, "vertex is not among"),
        ({"GOOGLE_CLOUD_PROJECT": "p"}, "GOOGLE_GENAI_USE_VERTEXAI=true"),
        ({"GEMINI_API_KEY": "k", "GOOGLE_VERTEX_BASE_URL": "http://x"}, "GOOGLE_GENAI_USE_VERTEXAI=true"),
    ],
)
def test_settings_that_cannot_mean_what_they_say_warn(read: Read, environ: dict[str, str], words: str) -> None:
    assert words in warnings(read(**environ))


def test_a_project_that_is_there_for_other_programs_is_no_matter(read: Read) -> None:
    assert warnings(read(GOOGLE_CLOUD_PROJECT="p", GEMINI_API_KEY="k")) == ""


@pytest.mark.parametrize("location", ["-", "Europe", "a.b", "evil.com/", "a" * 41])
def test_a_location_is_checked(read: Read, location: str) -> None:
    with pytest.raises(Exception, match="a location such as"):
        read(**ON, GOOGLE_CLOUD_LOCATION=location)
