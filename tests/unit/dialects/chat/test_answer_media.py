"""Pictures, sound, code and citations inside an answer."""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import Any

import pytest

from antigravity2api.dialects.chat import media
from antigravity2api.dialects.chat.citations import Insert, cite
from antigravity2api.gemini.signature import image_key
from fakes.chat_answer import PNG, SIGNATURE, chunks, event, joined, make_box, make_call, streamed, text, whole

JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(range(200))).decode()
PCM = base64.b64encode(bytes(range(64))).decode()
WAV = base64.b64encode(media.wav_header(24000, 4) + b"\0\1\2\3").decode()


def blob(data: str, mime: Any = "image/png", **extra: Any) -> dict[str, Any]:
    return {"inlineData": {"mimeType": mime, "data": data}, **extra}


def content(*parts: Any, box: Any = None, **notes: Any) -> str:
    answer = whole([event(*parts, finish="STOP")], make_call(**notes), box)
    return answer["choices"][0]["message"]["content"]


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"GIF87a......", "image/gif"),
        (b"GIF89a......", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"<svg></svg>", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_the_first_bytes_say_what_an_image_is(head: bytes, kind: str | None) -> None:
    assert media.image_type(head) == kind


def test_an_image_is_stored_byte_for_byte_with_its_signature() -> None:
    box = make_box()
    found = content(blob(JPEG, "image/png", thoughtSignature=SIGNATURE), box=box)
    assert found == "\n\n![image](http://localhost:8045/images/1.jpeg)\n\n"
    assert box.images.held == [(base64.b64decode(JPEG), "image/jpeg", f"gemini-3 gemini {SIGNATURE}")]


def test_url_safe_base64_without_padding_is_read() -> None:
    raw = b"\x89PNG\r\n\x1a\n" + b"\xfb\xff\xfe" * 7 + b"x"
    data = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    box = make_box()
    content(blob(data), box=box)
    assert box.images.held[0][0] == raw
    inline = content(blob(data), box=make_box(images="inline"))
    assert base64.b64encode(raw).decode() in inline


def test_base64_in_lines_is_read_and_never_breaks_out_of_a_link() -> None:
    lines = PNG[:20] + "\n" + PNG[20:]
    assert content(blob(lines), box=make_box(images="inline")) == f"\n\n![image](data:image/png;base64,{PNG})\n\n"
    stray = PNG[:20] + ") [x](y" + PNG[20:]
    assert "[x]" not in content(blob(stray), box=make_box(images="inline"))


def test_a_full_disk_does_not_cost_the_picture() -> None:
    box = make_box()
    box.images.broken = True
    assert content(blob(PNG), box=box) == f"\n\n![image](data:image/png;base64,{PNG})\n\n"


def test_a_signed_picture_inside_the_answer_is_remembered_by_its_bytes() -> None:
    box = make_box(images="inline")
    content(blob(PNG, thoughtSignature=SIGNATURE), box=box)
    key = image_key(hashlib.sha256(base64.b64decode(PNG)).hexdigest())
    assert box.signatures.get(key).signature == SIGNATURE


@pytest.mark.parametrize("mime", ["text/html", "image/svg+xml", "<script>", None, 5, ""])
def test_bytes_of_no_known_kind_leave_a_note_and_nothing_else(mime: Any) -> None:
    box = make_box()
    data = base64.b64encode(b"<script>alert(1)</script>").decode()
    found = content(blob(data, mime), box=box)
    assert found.startswith("\n\n[The model sent data (") and "<" not in found and data not in found
    assert box.images.held == []


@pytest.mark.parametrize("data", ["", "!", None, "A"])
def test_no_bytes_at_all(data: Any) -> None:
    assert "cannot be shown" in content({"inlineData": {"mimeType": "image/png", "data": data}})


# -- sound -------------------------------------------------------------------------------------------------------------


def test_speech_as_wav_gets_a_head() -> None:
    events = [
        event(blob(PCM, "audio/L16;codec=pcm;rate=16000")),
        event(blob(PCM, "audio/L16;codec=pcm;rate=16000"), finish="STOP"),
    ]
    call = make_call(audio={"voice": "alloy", "format": "wav"})
    raw = base64.b64decode(whole(events, call)["choices"][0]["message"]["audio"]["data"])
    assert raw[:4] == b"RIFF" and raw[8:12] == b"WAVE" and raw[44:] == bytes(range(64)) * 2
    assert struct.unpack("<I", raw[24:28])[0] == 16000 and struct.unpack("<I", raw[40:44])[0] == 128
    pieces = [chunk["choices"][0]["delta"].get("audio", {}) for chunk in chunks(streamed(events, call))]
    sent = b"".join(base64.b64decode(piece["data"]) for piece in pieces if "data" in piece)
    assert sent[:4] == b"RIFF" and sent[44:] == raw[44:]
    assert [("id" in piece, "expires_at" in piece) for piece in pieces] == [
        (True, False),
        (False, False),
        (False, True),
        (False, False),
    ]


def test_speech_that_is_already_wav_stays_as_it_is() -> None:
    call = make_call(audio={"voice": "alloy", "format": "wav"})
    answer = whole([event(blob(WAV, "audio/wav"), finish="STOP")], call)
    assert answer["choices"][0]["message"]["audio"]["data"] == WAV


def test_speech_nobody_asked_for_is_a_link() -> None:
    found = content(blob(PCM, "audio/L16;rate=24000"))
    assert found.startswith("\n\n[audio](data:audio/wav;base64,UklGR")
    assert content(blob(WAV, "audio/wav")) == f"\n\n[audio](data:audio/wav;base64,{WAV})\n\n"


def test_html_labelled_as_sound_is_no_sound() -> None:
    data = base64.b64encode(b"<html></html>").decode()
    assert "cannot be shown" in content(blob(data, "audio/mpeg"))


# -- code and links ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ({"language": "PYTHON", "code": "1"}, "\n\n```python\n1\n```\n\n"),
        ({"language": "LANGUAGE_UNSPECIFIED", "code": "1\n"}, "\n\n```\n1\n```\n\n"),
        ({"language": "x`\n", "code": "1"}, "\n\n```\n1\n```\n\n"),
        ({"code": "a ```` b"}, "\n\n`````\na ```` b\n`````\n\n"),
        ({"language": "PYTHON"}, ""),
        ({"code": 5}, ""),
    ],
)
def test_code(code: dict[str, Any], expected: str) -> None:
    assert media.code_markdown(code) == expected


def test_code_in_thoughts_stays_out_of_the_content() -> None:
    answer = whole([event({"executableCode": {"code": "1"}, "thought": True}, text("a"), finish="STOP")])
    assert answer["choices"][0]["message"]["content"] == "a"
    assert "1" in answer["choices"][0]["message"]["reasoning_content"]


@pytest.mark.parametrize(
    "uri", ["javascript:alert(1)", "https://a b", "data:text/html,x", "https://x\n", 5, None, "<x>"]
)
def test_addresses_that_nobody_should_follow(uri: Any) -> None:
    assert "cannot be shown" in media.file_markdown({"fileUri": uri})


@pytest.mark.parametrize("uri", ["https://example.com/a?b=c#d", "gs://bucket/file.png", "HTTP://x/ä"])
def test_links_to_files(uri: str) -> None:
    assert media.file_markdown({"fileUri": uri}) == f"\n\n[file]({uri})\n\n"


# -- citations ---------------------------------------------------------------------------------------------------------


def ground(*segments: Any, chunks: Any = None) -> dict[str, Any]:
    sources = [{"web": {"uri": "https://e.com", "title": "e"}}] if chunks is None else chunks
    return {
        "groundingChunks": sources,
        "groundingSupports": [{"segment": segment, "groundingChunkIndices": [0]} for segment in segments],
    }


def spans(grounding: dict[str, Any], *fragments: str, marks: dict[int, int] | None = None) -> list[tuple[int, int]]:
    found = cite(grounding, fragments, marks or {0: 0})
    return [(entry["url_citation"]["start_index"], entry["url_citation"]["end_index"]) for entry in found]


def test_bytes_become_characters() -> None:
    words = "😀 Übung"
    size = len(words.encode())
    assert spans(ground({"startIndex": 5, "endIndex": size, "text": "Übung"}), words) == [(2, 7)]


def test_our_own_text_between_the_models_moves_what_follows() -> None:
    fragments = ("abc", Insert("[img]"), "def", Insert("[img]"))
    grounding = ground(
        {"endIndex": 3, "text": "abc"},
        {"startIndex": 3, "endIndex": 6, "text": "def"},
        {"endIndex": 6, "text": "abcdef"},
    )
    assert spans(grounding, *fragments) == [(0, 3), (8, 11), (0, 11)]


def test_the_quoted_text_tells_where_the_offsets_start() -> None:
    within = ground({"partIndex": 1, "startIndex": 0, "endIndex": 3, "text": "def"})
    over_all = ground({"partIndex": 1, "startIndex": 3, "endIndex": 6, "text": "def"})
    assert spans(within, "abc", "def", marks={0: 0, 1: 1}) == [(3, 6)]
    assert spans(over_all, "abc", "def", marks={0: 0, 1: 1}) == [(3, 6)]


def test_wrong_offsets_give_way_to_the_quoted_text() -> None:
    assert spans(ground({"startIndex": 1, "endIndex": 3, "text": "ef"}), "abcdef") == [(4, 6)]


def test_an_end_beyond_the_text_is_the_texts_end() -> None:
    assert spans(ground({"startIndex": 2, "endIndex": 99}), "abcd") == [(2, 4)]


@pytest.mark.parametrize(
    "segment",
    [
        None,
        {},
        {"endIndex": 0},
        {"startIndex": 4, "endIndex": 2},
        {"startIndex": -1, "endIndex": 2},
        {"endIndex": "3"},
        [],
    ],
)
def test_segments_that_name_nothing(segment: Any) -> None:
    assert spans(ground(segment), "abcdef") == []


@pytest.mark.parametrize(
    "sources", [[], "x", [None], [{}], [{"web": {}}], [{"web": {"uri": 5}}], [{"retrievedContext": {"uri": "u"}}]]
)
def test_supports_without_a_web_source_are_dropped(sources: Any) -> None:
    assert spans(ground({"endIndex": 3, "text": "abc"}, chunks=sources), "abc") == []


def test_many_supports_are_placed_in_one_walk() -> None:
    words = "ü" * 5000
    segments = [{"startIndex": at, "endIndex": at + 2} for at in range(0, 10000, 2)]
    assert spans(ground(*segments), words) == [(at, at + 1) for at in range(5000)]


def test_citations_come_with_the_finish_of_a_stream() -> None:
    events = [event(text("abc")), event(finish="STOP", groundingMetadata=ground({"endIndex": 3, "text": "abc"}))]
    found = chunks(streamed(events))
    assert [list(chunk["choices"][0]["delta"]) for chunk in found] == [["role", "content"], ["annotations"]]
    assert joined(found)[0] == whole(events)["choices"][0]
