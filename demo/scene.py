"""The demo's centers and jobs: what stands for what, and how time is compressed.

Decides the mapping from recorded clusters to centers and from recorded jobs to CrossRegionJobs.
Invariant: every recorded row becomes one job, its size and (compressed) duration as recorded.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from huiju.api.meta import GROUP, VERSION
from lab.fates import pod_annotations

CARDS: Final = 8
"""Accelerators per worker of a gang; a recorded job of more is split into such workers."""
QUEUE_ROOT: Final = "network"


@dataclass(frozen=True, slots=True)
class Site:
    """One center of the demo."""

    name: str
    city: str
    home_of: str
    """Recorded cluster whose users are at home here."""
    node_type: str
    """Node type of the lab."""
    model: str
    nodes: int
    units_per_node: int

    @property
    def units(self) -> int:
        """Accelerators in the center."""
        return self.nodes * self.units_per_node


SITES: Final = (
    Site("south", "Shenzhen", "itp03", "ascend-910b", "ascend-910b3", 10, 8),
    Site("north", "Beijing", "itp09", "ascend-a3", "ascend-910c", 3, 16),
    Site("east", "Hangzhou", "itp06", "nvidia-h100", "nvidia-h100-sxm", 5, 8),
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded job, in recorded seconds."""

    number: int
    submit: int
    duration: int
    cards: int
    home: Site

    @property
    def name(self) -> str:
        """Name of its CrossRegionJob."""
        return f"itp-{self.number:03d}"

    @property
    def namespace(self) -> str:
        """Namespace and queue of the users at home in its center."""
        return f"team-{self.home.name}"

    @property
    def workers(self) -> int:
        """Pods of the gang."""
        return max(1, self.cards // CARDS)

    @property
    def per_worker(self) -> int:
        """Accelerators of each."""
        return min(self.cards, CARDS)

    @property
    def models(self) -> tuple[str, ...]:
        """Accelerator alternatives: the home center's first."""
        others = (site.model for site in SITES if site is not self.home)
        return (self.home.model, *others)


def recorded() -> list[Recorded]:
    """The rows of the slice in their order."""
    homes = {site.home_of: site for site in SITES}
    text = files("demo").joinpath("trace", "itp-slice.csv").read_text(encoding="utf-8")
    return [
        Recorded(
            number,
            int(row["submit_s"]),
            int(row["duration_s"]),
            int(row["gpus"]),
            homes[row["cluster"]],
        )
        for number, row in enumerate(csv.DictReader(text.splitlines()))
    ]


def manifest(job: Recorded, compression: float) -> dict[str, Any]:
    """The CrossRegionJob of a recorded job; its pods run for the compressed duration."""
    seconds = job.duration / compression
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "CrossRegionJob",
        "metadata": {"name": job.name, "namespace": job.namespace},
        "spec": {
            "queue": job.namespace,
            "accelerators": [
                # The recorded duration holds wherever the job runs.
                {"model": model, "perWorker": job.per_worker, "relativeSpeed": "1"}
                for model in job.models
            ],
            "workers": job.workers,
            "expectedRuntime": f"{max(1, round(seconds))}s",
            "ttlAfterFinished": "1h",
            "template": {
                "metadata": {"annotations": pod_annotations(run_for=f"{seconds:.1f}s")},
                "spec": {
                    "containers": [
                        {
                            "name": "train",
                            "image": "registry.example/train:1",
                            "command": ["python", "train.py"],
                            "resources": {"requests": {"cpu": "2", "memory": "8Gi"}},
                        }
                    ]
                },
            },
        },
    }
