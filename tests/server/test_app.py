"""What the application says of heads, and what it writes into the log."""

from __future__ import annotations

import pytest

from antigravity2api.server.app import _bad_media, _base_url, _without_secrets
from antigravity2api.server.base import Head


def head(**headers: str) -> Head:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Head("POST", "/x", "/x", "", "1.1", named, "127.0.0.1", "127.0.0.1:8045", "req_1", {})


@pytest.mark.parametrize(
    "path",
    [
        "/v1/sk-abcDEF123456/models",
        "/AIzaSyA-1234567890abcdefghijklmnopqrstu",
        "/images/7NE7pxb0lUssbUc5RjyHfU8N.png",
        "/v1/ya29_A0AfH6SMBx1234567890",
    ],
)
def test_what_looks_like_a_key_is_not_logged(path: str) -> None:
    shown = _without_secrets(path)
    assert "…" in shown
    assert not any(len(piece) >= 12 for piece in shown.replace("…", "/").replace(".", "/").split("/"))


@pytest.mark.parametrize("path", ["/v1/unknown", "/v1/models/gemini-2.5-flash", "/admin/", "/V1/chat/completions"])
def test_ordinary_paths_are_logged_as_they_are(path: str) -> None:
    assert _without_secrets(path) == path


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", "application/x+json", ""])
def test_json_is_read_under_its_names(media: str) -> None:
    assert _bad_media(head(content_type=media)) is None


@pytest.mark.parametrize("media", ["text/xml", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"])
def test_other_media_are_refused_with_the_remedy(media: str) -> None:
    fault = _bad_media(head(content_type=media))
    assert fault is not None and "application/json" in fault.message


def test_a_compressed_body_is_refused() -> None:
    assert _bad_media(head(content_type="application/json", content_encoding="gzip")) is not None
    assert _bad_media(head(content_type="application/json", content_encoding="identity")) is None


@pytest.mark.parametrize("host", ["evil.example/path", "a b", "x@y", "", "-" * 300, "[::1"])
def test_a_strange_host_is_not_repeated_in_links(host: str) -> None:
    assert _base_url(head(host=host)) is None, "the address that the connection arrived at is used"


@pytest.mark.parametrize("host", ["localhost:8045", "[::1]:8045", "gateway.example"])
def test_the_address_of_the_client_is_used_in_links(host: str) -> None:
    assert _base_url(head(host=host)) == f"http://{host}"
