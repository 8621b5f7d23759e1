"""The hub's view API as the commands call it.

Decides paths only. Invariant: a name from the command line cannot leave its place in the path.
"""

from __future__ import annotations

from typing import Final

from huiju.kube.resources import Resource

_JOBS: Final = Resource("view.huiju.dev", "v1alpha1", "crossregionjobs", "Explanation", True)

_WHATIF: Final = Resource("view.huiju.dev", "v1alpha1", "whatif", "Explanation", True)
_DATASETS: Final = Resource("view.huiju.dev", "v1alpha1", "datasets", "DatasetList", True)
_CENTERS: Final = Resource("view.huiju.dev", "v1alpha1", "computecenters", "CordonEffect", False)


def datasets_path(namespace: str) -> str:
    """Where the data sets are listed that a namespace may ask for."""
    return _DATASETS.path(namespace)


def whatif_path(namespace: str) -> str:
    """Where it is asked how a job would fare."""
    return _WHATIF.path(namespace)


def cordon_path(center: str) -> str:
    """Where it is read what cordoning a center would do."""
    return _CENTERS.path(None, center, "cordon")


def why_path(namespace: str, name: str) -> str:
    """Where a job's explanation is read."""
    return _JOBS.path(namespace, name, "why")


def log_path(namespace: str, name: str) -> str:
    """Where a worker's log is streamed."""
    return _JOBS.path(namespace, name, "log")
