"""The trail of data sets: a chain that shows every change, and goes on after every end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from huiju.cli.main import main
from huiju.data.audit import BROKEN, FIRST, Fields, Trail, TrailBroken, verify

AT = "2026-11-28T08:00:00Z"


def records(count: int, start: int = 0) -> list[Fields]:
    return [
        {"at": AT, "event": "GrantActive", "about": f"grant/{n}", "who": "王 li"}
        for n in range(start, start + count)
    ]


def trail(folder: Path, count: int = 5) -> Path:
    file = folder / "data.jsonl"
    made = Trail(file)
    assert list(made.open()) == []
    for one in records(count):
        made.add([one])
    return file


def lines(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines(keepends=True)


def test_a_trail_is_a_chain_and_goes_on_in_the_next_process(tmp_path: Path) -> None:
    file = trail(tmp_path)
    again = Trail(file)
    assert [r["about"] for r in again.open()] == [f"grant/{n}" for n in range(5)]
    again.add(records(2, 5))
    checked = verify(lines(file), FIRST)
    assert checked.records == 7
    assert checked.hash == json.loads(lines(file)[-1])["hash"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_found(tmp_path_factory: object, line: int, at: int, flip: int) -> None:
    folder = tmp_path_factory.mktemp("trail")  # type: ignore[attr-defined]
    there = lines(trail(folder))
    changed = bytearray(there[line])
    changed[at % (len(changed) - 1)] ^= flip
    there[line] = bytes(changed)
    before, after = json.loads(lines(trail_again(folder))[line]), _parsed(bytes(changed))
    if before == after:
        return  # another spelling of the same record
    with pytest.raises(TrailBroken, match=f"line {line + 1}"):
        verify(there)


def trail_again(folder: Path) -> Path:
    return folder / "data.jsonl"


def _parsed(line: bytes) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None


@pytest.mark.parametrize("taken", range(1, 4))
def test_a_line_that_was_taken_out_is_found(tmp_path: Path, taken: int) -> None:
    there = lines(trail(tmp_path))
    del there[taken]
    with pytest.raises(TrailBroken, match=f"line {taken + 1}"):
        verify(there)


def test_lines_off_the_start_or_the_end_are_found_by_who_kept_a_hash(tmp_path: Path) -> None:
    there = lines(trail(tmp_path))
    with pytest.raises(TrailBroken):
        verify(there[1:], FIRST)
    assert verify(there[:-1]).hash != verify(there).hash


def test_a_line_that_its_writer_did_not_end_goes(tmp_path: Path) -> None:
    file = trail(tmp_path)
    with file.open("ab") as opened:
        opened.write(b'{"seq": 6, "at": "20')
    again = Trail(file)
    assert len(list(again.open())) == 5
    again.add(records(1, 5))
    assert verify(lines(file)).records == 6


def test_who_goes_on_after_a_broken_chain_says_so(tmp_path: Path) -> None:
    file = trail(tmp_path)
    there = lines(file)
    there[2] = there[2].replace(b"Active", b"Denied")
    file.write_bytes(b"".join(there))
    again = Trail(file)
    list(again.open())
    again.add(records(1, 5))
    events = [json.loads(line)["event"] for line in lines(file)[5:]]
    assert events == [BROKEN, "GrantActive"]
    with pytest.raises(TrailBroken, match="line 3"):
        verify(lines(file))


def test_the_command_verifies_files_that_follow_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = lines(trail(tmp_path))
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"".join(there[:2]))
    two.write_bytes(b"".join(there[2:]))
    assert main(["audit", "verify", str(one), str(two)]) == 0
    said = capsys.readouterr().out
    assert "5 lines" in said
    last = said.rpartition("last hash: ")[2].strip()
    assert main(["audit", "verify", str(one), str(two), "--ends-with", last]) == 0
    assert main(["audit", "verify", str(one), "--ends-with", last]) == 1
    assert main(["audit", "verify", str(two), str(one)]) == 1
    capsys.readouterr()
    assert main(["audit", "show", str(one), "--about", "grant/1"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown == [f"{AT}  GrantActive       who=王 li"]
