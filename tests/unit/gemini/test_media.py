"""Media in: base64 in any spelling, types by first bytes, GIF as PNG, files by what they are; nothing is fetched."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
from typing import Any

import pytest
from PIL import Image

from antigravity2api.errors import Fault, Kind
from antigravity2api.gemini import media
from antigravity2api.gemini.gif import GifBudget

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(20)
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(20)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(20)
HEIC = b"\x00\x00\x00\x18ftypheic" + bytes(20)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
MP3 = b"ID3\x04\x00" + bytes(20)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def gif(width: int = 3, height: int = 2, frames: int = 1) -> bytes:
    pictures = [Image.new("RGB", (width, height), (index * 40, 0, 0)) for index in range(frames)]
    out = io.BytesIO()
    pictures[0].save(out, format="GIF", save_all=frames > 1, append_images=pictures[1:])
    return out.getvalue()


def refused(code: str, call: Any, *args: Any, **named: Any) -> Fault:
    with pytest.raises(Fault) as caught:
        call(*args, **named)
    assert caught.value.code == code, caught.value
    return caught.value


# -- base64


def test_clean_base64_is_passed_on_as_the_same_string() -> None:
    text = b64(PNG)
    assert media.check_base64(text, "p") is text
    assert media.decoded_size(text) == len(PNG)
    assert media.decode_base64(text, "p") == PNG


@pytest.mark.parametrize("data", [b"\xfb\xff\xfe", b"\xfb\xff\xfe\xfb", b"\xfb\xff\xfe\xfb\xef", PNG])
def test_sloppy_base64_is_mended(data: bytes) -> None:
    clean = b64(data)
    safe = base64.urlsafe_b64encode(data).decode()
    spellings = [
        safe,
        clean.rstrip("="),
        safe.rstrip("="),
        f"  {clean}\n",
        "\r\n".join(clean),
        clean.replace("=", "%3D"),
        clean.replace("+", "%2B").replace("/", "%2f"),
        clean + "...",
        clean.rstrip("=") + "…",
        clean + "\u00a0",
        clean + "==",
        clean + "====",
    ]
    for spelling in spellings:
        assert media.check_base64(spelling, "p") == clean


def test_the_placeholder_of_a_printed_example_works() -> None:
    assert media.image_part("data:image/jpeg;base64,/9j/4AAQSkZJRg...", "p") == {
        "inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJRg=="}
    }
    assert media.check_base64("/9j/4AAQSkZJR...", "p") == "/9j/4AAQSkZJ"


@pytest.mark.parametrize(
    "text", ["", "   ", "...", "====", "a", "abcde", "ab!d", "äöüß", "ab=cd", "<svg/>", "\ud800abc"]
)
def test_what_is_no_base64_is_refused(text: str) -> None:
    fault = refused("invalid_base64", media.check_base64, text, "messages[0].content[1].image_url.url")
    assert fault.param == "messages[0].content[1].image_url.url"
    assert fault.kind is Kind.INVALID_REQUEST


def test_twenty_megabytes_and_no_byte_more() -> None:
    limit = "A" * (media.MAX_BYTES // 3 * 4)
    exact = media.MAX_BYTES - media.MAX_BYTES % 3
    assert media.decoded_size(limit) == exact
    assert media.check_base64(limit, "p") is limit
    for over in ("A" * ((media.MAX_BYTES // 3 + 1) * 4), "A" * 60_000_000):
        fault = refused("request_too_large", media.check_base64, over, "p")
        assert fault.kind is Kind.TOO_LARGE


def test_a_large_image_costs_one_passing_copy() -> None:
    text = "data:image/png;base64," + b64(PNG[:30] + bytes(9_000_000))
    tracemalloc.start()
    part = media.image_part(text, "p")
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part["inlineData"]["data"] == text[22:]
    assert held < 13_000_000, "the text of the part and nothing else"
    assert peak < 25_000_000


# -- types


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"GIF87a", "image/gif"),
        (WEBP, "image/webp"),
        (HEIC, "image/heic"),
        (b"\0\0\0\x18ftypmif1", "image/heif"),
        (b"\0\0\0\x18ftypavif", "image/avif"),
        (PDF, "application/pdf"),
        (WAV, "audio/wav"),
        (MP3, "audio/mpeg"),
        (b"\xff\xfb\x90\x64", "audio/mpeg"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"OggS\0", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"FORM\0\0\0\0AIFF", "audio/aiff"),
        (b"\0\0\0\x18ftypisom", "video/mp4"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"\0\0\0\x18ftypM4A ", "audio/mp4"),
        (b"", None),
        (b"<svg xmlns=", None),
        (b"<html>", None),
        (b"hello", None),
        (b"RIFF", None),
        (b"\xff\xfeh\0i\0", None),
        (b"BM", None),
        (b"\xff\xd8", None),
    ],
)
def test_the_first_bytes_tell_the_type(head: bytes, mime: str | None) -> None:
    assert media.sniff(head) == mime


# -- images


@pytest.mark.parametrize(
    ("data", "mime"), [(PNG, "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp"), (HEIC, "image/heic")]
)
@pytest.mark.parametrize("label", ["image/png", "image/jpg", "image/jpeg;charset=x", "text/plain", "", "IMAGE/GIF"])
def test_the_bytes_win_over_the_label(data: bytes, mime: str, label: str) -> None:
    part = media.image_part(f"data:{label};base64,{b64(data)}", "p")
    assert part == {"inlineData": {"mimeType": mime, "data": b64(data)}}


def test_low_detail_and_bare_base64() -> None:
    part: Any = media.image_part(b64(PNG), "p", low_detail=True)
    assert part["mediaResolution"] == {"level": "MEDIA_RESOLUTION_LOW"}
    assert media.image_from_base64(b64(PNG), "p")["inlineData"]["mimeType"] == "image/png"
    assert media.image_part(" DATA:image/png;BASE64," + b64(PNG), "p")["inlineData"]["data"] == b64(PNG)


def test_a_data_url_without_base64() -> None:
    url = "data:image/png," + "".join(f"%{byte:02x}" for byte in PNG)
    assert media.image_part(url, "p")["inlineData"]["data"] == b64(PNG)


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html></html>", b"just words", PDF, WAV, b"BM.."]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    refused("invalid_image_format", media.image_part, f"data:image/png;base64,{b64(data)}", "p")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.test/a.png",
        "http://127.0.0.1/a.png",
        "HTTP://[::1]/",
        "file:///etc/passwd",
        "ftp://example.test/a",
        "gopher://x",
        "javascript:alert(1)",
        "/etc/passwd",
        "a.png",
        "",
        "  ",
        "data:image/png;base64",
        "http:",
        "//host/a.png",
        "gs://",
        "https://generativelanguage.googleapis.com.evil.test/v1beta/files/x",
        "https://generativelanguage.googleapis.com/v1beta/files/../../x",
        "\\\\host\\share",
        "blob:https://x/y",
    ],
)
def test_addresses_are_neither_fetched_nor_opened(url: str) -> None:
    fault = refused("invalid_image_url", media.image_part, url, "messages[0].content[0].image_url.url")
    assert fault.param == "messages[0].content[0].image_url.url"
    assert url not in fault.message or not url.strip()


@pytest.mark.parametrize("value", [None, 7, {}, []])
def test_an_image_that_is_no_text(value: Any) -> None:
    refused("invalid_type", media.image_part, value, "p")


def test_files_that_google_holds_are_named() -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/abc-123"
    assert media.image_part(uri, "p") == {"fileData": {"fileUri": uri}}
    assert media.image_part("gs://bucket/dir/a.png", "p") == {
        "fileData": {"fileUri": "gs://bucket/dir/a.png", "mimeType": "image/png"}
    }


def test_an_empty_image_is_refused() -> None:
    refused("invalid_base64", media.image_part, "data:image/png;base64,", "p")


# -- GIF


@pytest.mark.parametrize("frames", [1, 3])
def test_a_gif_becomes_a_png_of_its_first_frame(frames: int) -> None:
    part = media.image_part("data:image/gif;base64," + b64(gif(frames=frames)), "p")
    assert part["inlineData"]["mimeType"] == "image/png"
    picture = Image.open(io.BytesIO(base64.b64decode(part["inlineData"]["data"])))
    assert (picture.format, picture.size) == ("PNG", (3, 2))
    assert picture.convert("RGB").getpixel((0, 0)) == (0, 0, 0)


def test_transparency_of_a_gif_survives() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putpixel((1, 0), 1)
    out = io.BytesIO()
    picture.save(out, format="GIF", transparency=0)
    made = Image.open(io.BytesIO(media.gif_to_png(out.getvalue(), "p"))).convert("RGBA")
    assert made.getpixel((0, 0))[3] == 0  # type: ignore[index]
    assert made.getpixel((1, 0)) == (0, 255, 0, 255)


@pytest.mark.parametrize("data", [b"GIF89a", b"GIF89a" + bytes(20), gif()[:-8], b"GIF89a" + b"\xff" * 100])
def test_a_gif_that_cannot_be_read_is_refused(data: bytes) -> None:
    refused("invalid_image_format", media.image_part, "data:image/gif;base64," + b64(data), "p")


def test_a_gif_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = bytearray(gif())
    bomb[6:10] = b"\xff\xff\xff\xff"
    refused("invalid_image_format", media.gif_to_png, bytes(bomb), "p")
    frame = bytearray(gif())
    at = frame.index(b",\0\0\0\0")
    frame[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    refused("invalid_image_format", media.gif_to_png, bytes(frame), "p")


def test_the_limit_of_one_gif_is_told() -> None:
    large = gif()[:6] + struct.pack("<HH", 4400, 4400) + gif()[10:]  # the screen's size stands behind the magic
    fault = refused("invalid_image_format", media.gif_to_png, large, "p")
    assert "16 million pixels (4400x4400)" in fault.message


@pytest.mark.parametrize(
    "blocks",
    [b"!\xfe\x00" * 100_000, b"!\xfe" + b"\x01x" * 100_000 + b"\0", b"!\xf9\x01\x00\x00", b"!\xf9\x04\x05\x00"],
    ids=["extensions", "comment", "short control", "cut control"],
)
def test_what_stands_before_the_first_frame_is_bounded(blocks: bytes) -> None:
    plain = gif()
    at = 13 + (3 << (plain[10] & 7) + 1)
    refused("invalid_image_format", media.gif_to_png, plain[:at] + blocks + plain[at:], "p")


def test_the_gifs_of_a_request_have_one_budget() -> None:
    budget = GifBudget(pixels=100, gifs=3)
    url = "data:image/gif;base64," + b64(gif(10, 6))
    assert "inlineData" in media.image_part(url, "p", gifs=budget)
    refused("invalid_image_format", media.image_part, url, "p", gifs=budget)
    assert "inlineData" in media.image_from_base64(b64(gif(5, 5)), "p", gifs=budget)
    fault = refused("invalid_image_format", media.file_part, b64(gif()), "a.gif", "p", gifs=budget)
    assert "At most 3 GIFs" in fault.message


def test_a_gif_is_recognised_in_any_spelling() -> None:
    data = b64(gif())
    for source in (data, " " + data, f"data:image/png;base64,{data}", f"DATA:;base64,\n{data}", "%52" + data[1:]):
        found = media.gif_source(source)
        assert found is not None and media.decode_base64(found, "p") == gif()
    for other in (b64(PNG), "https://example.com/R0lGOD", "data:image/gif", "", "R0lG", "é" * 9, "data:,GIF"):
        assert media.gif_source(other) is None


# -- audio, files, video


def test_audio() -> None:
    assert media.audio_part(b64(WAV), "wav", "p.data") == {"inlineData": {"mimeType": "audio/wav", "data": b64(WAV)}}
    assert media.audio_part(b64(MP3), "wav", "p.data")["inlineData"]["mimeType"] == "audio/mpeg"
    assert media.audio_part(b64(b"noise"), "MP3", "p.data")["inlineData"]["mimeType"] == "audio/mpeg"
    assert (
        media.audio_part(f"data:audio/x-wav;base64,{b64(b'noise')}", None, "p.data")["inlineData"]["mimeType"]
        == "audio/wav"
    )
    assert refused("invalid_value", media.audio_part, b64(b"noise"), "midi", "a.data").param == "a.format"
    assert refused("invalid_value", media.audio_part, b64(b"noise"), None, "a.data").param == "a.format"
    assert refused("invalid_base64", media.audio_part, "", "wav", "a.data").param == "a.data"


@pytest.mark.parametrize(
    ("data", "name", "label"),
    [
        ("a,b\n1,2", "t.csv", ""),
        ('{"a": "ü"}', "t.json", "application/octet-stream"),
        ("<p>x</p>", "x", "text/html"),
        ("print(1)", "a.py", "application/pdf"),
        ("words", None, "text/plain"),
        ("<svg/>", "a.svg", "image/svg+xml"),
        ("plain words", None, ""),
        ("a: 1", "conf.YAML", ""),
        ("{}", None, "application/vnd.api+json"),
    ],
)
def test_textual_files_become_text(data: str, name: str | None, label: str) -> None:
    assert media.file_part(f"data:{label};base64,{b64(data.encode())}", name, "p") == {"text": data}


def test_text_in_other_encodings() -> None:
    assert media.file_part(b64("\ufeffmark".encode()), "a.txt", "p") == {"text": "mark"}
    assert media.file_part(b64("wide ü".encode("utf-16")), "a.txt", "p") == {"text": "wide ü"}
    latin = media.file_part(b64("na\xefve".encode("latin-1")), "a.txt", "p", mime_type="text/plain")
    assert latin["inlineData"]["mimeType"] == "text/plain"


@pytest.mark.parametrize(
    ("data", "name", "label", "mime"),
    [
        (PDF, "a.txt", "text/plain", "application/pdf"),
        (b"\0\1\2", "a.pdf", "", "application/pdf"),
        (b"\0\1\2", "a.bin", "application/x-thing", "application/x-thing"),
        (b"\0\1\2", None, "", "application/octet-stream"),
        (b"PK\3\4", "a.docx", "", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (WAV, "a", "", "audio/wav"),
        (PNG, "a.jpg", "image/jpeg", "image/png"),
        (b"\0\1", None, "not a type", "application/octet-stream"),
    ],
)
def test_other_files_keep_their_bytes(data: bytes, name: str | None, label: str, mime: str) -> None:
    part = media.file_part(f"data:{label};base64,{b64(data)}", name, "p")
    assert part == {"inlineData": {"mimeType": mime, "data": b64(data)}}


def test_files_are_not_fetched_either() -> None:
    for url in ("https://example.test/a.pdf", "file:///etc/passwd"):
        assert refused("invalid_value", media.file_part, url, "a.pdf", "p").param == "p"
    refused("invalid_base64", media.file_part, "/etc/passwd!", "a.pdf", "p")
    refused("invalid_type", media.file_part, None, None, "p")
    refused("invalid_image_format", media.file_part, f"data:image/png;base64,{b64(b'words')}", None, "p")


def test_a_gif_file_becomes_a_png() -> None:
    assert media.file_part(b64(gif()), "a.gif", "p")["inlineData"]["mimeType"] == "image/png"


def test_video() -> None:
    mp4 = b"\0\0\0\x18ftypisom" + bytes(9)
    assert media.video_part(f"data:video/mp4;base64,{b64(mp4)}", "p") == {
        "inlineData": {"mimeType": "video/mp4", "data": b64(mp4)}
    }
    assert media.video_part(f"data:video/x-flv;base64,{b64(b'FLV')}", "p")["inlineData"]["mimeType"] == "video/x-flv"
    refused("invalid_value", media.video_part, f"data:image/png;base64,{b64(PNG)}", "p")
    refused("invalid_value", media.video_part, "https://youtube.test/x", "p")
