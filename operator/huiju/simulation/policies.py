"""The policies that can be compared, by name.

Decides what each name stands for: Huiju's own scheduling core with its default settings, with and
without federation, and simple rules that other systems follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from huiju.scheduling.policy import Policy
from huiju.simulation.engine import Progress, Result, SimJob, play, published_restart
from huiju.simulation.federation import Federation
from huiju.simulation.recorded import centers_of, queues_of
from huiju.simulation.ruled import Rule, Ruled, most_free, race
from huiju.simulation.rules import sjf
from huiju.simulation.staging import Dataset, Stager
from huiju.simulation.traces import Cluster, TraceJob


@dataclass(frozen=True, slots=True)
class Own:
    """Huiju's scheduling core."""

    keep_home: bool = False
    preemption: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """A policy with its line in the help."""

    help: str
    how: Own | Rule


POLICIES: Final[Mapping[str, Named]] = {
    "isolated": Named("Huiju's cycle, every job stays at home", Own(keep_home=True)),
    "huiju": Named("Huiju's cycle over all centers", Own()),
    "huiju-preempt": Named(
        "the same; each home is guaranteed its own compute and reclaims it", Own(preemption=True)
    ),
    "isolated-fifo": Named("every center its own line, in order of submission", Rule(apart=True)),
    "one-pool": Named("all nodes as one center, in order of submission", Rule(pooled=True)),
    "fifo": Named("one line over all centers, home first; others may pass", Rule()),
    "fifo-strict": Named("the same; nobody passes", Rule(strict=True)),
    "sjf": Named("shortest first by true run times; others may pass", Rule(order=sjf)),
    "sjf-strict": Named("the same; nobody passes", Rule(order=sjf, strict=True)),
    "race": Named(
        "every center tries, the first to reserve has the job (MultiKueue)", Rule(prefer=race)
    ),
    "most-free": Named(
        "the center with the most free accelerators (Karmada's dynamic weights)",
        Rule(prefer=most_free),
    ),
}
DEFAULT: Final = ("isolated", "huiju")


@dataclass(frozen=True, slots=True)
class Case:
    """What is simulated under every policy."""

    recorded: Sequence[TraceJob]
    jobs: Sequence[SimJob]
    clusters: Sequence[Cluster]
    datasets: Sequence[Dataset] = ()
    room: int = 0
    """Bytes of copies that a center keeps."""


def run(name: str, case: Case, seed: int = 0, progress: Progress | None = None) -> Result:
    """Simulate one policy."""
    stager = Stager(case.datasets, room=case.room)
    how = POLICIES[name].how
    network = (
        _federation(how, case)
        if isinstance(how, Own)
        else Ruled(case.recorded, case.clusters, how, seed)
    )
    return play(case.jobs, network, restart=published_restart, stager=stager, progress=progress)


def _federation(how: Own, case: Case) -> Federation:
    return Federation(
        centers_of(case.clusters, linked=bool(case.datasets)),
        queues_of(case.clusters, guaranteed=how.preemption),
        Policy(preemption=how.preemption),
        keep_home=how.keep_home,
        learn=True,
        datasets=case.datasets,
    )
