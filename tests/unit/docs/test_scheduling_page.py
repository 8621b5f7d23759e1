"""The worked examples of docs/scheduling.md are what scheduler and commands really say.

Each example is a small world put before the scheduler's core; what comes out is shown by the same
code that `kubectl huiju` shows it with. After a change that is meant: UPDATE_PAGES=1, and read the
difference.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from huiju.api.reasons import Reason
from huiju.cli import queues as queues_verb
from huiju.cli.table import cells, table
from huiju.cli.why import lines
from huiju.hub.view import explanation_fields
from huiju.scheduling.core import Core
from huiju.scheduling.model import (
    Accelerator,
    Alternative,
    Assignment,
    Center,
    DataNeed,
    Job,
    Link,
    Placed,
    Queue,
    UnitKind,
)
from tests.scheduling_worlds import bucket, core, nodes, shape, wants

PAGE = Path(__file__).resolve().parents[3] / "docs" / "scheduling.md"
H100 = Accelerator("nvidia-h100-sxm", "nvidia.com/gpu", UnitKind.DEVICE, 989_000)
B3 = Accelerator("ascend-910b3", "huawei.com/Ascend910", UnitKind.DEVICE, 295_000)
NODE = 8 * H100.gflops
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
MINUTE, HOUR = 60.0, 3600.0


def job(name: str, units: int = 8, workers: int = 1, **more: Any) -> Job:
    """A job for H100s in queue `research`, submitted at noon; arguments of a shape may be mixed."""
    known = set(Job.__dataclass_fields__)
    own: dict[str, Any] = {"queue": "research", "submitted": NOON}
    own |= {k: v for k, v in more.items() if k in known}
    rest = {k: v for k, v in more.items() if k not in known}
    own.setdefault("shape", wants(units, workers, H100.model, **rest))
    return Job(uid=name, name=f"team-a/{name}", **own)


def north(count: int = 2, taken: dict[str, int] | None = None) -> Center:
    """A center of H100 nodes; so many cards are taken on some of them."""
    taken = taken or {}
    kind = shape(H100)
    return Center(
        "north",
        tuple(bucket([name], kind, taken=taken.get(name, 0)) for name in nodes("north", count)),
    )


def why(made: Core, name: str, now: float) -> list[str]:
    """The output of `kubectl huiju why`."""
    told = made.explain(name, now)
    assert told is not None
    queue = next(job.queue for job in made._world.jobs.values() if job.uid == name)
    answer = {
        "job": f"team-a/{name}",
        "queue": queue,
        "phase": "Queued",
        **explanation_fields(told),
    }
    return [f"$ kubectl huiju why {name}", *lines(answer, now)]


def shown(made: Core, *specs: Queue) -> list[str]:
    """The output of `kubectl huiju queues`, some columns left out."""
    counts = Counter(p.job.queue for p in made._world.placed.values())
    waiting = Counter(j.queue for j in made._world.jobs.values())
    standings = {each.queue: each for each in made.standings()}
    objects = []
    for queue in specs:
        found = standings[queue.name]
        figures = ("usage", "share", "borrowed", "lent", "deserved")
        status = {figure: getattr(found, figure) // 1000 for figure in figures}
        status |= {"queued": waiting[queue.name], "running": counts[queue.name]}
        spec = {"guarantee": queue.guarantee // 1000 or None, "weight": queue.weight}
        objects.append({"metadata": {"name": queue.name}, "spec": spec, "status": status})
    titles = ("NAME", "QUEUED", "RUNNING", "USAGE", "SHARE", "GUARANTEE", "BORROWED", "LENT")
    columns = [column for column in queues_verb.COLUMNS if column.title in titles]
    rows = [cells(columns, item) for item in objects]
    return ["$ kubectl huiju queues", *table([c.title for c in columns], rows)]


def cards(made: Core) -> dict[str, int]:
    found: Counter[str] = Counter()
    for placed in made._world.placed.values():
        found[placed.job.queue] += placed.units
    return dict(found)


# --- the examples -----------------------------------------------------------------------------


def order_in_a_queue() -> Iterator[str]:
    made = core(
        [north(taken=dict.fromkeys(nodes("north", 2), 8))],
        [
            job("saturday", submitted=NOON - 2 * 24 * HOUR),
            job("today", submitted=NOON - HOUR),
            job("urgent", submitted=NOON, priority=1),
        ],
        [Queue("research")],
    )
    made.cycle(NOON)
    for name in ("saturday", "urgent", "today"):
        told = why(made, name, NOON)
        yield told[0]
        yield next(line for line in told if line.startswith("Position"))


def order_among_queues() -> Iterator[str]:
    for guarantee in (0, 20 * H100.gflops):
        if guarantee:
            yield ""
        specs = [Queue("a", weight=3), Queue("b", weight=1, guarantee=guarantee)]
        jobs = [job(f"{q.name}-{i:02d}", 1, queue=q.name) for q in specs for i in range(32)]
        made = core([north(4)], jobs, specs)
        made.cycle(NOON)
        expected = {"a": 12, "b": 20} if guarantee else {"a": 24, "b": 8}
        assert cards(made) == expected
        yield from shown(made, *specs)


def a_gang_is_packed() -> Iterator[str]:
    kind = shape(H100)
    left = Center(
        "north",
        (bucket(nodes("north", 2), kind), bucket(["north-0002"], kind, taken=6)),
    )
    (placed,) = core([left], [job("gang", 2, 5)], [Queue("research")]).cycle(NOON).placed
    for assignment in placed.assignments:
        yield f"{assignment.node}: {assignment.workers} worker(s) of 2 cards"


def the_score() -> Iterator[str]:
    both = (Alternative(H100.model, 8), Alternative(B3.model, 8))
    data = (DataNeed("corpus", 500 * 10**9, frozenset({"south"})),)
    south = Center(
        "south",
        (bucket(nodes("south", 1), shape(B3)),),
        links=(Link("north", 125_000_000),),
    )
    for needs in ((), data):
        if needs:
            yield ""
        asked = job("train", expected_runtime=1000.0, alternatives=both, data=needs)
        made = core([north(1), south], [asked], [Queue("research", home_center="south")])
        yield from why(made, "train", NOON)
        (placed,) = made.cycle(NOON).placed
        assert placed.center == ("south" if needs else "north")


def owner_and_guest() -> tuple[Core, tuple[Queue, Queue]]:
    specs = (Queue("owner", guarantee=NODE), Queue("guest"))
    made = core([north()], [job(f"guest-{i}", queue="guest") for i in range(2)], specs)
    made.cycle(NOON)
    made.set_center(north(taken=dict.fromkeys(nodes("north", 2), 8)))
    return made, specs


def borrowed_and_lent() -> Iterator[str]:
    made, specs = owner_and_guest()
    yield from shown(made, *specs)


def taken_back() -> Iterator[str]:
    made, specs = owner_and_guest()
    later = NOON + HOUR
    made.set_job(job("mine", queue="owner", submitted=later))
    (stopped,) = made.cycle(later).preempted
    assert stopped.ground == "guarantee"
    yield f"{stopped.victim.job.name}: {stopped.message}"
    yield ""
    # The victim's workers have ended: it waits again, at its old place.
    uid = stopped.victim.job.uid
    made.drop_placed(uid)
    made.set_job(stopped.victim.job)
    (node,) = {a.node for a in stopped.victim.assignments}
    made.set_center(north(taken={name: 8 for name in nodes("north", 2) if name != node}))
    assert [p.job.uid for p in made.cycle(later + MINUTE).placed] == ["mine"]
    made.set_center(north(taken=dict.fromkeys(nodes("north", 2), 8)))
    yield from shown(made, *specs)


def backfill() -> Iterator[str]:
    busy = job("busy", 4, expected_runtime=HOUR)
    made = core([north(taken={"north-0000": 4})], (), [Queue("research")])
    made.set_placed(
        Placed(busy, "north", 0, 4, NODE // 2, NOON, assignments=(Assignment("north-0000", 1),))
    )
    now = NOON + 10 * MINUTE
    made.set_job(job("gang", 8, 2, submitted=now))
    made.set_job(job("tells-nothing", 4, submitted=now + 1))
    made.set_job(job("short", 4, submitted=now + 2, max_runtime=45 * MINUTE))
    assert [p.job.uid for p in made.cycle(now).placed] == ["short"]
    yield from why(made, "gang", now)
    yield ""
    yield from why(made, "tells-nothing", now)


def preemption() -> Iterator[str]:
    made = core([north()], (), [Queue("research")])
    for number, (name, period) in enumerate((("saves-often", 10 * MINUTE), ("saves-never", None))):
        held = job(name, checkpoint_period=period)
        spot = (Assignment(f"north-{number:04d}", 1),)
        made.set_placed(Placed(held, "north", 0, 8, NODE, NOON, assignments=spot))
    made.set_center(north(taken=dict.fromkeys(nodes("north", 2), 8)))
    now = NOON + 2 * HOUR + 5 * MINUTE
    made.set_job(job("urgent", submitted=now, priority=3))
    (stopped,) = made.cycle(now).preempted
    assert stopped.victim.job.uid == "saves-often"
    yield f"{stopped.victim.job.name}: {stopped.reason}. {stopped.message}"


EXAMPLES: dict[str, Callable[[], Iterable[str]]] = {
    "order in a queue": order_in_a_queue,
    "order among queues": order_among_queues,
    "packing": a_gang_is_packed,
    "score": the_score,
    "borrowing": borrowed_and_lent,
    "reclaim": taken_back,
    "backfill": backfill,
    "preemption": preemption,
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_page_shows_what_comes_out(name: str) -> None:
    block = re.compile(rf"(<!-- Example: {name} -->\n```console\n).*?(\n```\n)", re.DOTALL)
    text = PAGE.read_text(encoding="utf-8")
    found = block.findall(text)
    assert len(found) == 1, f"docs/scheduling.md has {len(found)} examples named {name!r}"
    real = "\n".join(line.rstrip() for line in EXAMPLES[name]())
    made = block.sub(lambda match: match.group(1) + real + match.group(2), text)
    if os.environ.get("UPDATE_PAGES"):
        PAGE.write_text(made, encoding="utf-8")
        return
    assert text == made, "if the change is meant, run again with UPDATE_PAGES=1"


def test_every_example_of_the_page_is_real() -> None:
    named = re.findall(r"<!-- Example: (.*?) -->", PAGE.read_text(encoding="utf-8"))
    assert sorted(named) == sorted(EXAMPLES)


def test_the_words_of_the_page_are_reasons() -> None:
    text = PAGE.read_text(encoding="utf-8")
    words = set(re.findall(r"\(`([A-Z][a-z]+(?:[A-Z][a-z]+)+)`\)", text))
    assert words
    assert words <= {str(reason) for reason in Reason}
