"""What a pod asks of its node: its effective request.

Decides the one vector that the node keeps for the pod's whole life. Per resource it is the largest
of what runs together at any moment: all containers with all sidecars, or one init container with
the sidecars started before it; then the overhead. Requests at pod level replace the sum for the
resources that they name. Invariant: equal to what the kube-scheduler reserves.
"""

from __future__ import annotations

from collections.abc import Mapping

from huiju.centers.objects import Amounts, PodNeeds, Resources
from huiju.centers.quantity import base_units
from huiju.scheduling.model import CPU, MEMORY, PODS

MOST_OF_ANYTHING = 10**12
"""No node has more of an extended resource; a million such amounts still add up in 64 bits."""
SIDECAR = "Always"
"""Restart policy that makes an init container a sidecar."""


def spec_requests(spec: PodNeeds) -> dict[str, int]:
    """The effective request of a pod in base units, with `pods: 1` and without zeros.

    Raises:
        ValueError: an amount is no quantity.
    """
    running: dict[str, int] = {}
    for container in spec.containers:
        _add(running, requested(container.resources))
    if spec.init_containers:
        running = _with_init(spec, running)
    if spec.resources is not None:
        for name, amount in requested(spec.resources).items():
            if at_pod_level(name):
                running[name] = amount
    if spec.overhead:
        _add(running, amounts(spec.overhead))
    made = {name: amount for name, amount in running.items() if amount > 0}
    made[PODS] = 1
    return made


def _with_init(spec: PodNeeds, running: dict[str, int]) -> dict[str, int]:
    """The peak over the start of the pod and its life."""
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.init_containers:
        wanted = requested(container.resources)
        if container.restart_policy == SIDECAR:
            _add(sidecars, wanted)
            _raise_to(peak, sidecars)
        else:
            starting = dict(sidecars)
            _add(starting, wanted)
            _raise_to(peak, starting)
    _add(running, sidecars)
    _raise_to(running, peak)
    return running


def requested(resources: Resources | None) -> dict[str, int]:
    """Requests in base units; a limit stands in where no request is given."""
    if resources is None:
        return {}
    if not resources.limits:
        return amounts(resources.requests or {})
    return amounts({**resources.limits, **(resources.requests or {})})


def at_pod_level(resource: str) -> bool:
    """Whether a request of the pod as a whole may name this resource."""
    return resource in (CPU, MEMORY) or resource.startswith("hugepages-")


def amounts(written: Amounts) -> dict[str, int]:
    """Written amounts in base units.

    Raises:
        ValueError: an amount is no quantity.
    """
    return {name: base_units(name, amount) for name, amount in written.items()}


def is_extended(resource: str) -> bool:
    """Whether a resource name is an extended one, which device plugins and owners advertise."""
    return "/" in resource and not resource.startswith("kubernetes.io/")


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _raise_to(total: dict[str, int], least: Mapping[str, int]) -> None:
    for name, amount in least.items():
        if amount > total.get(name, 0):
            total[name] = amount
