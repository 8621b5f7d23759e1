"""The step before the main containers: which checkpoint is the last complete one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from huiju.guard.prepare import last_complete, main

EPOCH = 5


@pytest.fixture
def attempts(tmp_path: Path) -> Path:
    return tmp_path / "train-1234"


def saved(folder: Path, at: int, marker: str | None = "COMPLETE") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.bin").write_text("w")
    if marker:
        (folder / marker).write_text("")
        os.utime(folder / marker, (at, at))
    return folder


def found(attempts: Path, epoch: int = EPOCH) -> str | None:
    return last_complete(str(attempts), epoch, "COMPLETE")


def test_there_is_none_before_the_first(attempts: Path) -> None:
    assert found(attempts) is None
    saved(attempts / "e1" / "step-1", 10, marker=None)
    assert found(attempts) is None, "the marker is written last"


def test_the_newest_of_the_newest_epoch_that_has_one(attempts: Path) -> None:
    first = saved(attempts / "e1" / "step-900", 900)
    assert found(attempts) == str(first)
    saved(attempts / "e2" / "step-1000", 40)
    newer = saved(attempts / "e2" / "step-1010", 50)
    saved(attempts / "e2" / "step-1020", 60, marker=None)
    saved(attempts / "e3" / "step-1015", 70, marker=None)
    assert found(attempts) == str(newer), "a later epoch went on from an earlier one"
    assert found(attempts, 2) == str(first)


def test_neither_this_epoch_nor_a_later_one_counts(attempts: Path) -> None:
    for epoch in (5, 6, 50):
        saved(attempts / f"e{epoch}" / "step-1", 10)
    assert found(attempts) is None


def test_what_was_written_in_one_instant_goes_by_number(attempts: Path) -> None:
    saved(attempts / "e1" / "step-9", 10)
    last = saved(attempts / "e1" / "step-10", 10)
    assert found(attempts) == str(last)


def test_an_attempt_may_be_one_checkpoint(attempts: Path) -> None:
    assert found(saved(attempts / "e4", 10).parent) == str(attempts / "e4")


def test_strangers_are_left_alone(attempts: Path) -> None:
    for name in ("e04", "E3", "e3.bak", "other", "e-1"):
        saved(attempts / name / "step-1", 10)
    (attempts / "e2").write_text("a file")
    (attempts / "e1").symlink_to(saved(attempts.parent / "elsewhere", 10))
    assert found(attempts) is None


def environment(attempts: Path, link: Path) -> dict[str, str]:
    return {
        "HUIJU_EPOCH": str(EPOCH),
        "HUIJU_PREPARE_ATTEMPTS": str(attempts),
        "HUIJU_PREPARE_MARKER": "COMPLETE",
        "HUIJU_PREPARE_RESUME": str(link),
    }


def test_the_link_leads_to_it_and_is_there_only_if_there_is_one(
    attempts: Path, tmp_path: Path
) -> None:
    link = tmp_path / "resume"
    assert main(environment(attempts, link)) == 0
    assert not link.is_symlink()
    saved(attempts / "e1" / "step-7", 10)
    for _ in range(2):  # a step that is done again, as after a node's restart
        assert main(environment(attempts, link)) == 0
        assert (link / "weights.bin").read_text() == "w"
    assert sorted(one.name for one in attempts.iterdir()) == ["e1"], "nothing is written there"


def test_what_cannot_be_read_is_no_fresh_start(
    attempts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attempts.write_text("a file where the folder should be")
    assert main(environment(attempts, tmp_path / "resume")) == 1
    assert str(attempts) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HUIJU_EPOCH", ""),
        ("HUIJU_PREPARE_MARKER", "a/b"),
        ("HUIJU_PREPARE_RESUME", "resume"),
        ("HUIJU_PREPARE_GATE", "10.0.0.1"),
    ],
)
def test_what_makes_no_sense_is_named(
    attempts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    assert main(environment(attempts, tmp_path / "resume") | {name: value}) == 2
    assert name in capsys.readouterr().err
