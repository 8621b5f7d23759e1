"""The rate of a puller, and the log of its parts: pure, with time passed in."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huiju.data.pull.pace import Pace
from huiju.data.pull.partlog import PartLog

MB = 1_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    st.integers(1, 200).map(lambda n: n * MB),
    st.lists(st.integers(1, 512 * 1024), min_size=50, max_size=400),
    st.integers(1, 8),
)
def test_no_ten_seconds_take_more_than_the_rate(rate: int, sizes: list[int], streams: int) -> None:
    clock = Clock()
    pace = Pace(rate, clock)
    taken: list[tuple[float, int]] = []
    waits = [clock.now] * streams
    for size in sizes:
        stream = min(range(streams), key=lambda s: waits[s])
        clock.now = max(clock.now, waits[stream])
        taken.append((clock.now, size))
        waits[stream] = clock.now + pace.delay(size)
    largest = max(sizes)
    for at, _ in taken:
        total = sum(size for when, size in taken if at <= when < at + 10)
        # What each stream has at hand when it begins to wait is one read.
        assert total <= rate * (10 * 0.97 + 0.05) + streams * largest


def test_a_new_rate_holds_at_once_and_debts_stay() -> None:
    clock = Clock()
    pace = Pace(10 * MB, clock)
    pace.delay(97 * MB // 10)
    before = pace.delay(97 * MB // 10)
    assert before == pytest.approx(2, abs=0.1)
    pace.change(20 * MB)
    assert pace.delay(0) == pytest.approx(1, abs=0.1)
    pace.change(0)
    assert pace.delay(MB) == 0
    pace.change(MB)
    assert pace.delay(0) == 0


def test_a_socket_holds_a_tenth_of_a_second_at_most() -> None:
    assert Pace(0).socket_bytes(4) == 0
    assert Pace(125 * MB).socket_bytes(4) == 125 * MB // 40
    assert Pace(1000).socket_bytes(4) == 32_768


def opened(file: Path, total: int, boot: bytes = b"now") -> PartLog:
    log = PartLog(file, total)
    log.open(boot)
    if log.trusted:
        log.go_on(boot)
    return log


@given(st.sets(st.integers(0, 499)), st.integers(0, 7))
def test_the_log_has_what_was_added_whatever_cut_it(
    tmp_path_factory: pytest.TempPathFactory, parts: set[int], torn: int
) -> None:
    file = tmp_path_factory.mktemp("log") / "parts"
    log = opened(file, 500)
    order = sorted(parts, key=lambda n: random.Random(n).random())
    for part in order:
        log.add(part)
    log.close()
    with file.open("ab") as end:
        end.write(os.urandom(torn))
    again = opened(file, 500)
    assert again.trusted
    assert {n for n in range(500) if n in again} == parts
    assert again.done == len(parts)
    again.add(7)
    again.close()
    assert 7 in opened(file, 500)


def test_after_another_boot_the_log_is_not_believed(tmp_path: Path) -> None:
    log = opened(tmp_path / "parts", 10)
    log.add(3)
    log.close()
    for boot in (b"later", b""):
        later = opened(tmp_path / "parts", 10, boot)
        assert not later.trusted
        assert 3 in later, "it is a hint of what to read"
        later.close()
    later = opened(tmp_path / "parts", 10, b"later")
    later.replace(b"later", [])
    later.add(4)
    later.close()
    fresh = opened(tmp_path / "parts", 10, b"later")
    assert fresh.trusted
    assert [n for n in range(10) if n in fresh] == [4]


def test_a_log_that_is_replaced_is_another_file(tmp_path: Path) -> None:
    asleep = opened(tmp_path / "parts", 10)
    asleep.add(3)
    mine = PartLog(tmp_path / "parts", 10)
    mine.open(b"now")
    mine.replace(b"now", [3])
    asleep.add(5)
    mine.add(6)
    assert [n for n in range(10) if n in opened(tmp_path / "parts", 10)] == [3, 6]


def test_numbers_that_cannot_be_are_passed_over(tmp_path: Path) -> None:
    log = opened(tmp_path / "parts", 10)
    log.close()
    with (tmp_path / "parts").open("ab") as end:
        end.write((1 << 60).to_bytes(8, "big") + (2).to_bytes(8, "big"))
    again = opened(tmp_path / "parts", 10)
    assert (2 in again, again.done) == (True, 1)
