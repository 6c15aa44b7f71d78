"""Parts made and read; our images found again in Markdown, in one pass however long the text is."""

from __future__ import annotations

from typing import Any

import pytest

from antigravity2api.gemini.parts import (
    MarkdownImage,
    call_part,
    current_turn,
    data_kind,
    image_markdown,
    inline_part,
    markdown_pieces,
    response_part,
    shelf_path,
    text_part,
)

DATA = "data:image/png;base64,iVBORw0KGgo="
SHELF = "/images/AbCdEf0123456789_-xyzQ.png"


def test_parts_are_made_as_google_spells_them() -> None:
    assert text_part("x") == {"text": "x"}
    assert inline_part("image/png", "AAAA") == {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    assert call_part("f", {"a": 1}, call_id="c", signature="s") == {
        "functionCall": {"name": "f", "args": {"a": 1}, "id": "c"},
        "thoughtSignature": "s",
    }
    assert response_part("f", {"output": "x"}) == {"functionResponse": {"name": "f", "response": {"output": "x"}}}
    assert data_kind(call_part("f", {})) == "functionCall"
    assert data_kind({"thought": True}) is None


def test_the_current_turn_starts_behind_the_last_words_of_the_user() -> None:
    def user(*parts: Any) -> Any:
        return {"role": "user", "parts": list(parts)}

    call: Any = {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}
    result = {"functionResponse": {"name": "f", "response": {}}}
    assert current_turn([]) == 0
    assert current_turn([user({"text": "a"})]) == 1
    assert current_turn([user({"text": "a"}), call, user(result)]) == 1
    assert current_turn([user({"text": "a"}), call, user(result, {"text": "mixed"}), call, user(result)]) == 1
    assert current_turn([user({"text": "a"}), call, user(result), user({"text": "b"}), call, user(result)]) == 4
    assert current_turn([call, user(result)]) == 0


@pytest.mark.parametrize(
    ("url", "path"),
    [
        (SHELF, SHELF),
        (f"http://localhost:8045{SHELF}", SHELF),
        (f"https://a.test/base/path{SHELF}", SHELF),
        (f"HTTP://x{SHELF}", None),
        (SHELF + "?x=1", None),
        ("/images/../secret.png", None),
        ("/images/short.png", None),
        (f"ftp://x{SHELF}", None),
        ("https://other.test/cat.png", None),
        (f"x{SHELF}", None),
        ("/images/" + "a" * 3000 + ".png", None),
        (SHELF + "\n", None),
    ],
)
def test_addresses_of_the_shelf(url: str, path: str | None) -> None:
    assert shelf_path(url) == path


def test_text_and_images_come_apart_in_order() -> None:
    text = f"Here.\n\n![image]({DATA})\n\nAnd\n\n![a cat](http://localhost:8045{SHELF})\n\nDone.\n"
    assert markdown_pieces(text) == [
        "Here.",
        MarkdownImage("image", mime_type="image/png", data="iVBORw0KGgo="),
        "And",
        MarkdownImage("a cat", path=SHELF),
        "Done.\n",
    ]
    assert markdown_pieces(image_markdown(DATA)) == [MarkdownImage("image", mime_type="image/png", data="iVBORw0KGgo=")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no image",
        "![",
        "![]",
        "![](",
        "![]()",
        "![x](https://other.test/cat.png)",
        "![x](data:text/html;base64,AAAA)",
        f"![x]({DATA}",
        f"[x]({DATA})",
        f"! [x]({DATA})",
        "![" + "a" * 400 + f"]({DATA})",
        "![x](data:image/png,AAAA)",
        "![x](javascript:alert(1))",
        "\n\n![x](/etc/passwd)\n\n",
    ],
)
def test_everything_else_stays_text(text: str) -> None:
    assert markdown_pieces(text) == ([text] if text else [])


def test_an_image_inside_a_broken_one_is_found() -> None:
    assert markdown_pieces(f"![a](data:image/png;base64,AA ![b]({DATA}) tail") == [
        "![a](data:image/png;base64,AA ",
        MarkdownImage("b", mime_type="image/png", data="iVBORw0KGgo="),
        " tail",
    ]


@pytest.mark.parametrize(
    "unit", ["![a](data:image/png;base64,", "![", "![](", "](", "![a](/images/", "!", "![a](x)", "![\n]("]
)
@pytest.mark.parametrize("end", ["", ")"])
def test_hostile_text_comes_to_an_end(unit: str, end: str) -> None:
    text = unit * (2_000_000 // len(unit)) + end
    pieces = markdown_pieces(text)
    assert pieces


def test_a_large_image_is_cut_out_whole() -> None:
    text = "words\n\n![image](data:image/png;base64," + "A" * 10_000_000 + ")\n\n"
    first, image = markdown_pieces(text)
    assert first == "words"
    assert isinstance(image, MarkdownImage)
    assert image.data is not None
    assert len(image.data) == 10_000_000
