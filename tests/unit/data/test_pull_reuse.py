"""Which files two manifests have in common, and where their parts are counted."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.data.manifest import MEBIBYTE, Entry, Reader, Writer, piece_count
from huiju.data.pull.reuse import common

Files = dict[str, tuple[int, int]]
"""Size in half MiB and a number for the content, by path."""


def entry(path: str, halves: int, content: int) -> Entry:
    size = halves * MEBIBYTE // 2
    many = piece_count(size, MEBIBYTE)
    parts = tuple(f"{content:02x}" * 32 for _ in range(many)) if many > 1 else ()
    return Entry(path, size, f"{content:02x}" * 32, parts)


def reader(folder: Path, name: str, files: Files) -> Reader:
    file = folder / name
    with file.open("wb") as opened:
        writer = Writer(opened, MEBIBYTE)
        for path in sorted(files, key=str.encode):
            writer.add(entry(path, *files[path]))
        writer.finish()
    return Reader(file)


FILES = st.dictionaries(
    st.sampled_from(["a", "a/b", "a-b", "b", "语料", "语料/x", "z"]),
    st.tuples(st.integers(0, 5), st.integers(0, 2)),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(FILES, FILES)
def test_all_that_is_equal_is_found_and_nothing_else(
    tmp_path_factory: object, mine: Files, theirs: Files
) -> None:
    folder = tmp_path_factory.mktemp("reuse")  # type: ignore[attr-defined]
    wanted, other = reader(folder, "mine", mine), reader(folder, "theirs", theirs)
    found = list(common(wanted, other))
    both = {path for path in mine if mine[path][0] and theirs.get(path) == mine[path]}
    assert {each.path for _, _, each in found} == both
    counted, part = {}, 0
    for number, each in enumerate(wanted):
        counted[each.path] = (number, part)
        part += max(1, len(each.parts))
    assert all(counted[each.path] == (number, at) for number, at, each in found)
