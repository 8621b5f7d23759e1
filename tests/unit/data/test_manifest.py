"""Manifests: what may be in one, its order, its digest, its subsets, in bounded memory."""

from __future__ import annotations

import hashlib
import io
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huiju.data import manifest, paths
from huiju.data.manifest import MEBIBYTE, Entry, ManifestRefused, Reader, Writer

HEX = hashlib.sha256(b"").hexdigest()


def entry(path: str, size: int = 1, parts: int = 0) -> Entry:
    return Entry(path, size, HEX, (HEX,) * parts)


def write(file: Path, entries: Iterable[Entry], part: int = MEBIBYTE) -> manifest.Summary:
    with file.open("wb") as opened:
        writer = Writer(opened, part)
        for each in entries:
            writer.add(each)
        return writer.finish()


def test_the_text_is_the_identity(tmp_path: Path) -> None:
    file = tmp_path / "m"
    summary = write(file, [entry("a/ü.bin", 2 * MEBIBYTE + 1, 3), entry("b")])
    text = file.read_bytes()
    assert text.splitlines()[0] == b'{"huiju":"manifest","v":1,"part":1048576}'
    assert text.splitlines()[2] == b'{"path":"b","size":1,"sha256":"%s"}' % HEX.encode()
    assert summary.digest == "sha256:" + hashlib.sha256(text).hexdigest()
    assert (summary.files, summary.bytes) == (2, 2 * MEBIBYTE + 2)
    manifest.expect(file, summary.digest)
    file.write_bytes(text.replace(b'"size":1,', b'"size":2,'))
    with pytest.raises(ManifestRefused, match="expected was"):
        manifest.expect(file, summary.digest)


@pytest.mark.parametrize(
    "path",
    [
        "../up",
        "a/../b",
        "/etc/passwd",
        "a//b",
        "./a",
        "a/",
        "",
        "nul\0",
        "line\nbreak",
        "a\x7f",
        "back\\slash",
        "cafe\u0301",
        "\ud800",
        "separator\u2028",
        "x" * 256,
        "漢" * 86,
        "/".join(["folder"] * 150),
        ".huiju/manifests/x",
    ],
)
def test_no_path_leads_astray(path: str) -> None:
    with pytest.raises(paths.PathRefused):
        paths.check(path)
    with pytest.raises(ManifestRefused):
        Writer(io.BytesIO(), MEBIBYTE).add(entry(path))


@pytest.mark.parametrize("path", ["a", "..a", "a b/c+d&e?f", "数据/café.tar", ".hidden", "x" * 255])
def test_odd_names_that_are_harmless_pass(path: str) -> None:
    assert paths.check(path) == path


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"path":"a","size":1,"sha256":"%s"}\n' % HEX.encode(), "out of order"),
        (b'{"path":"c","size":-1,"sha256":"%s"}\n' % HEX.encode(), "line 3"),
        (b'{"path":"c","size":1,"sha256":"ABC"}\n', "line 3"),
        (b'{"path":"c","size":1,"sha256":"%s","to":"/etc"}\n' % HEX.encode(), "line 3"),
        (b'{"path":"c","size":3000000,"sha256":"%s"}\n' % HEX.encode(), "part digests"),
        (b'{"path":"c","size":1,"sha256":"%s"}' % HEX.encode(), "cut off"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, line: bytes, said: str) -> None:
    file = tmp_path / "m"
    write(file, [entry("b")])
    file.write_bytes(file.read_bytes() + line)
    with pytest.raises(ManifestRefused, match=said):
        list(Reader(file))


def test_a_file_of_too_many_parts_asks_for_larger_ones() -> None:
    with pytest.raises(ManifestRefused, match="larger parts"):
        Writer(io.BytesIO(), MEBIBYTE).add(entry("big", 200_000 * MEBIBYTE, 200_000))


def test_names_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    listed = paths.ordered(["A/x", "a/x", "B", "b.txt", "c/One", "c/one", "c/two", "d"])
    summary = write(tmp_path / "m", map(entry, listed))
    assert summary.collisions == 2
    assert set(summary.examples) == {"a", "c/one"}


def test_a_subset_has_a_digest_of_its_own(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    files = [f"train/{n:04}.tar" for n in range(1000)] + ["val/0.tar"]
    summary = write(whole, map(entry, paths.ordered(files)))
    found = []
    for include, exclude in ([["train/000*"], []], [["*/00*", "val/*"], ["*/00[1-9]*", "val/*"]]):
        with (tmp_path / "part").open("wb") as opened:
            found.append(manifest.subset(Reader(whole), opened, include, exclude))
    assert found[0].files == 10
    assert found[0].digest != summary.digest
    assert found[1].files == 100, "a bracket is no pattern: `*` alone stands for others"
    with (tmp_path / "all").open("wb") as opened:
        assert manifest.subset(Reader(whole), opened, ["*"], []).digest == summary.digest


names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=9)


@given(st.sets(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=30))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, found: set[str]
) -> None:
    listed = []
    for path in paths.ordered(found):
        try:
            listed.append(paths.check(path))
        except paths.PathRefused:
            continue
    file = tmp_path_factory.mktemp("m") / "m"
    write(file, map(entry, listed))
    assert [each.path for each in Reader(file)] == listed


def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    def lines(count: int) -> Iterable[Entry]:
        return (entry(f"{n // 1000:04}/{n:08}.bin") for n in range(count))

    peaks = []
    for count in (2_000, 50_000):
        tracemalloc.start()
        write(tmp_path / "m", lines(count))
        assert sum(1 for _ in Reader(tmp_path / "m")) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000, peaks


@given(st.integers(0, 5 * MEBIBYTE))
def test_parts_cover_a_file_once(size: int) -> None:
    count = manifest.piece_count(size, MEBIBYTE)
    found = list(manifest.pieces(entry("a", size, count if count > 1 else 0), MEBIBYTE))
    assert [piece.start for piece in found] == [n * MEBIBYTE for n in range(count)]
    assert sum(piece.size for piece in found) == size


@given(st.sets(st.text("abcü/", min_size=1, max_size=12), max_size=40))
def test_a_path_is_found_by_halving(
    tmp_path_factory: pytest.TempPathFactory, found: set[str]
) -> None:
    listed = []
    for path in paths.ordered(found):
        try:
            listed.append(paths.check(path))
        except paths.PathRefused:
            continue
    file = tmp_path_factory.mktemp("m") / "m"
    sizes = [(n % 4) * MEBIBYTE * 20 + 1 for n in range(len(listed))]
    counts = [manifest.piece_count(size, MEBIBYTE) for size in sizes]
    write(
        file,
        (
            entry(path, size, count if count > 1 else 0)
            for path, size, count in zip(listed, sizes, counts, strict=True)
        ),
    )
    reader = Reader(file)
    for number, path in enumerate(listed):
        looked = reader.find(path)
        assert looked is not None
        assert (looked.path, looked.size) == (path, sizes[number])
        assert reader.find(f"{path}~") is None
        assert next(reader.after(number)).path == path
    assert reader.find("") is None
