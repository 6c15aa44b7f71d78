"""GIFs become PNG before a request is read: everywhere a picture may stand, nowhere else, within one budget."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from typing import Any

import orjson
import pytest
from PIL import Image

from antigravity2api.errors import Fault
from antigravity2api.gemini import gif as gif_module
from antigravity2api.media_prep import convert_gifs


def gif(width: int = 3, height: int = 2, colour: int = 0) -> str:
    out = io.BytesIO()
    Image.new("P", (width, height), colour).save(out, format="GIF")
    return base64.b64encode(out.getvalue()).decode()


def body_of(content: Any, role: str = "user", **more: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": [{"role": role, "content": content, **more}]})


def is_png(source: str) -> bool:
    return base64.b64decode(source.rpartition(",")[2]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("part", "place"),
    [
        ({"type": "image_url", "image_url": {"url": "data:image/gif;base64,GIF"}}, ("image_url", "url")),
        ({"type": "image_url", "image_url": "data:image/png;base64,GIF"}, ("image_url",)),
        ({"type": "image", "data": "GIF", "mimeType": "image/gif"}, ("data",)),
        ({"type": "image", "source": {"type": "base64", "data": "GIF"}}, ("source", "data")),
        ({"type": "file", "file": {"file_data": "data:;base64,GIF", "filename": "a.gif"}}, ("file", "file_data")),
    ],
)
async def test_a_gif_becomes_a_png_wherever_it_stands(part: dict[str, Any], place: tuple[str, ...]) -> None:
    changed = orjson.loads(
        await convert_gifs(orjson.dumps(orjson.loads(body_of([part]))).replace(b"GIF", gif().encode()))
    )
    found = changed["messages"][0]["content"][0]
    for key in place:
        found = found[key]
    assert is_png(found)
    assert found.startswith("data:") == ("data:" in str(part))


async def test_what_is_no_picture_stays() -> None:
    text = gif()
    for body in (
        body_of(text),
        body_of([{"type": "text", "text": text}]),
        body_of([{"type": "document", "source": {"type": "text", "data": text}}]),
        body_of(None, "assistant", tool_calls=[{"function": {"name": "f", "arguments": orjson.dumps(text).decode()}}]),
        body_of("hello"),
        b'{"messages": "R0lGOD"}',
        b'{"messages": [1, {"content": [2, {"image_url": 3, "data": {"data": "R0lGOD"}}]}]}',
    ):
        assert await convert_gifs(body) is body


async def test_integers_of_any_size_survive() -> None:
    body = (
        body_of([{"type": "image_url", "image_url": "data:;base64," + gif()}])[:-1] + b',"seed":123456789012345678901}'
    )
    assert b"123456789012345678901" in await convert_gifs(body)


async def test_pictures_of_earlier_answers_are_converted() -> None:
    text = f"Here:\n\n![image](data:image/gif;base64,{gif()})\n\n and ![x](data:image/gif;base64,R0lGODlhbroken)"
    for content in (text, [{"type": "text", "text": text}]):
        changed = orjson.loads(await convert_gifs(body_of(content, "assistant")))["messages"][0]["content"]
        said = changed if isinstance(changed, str) else changed[0]["text"]
        assert is_png(said.partition("base64,")[2].partition(")")[0])
        assert said.startswith("Here:\n\n![image](data:") and said.endswith("![x](data:image/gif;base64,)")


async def test_a_broken_gif_names_its_field() -> None:
    with pytest.raises(Fault) as caught:
        await convert_gifs(body_of([{"type": "image_url", "image_url": {"url": "data:;base64,R0lGODlhAAAA"}}]))
    assert caught.value.param == "messages[0].content[0].image_url.url"
    assert caught.value.code == "invalid_image_format"


async def test_a_request_has_one_budget_of_pixels_and_of_pictures() -> None:
    many = [{"type": "image_url", "image_url": "data:;base64," + gif()}] * 21
    with pytest.raises(Fault, match="At most 20 GIFs"):
        await convert_gifs(body_of(many))
    large = [{"type": "image_url", "image_url": "data:;base64," + gif(3000, 2500, n)} for n in range(3)]
    with pytest.raises(Fault, match="20 million pixels together"):
        await convert_gifs(body_of(large))


async def test_a_picture_is_converted_once_and_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    convert = gif_module.gif_to_png

    def watched(data: bytes, param: str) -> bytes:
        made.append(threading.get_ident())
        return convert(data, param)

    monkeypatch.setattr(gif_module, "gif_to_png", watched)
    part = {"type": "image_url", "image_url": "data:;base64," + gif(2000, 2000)}
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    await convert_gifs(body_of([part] * 6))
    ticking.cancel()
    assert len(made) == 1
    assert made[0] != threading.get_ident()
    assert ticks > 1
