"""``/metrics`` as a scraper meets it, and what the application counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from antigravity2api.dialects.chat import ChatDialect
from antigravity2api.gateway import Gateway, Timing, Trace
from antigravity2api.metrics import Metrics
from antigravity2api.server.app import App
from antigravity2api.server.auth import Keys
from antigravity2api.server.base import Admission, Head, Refusal
from antigravity2api.store.images import DiskImages
from antigravity2api.telemetry import Log
from fakes.chat_box import make_box
from fakes.transport import FakeResponder, FakeTransport

KEY = "sk-a-key-of-this-test"


def head(path: str = "/metrics", method: str = "GET", **headers: str) -> Head:
    return Head(method, path, path, "", "1.1", headers, "127.0.0.1", "127.0.0.1:8045", "req_1", {})


def make_app(folder: Path, **options: Any) -> App:
    gateway = Gateway([], FakeTransport(), make_box(), timing=Timing())
    images = DiskImages(folder / "images")
    return App(gateway, ChatDialect(), Keys([KEY]), images, Log(), max_body=1000, **options)


async def scrape(app: App, request: Head) -> FakeResponder:
    admitted = app.admit(request)
    assert isinstance(admitted, Admission)
    responder = FakeResponder()
    await admitted.handler(request, b"", responder)
    app.finished(request, 200, responder.sent_bytes, 0.001, "ok")
    return responder


async def test_it_needs_a_key_unless_it_is_opened(tmp_path: Path) -> None:
    refused = make_app(tmp_path).admit(head())
    assert isinstance(refused, Refusal) and refused.status == 401
    assert (await scrape(make_app(tmp_path), head(authorization=f"Bearer {KEY}"))).status == 200
    assert (await scrape(make_app(tmp_path, metrics_open=True), head())).status == 200


async def test_the_form_follows_the_accept_header(tmp_path: Path) -> None:
    app = make_app(tmp_path, metrics_open=True)
    plain, openly = await scrape(app, head()), await scrape(app, head(accept="application/openmetrics-text"))
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert openly.headers["content-type"].startswith("application/openmetrics-text")
    assert openly.data.endswith(b"# EOF\n")


async def test_requests_are_counted_as_they_come_and_go(tmp_path: Path) -> None:
    app = make_app(tmp_path, metrics_open=True)
    chat = head("/v1/chat/completions", "POST", authorization=f"Bearer {KEY}")._replace(request_id="req_chat")
    assert isinstance(app.admit(chat), Admission)
    assert b"antigravity2api_requests_in_flight 1\n" in (await scrape(app, head())).data
    app.finished(chat, 400, 10, 0.2, "ok")
    page = (await scrape(app, head())).data
    assert b"antigravity2api_requests_in_flight 0\n" in page
    assert b'status="4xx",outcome="refused"} 1\n' in page
    assert KEY.encode() not in page


async def test_what_the_model_table_knows_is_named(tmp_path: Path) -> None:
    counted = make_app(tmp_path).metrics
    assert isinstance(counted, Metrics)
    for model in ("gemini-2.5-flash", "made-up-model"):
        counted.request_started()
        counted.request_ended(Trace(dialect="chat", model=model), 500, 1.0, "ok")
    page = counted.render()[1].decode()
    assert 'model="gemini-2.5-flash"' in page and 'model="other"' in page and "made-up" not in page


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_other_methods_are_refused(tmp_path: Path, method: str) -> None:
    refused = make_app(tmp_path, metrics_open=True).admit(head(method=method))
    assert isinstance(refused, Refusal) and refused.status == 405
