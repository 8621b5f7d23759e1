"""Publishing from a folder: every file with its digests, and nothing that should not be there."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.data import paths
from huiju.data.manifest import MEBIBYTE, Entry, Reader, Summary
from huiju.data.origin import Digests, FolderOrigin, Found, OriginRefused, Progress
from huiju.data.publish import build


async def published(folder: Path, file: Path, **how: Any) -> tuple[Summary, list[Entry], Progress]:
    origin = FolderOrigin(folder, 3, **how)
    progress = Progress()
    try:
        with file.open("wb") as opened:
            summary = await build(origin, opened, MEBIBYTE, 3, progress)
    finally:
        origin.close()
    return summary, list(Reader(file)), progress


def fill(folder: Path, sizes: dict[str, int]) -> dict[str, bytes]:
    contents = {path: os.urandom(size) for path, size in sizes.items()}
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return contents


async def test_every_file_has_its_digests(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    sizes = {f"small/{n:03}": n for n in range(600)}
    sizes |= {"small.txt": 3, "small-er": 1, "big": 3 * MEBIBYTE + 7, "even": 2 * MEBIBYTE}
    contents = fill(folder, sizes | {"one": MEBIBYTE, "语料/中文.txt": 5})
    fill(folder, {".huiju/manifests/old.ndjson": 9})
    (folder / "nothing" / "here").mkdir(parents=True)
    summary, entries, progress = await published(folder, tmp_path / "m")
    assert [each.path for each in entries] == paths.ordered(contents)
    for each in entries:
        content = contents[each.path]
        assert each.sha256 == hashlib.sha256(content).hexdigest()
        parts = [content[at : at + MEBIBYTE] for at in range(0, len(content), MEBIBYTE)]
        wanted = [hashlib.sha256(part).hexdigest() for part in parts] if len(parts) > 1 else []
        assert list(each.parts) == wanted
    assert (progress.files, progress.bytes) == (summary.files, summary.bytes)
    again, _, _ = await published(folder, tmp_path / "m2")
    assert again == summary


async def test_links_are_followed_only_where_asked_and_only_inside(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    fill(folder, {"a/real": 5})
    (folder / "link").symlink_to("a/real")
    with pytest.raises(OriginRefused, match="--follow-links"):
        await published(folder, tmp_path / "m")
    _, entries, _ = await published(folder, tmp_path / "m", follow_links=True)
    assert [each.path for each in entries] == ["a/real", "link"]
    fill(tmp_path, {"secret": 5})
    (folder / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(OriginRefused, match="leads out"):
        await published(folder, tmp_path / "m", follow_links=True)


async def test_what_is_no_file_or_has_no_name_is_refused(tmp_path: Path) -> None:
    fill(tmp_path / "bad", {"a": 1})
    (tmp_path / "bad" / os.fsdecode(b"b\xff")).write_bytes(b"x")
    with pytest.raises(OriginRefused, match="UTF-8"):
        await published(tmp_path / "bad", tmp_path / "m")
    fill(tmp_path / "pipe", {"a": 1})
    os.mkfifo(tmp_path / "pipe" / "b")
    with pytest.raises(OriginRefused, match="neither a file"):
        await published(tmp_path / "pipe", tmp_path / "m")
    with pytest.raises(OriginRefused) as caught:
        await published(tmp_path / "none", tmp_path / "m")
    assert caught.value.reason is Reason.SOURCE_NOT_FOUND


async def test_a_file_that_changes_meanwhile_is_told(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 10})
    origin = FolderOrigin(tmp_path, 1)
    try:
        (batch,) = [batch async for batch in origin.batches()]
        os.utime(tmp_path / "a", ns=(1, 1))
        with pytest.raises(OriginRefused) as caught:
            await origin.digest(batch, MEBIBYTE, Progress())
    finally:
        origin.close()
    assert caught.value.reason is Reason.SOURCE_CHANGED


def test_digests_do_not_depend_on_how_bytes_come() -> None:
    content = os.urandom(3 * MEBIBYTE + 11)
    found = set()
    for step in (1_000_003, 65_536, MEBIBYTE, 3 * MEBIBYTE + 11):
        digests = Digests(Found("a", len(content)), MEBIBYTE)
        stream = io.BytesIO(content)
        while block := stream.read(step):
            digests.add(block)
        found.add(digests.entry())
    assert len(found) == 1
    assert len(found.pop().parts) == 4
