"""The image shelf: unguessable names, private files, bounded age and size."""

from __future__ import annotations

import base64
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from antigravity2api.settings import Settings
from antigravity2api.store import images as images_module
from antigravity2api.store.images import DiskImages

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


def test_an_image_comes_back_with_its_signature(tmp_path: Path) -> None:
    shelf = DiskImages(tmp_path / "images")
    path = shelf.put(PNG, "image/png", "c2lnbmVk")
    assert path.startswith("/images/") and path.endswith(".png")
    assert shelf.read(path) == (PNG, "image/png")
    stored = shelf.get(path)
    assert stored is not None
    assert (stored.mime_type, base64.b64decode(stored.data), stored.signature) == ("image/png", PNG, "c2lnbmVk")


def test_an_unsigned_image_has_no_signature(tmp_path: Path) -> None:
    shelf = DiskImages(tmp_path)
    stored = shelf.get(shelf.put(PNG, "image/webp", None))
    assert stored is not None and stored.signature is None


def test_files_are_private_and_leave_no_draft(tmp_path: Path) -> None:
    shelf = DiskImages(tmp_path / "images")
    shelf.put(PNG, "image/png", "sig")
    files = list((tmp_path / "images").iterdir())
    assert len(files) == 2 and not [file for file in files if file.name.startswith(".")]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "images").stat().st_mode) == 0o700


@pytest.mark.parametrize(
    "path",
    [
        "/images/../secret.png",
        "/images/abc.png",
        "/images/" + "a" * 24 + ".svg",
        "/images/" + "a" * 24 + ".sig",
        "/images/" + "a" * 24 + ".png\n",
        "/other/" + "a" * 24 + ".png",
        "a" * 24 + ".png",
    ],
)
def test_only_names_of_ours_are_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / ("a" * 24 + ".sig")).write_bytes(b"secret")
    assert DiskImages(tmp_path).read(path) is None


def test_old_images_expire_and_are_removed(tmp_path: Path) -> None:
    now = time.time()
    shelf = DiskImages(tmp_path, ttl=100, clock=lambda: now)
    path = shelf.put(PNG, "image/png", None)
    file = tmp_path / path.removeprefix("/images/")
    os.utime(file, (now - 101, now - 101))
    assert shelf.read(path) is None
    later = DiskImages(tmp_path, ttl=100, clock=lambda: now)
    later.put(PNG, "image/png", None)
    assert not file.exists()


def test_the_oldest_make_room(tmp_path: Path) -> None:
    now = time.time()
    shelf = DiskImages(tmp_path, max_bytes=4 * len(PNG), clock=lambda: now)
    paths = []
    for age in range(5, 0, -1):
        path = shelf.put(PNG, "image/png", None)
        os.utime(tmp_path / path.removeprefix("/images/"), (now - age, now - age))
        paths.append(path)
    kept = [path for path in paths if shelf.read(path)]
    assert kept == paths[-3:]
    assert len(set(paths)) == 5


def test_several_workers_stay_within_the_limit_together(tmp_path: Path) -> None:
    limit, image = 1_000_000, b"x" * 9_000
    shelves = [DiskImages(tmp_path, max_bytes=limit) for _ in range(4)]
    most = 0
    for turn in range(400):
        shelves[turn % 4].put(image, "image/png", None)
        most = max(most, held(tmp_path))
    assert limit * 0.85 < most <= limit


def test_one_busy_worker_is_seen_by_the_others(tmp_path: Path) -> None:
    limit = 400_000
    shelves = [DiskImages(tmp_path, max_bytes=limit) for _ in range(4)]
    for shelf in shelves:
        shelf.put(PNG, "image/png", None)
    for shelf in shelves:
        for _ in range(60):
            shelf.put(b"x" * 9_000, "image/png", "c2ln")
            assert held(tmp_path) <= limit


def test_the_folder_is_listed_only_when_it_may_be_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = 0
    scandir = os.scandir

    def counting(folder: Path) -> Any:
        nonlocal listed
        listed += 1
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counting)
    shelf = DiskImages(tmp_path, max_bytes=10_000_000)
    for _ in range(500):
        shelf.put(PNG, "image/png", None)
    assert listed <= 500 // 32 + 1


def test_the_number_of_files_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "_MOST_FILES", 20)
    shelf = DiskImages(tmp_path)
    paths = [shelf.put(PNG, "image/png", "sig") for _ in range(30)]
    assert len(list(tmp_path.iterdir())) <= 20
    assert shelf.read(paths[-1])


def test_an_image_beyond_all_room_is_refused(tmp_path: Path) -> None:
    shelf = DiskImages(tmp_path, max_bytes=200)
    path = shelf.put(PNG, "image/png", None)
    with pytest.raises(OSError, match="larger than the room"):
        shelf.put(b"x" * 201, "image/png", None)
    assert shelf.read(path)


def test_the_limit_is_the_setting(tmp_path: Path) -> None:
    assert DiskImages(tmp_path)._max_bytes == Settings().images_max_bytes


def held(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
