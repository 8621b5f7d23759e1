"""How a queue is served: what fails comes back after its pause, and stops nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import pytest

from huiju.kube.errors import ApiStatus, Conflict, Transient
from huiju.kube.workqueue import QueueSettings, WorkQueue
from tests.patience import PATIENCE

SOON = QueueSettings(base=0.01, longest=0.02)
log = logging.getLogger("served")


async def served(failures: Mapping[str, BaseException], workers: int = 2) -> dict[str, int]:
    """How often each key was handled: those with a failure fail the first time."""
    tries = dict.fromkeys([*failures, "sound"], 0)
    queue = WorkQueue(settings=SOON)
    done: set[str] = set()
    all_done = asyncio.Event()

    async def handle(key: str) -> None:
        tries[key] += 1
        if key in failures and tries[key] == 1:
            raise failures[key]
        done.add(key)
        if done == set(tries):
            all_done.set()

    for key in tries:
        queue.add(key)
    serving = asyncio.create_task(queue.serve(handle, workers=workers, noun="thing", log=log))
    await asyncio.wait_for(all_done.wait(), PATIENCE)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    queue.close()
    return tries


@pytest.mark.parametrize(
    ("failure", "level", "words"),
    [
        (Transient("cut"), logging.INFO, "retrying"),
        (TimeoutError(), logging.INFO, "retrying"),
        (ApiStatus(403, "Forbidden", "no", {}), logging.WARNING, "refused"),
        (ValueError("bug"), logging.ERROR, "not handled"),
    ],
    ids=["transient", "timeout", "refused", "bug"],
)
async def test_a_failure_is_told_and_comes_back(
    failure: Exception, level: int, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert await served({"broken": failure}) == {"broken": 2, "sound": 1}
    (told,) = [record for record in caplog.records if record.name == "served"]
    assert (told.levelno, told.message, vars(told)["thing"]) == (level, words, "broken")


async def test_a_conflict_comes_back_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    conflict = Conflict(409, "Conflict", "written by another", {})
    assert await served({"broken": conflict}) == {"broken": 2, "sound": 1}
    assert not [record for record in caplog.records if record.name == "served"]


async def test_one_worker_serves_all_after_every_kind_of_failure() -> None:
    failures = {"a": ValueError("bug"), "b": Transient("cut"), "c": KeyError("bug")}
    assert await served(failures, workers=1) == {"a": 2, "b": 2, "c": 2, "sound": 1}
