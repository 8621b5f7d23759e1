"""The ledger of a center: what was promised to jobs whose pods are not all bound yet.

Decides how many reserved workers of a job are still to come, and on which nodes they are expected.
Each pod of the job that has a node replaces one reserved worker: the one planned for that node, or
any other. Invariant: what is reserved depends on the reservations and pods alone, never on the
order in which they came, so nothing is counted twice and nothing is forgotten.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from huiju.centers.podusage import Owner
from huiju.scheduling.model import Assignment, Vector


@dataclass(frozen=True, slots=True)
class Reservation:
    """Units kept for one epoch of a job until its pods are bound."""

    uid: str
    epoch: int
    request: Vector
    """Of one worker."""
    assignments: tuple[Assignment, ...]


def outstanding(assignments: tuple[Assignment, ...], bound: Mapping[str, int]) -> dict[str, int]:
    """Workers still to come by planned node, given pods by the node they are on."""
    planned: Counter[str] = Counter()
    for assignment in assignments:
        planned[assignment.node] += assignment.workers
    strayed = 0
    for node, pods in bound.items():
        home = min(planned.get(node, 0), pods)
        if home:
            planned[node] -= home
        strayed += pods - home
    for node in sorted(planned) if strayed else ():
        replaced = min(planned[node], strayed)
        planned[node] -= replaced
        strayed -= replaced
    return {node: workers for node, workers in planned.items() if workers > 0}


class Ledger:
    """All reservations of a center, and the federated pods that replace them."""

    def __init__(self) -> None:
        self._reservations: dict[Owner, Reservation] = {}
        self._bound: dict[Owner, Counter[str]] = {}
        self._expected: dict[Owner, dict[str, int]] = {}
        self._by_node: dict[str, set[Owner]] = {}
        self._unsettled: set[Owner] = set()
        self._loose: set[str] = set()
        """Nodes whose expectations were dropped since the last settling."""

    def reserve(self, reservation: Reservation) -> bool:
        """Keep units; False if they are kept already."""
        owner = (reservation.uid, reservation.epoch)
        if self._reservations.get(owner) == reservation:
            return False
        # The new plan may ask for other amounts on the same nodes, so the old one goes first.
        self._loose |= self._expect(owner, {})
        self._reservations[owner] = reservation
        self._unsettled.add(owner)
        return True

    def release(self, uid: str, epoch: int) -> bool:
        """Give units back; False if none were kept."""
        if self._reservations.pop((uid, epoch), None) is None:
            return False
        self._unsettled.add((uid, epoch))
        return True

    def bind(self, owner: Owner, node: str, count: int = 1) -> None:
        """So many pods more of the job have this node."""
        self._bound.setdefault(owner, Counter())[node] += count
        self._touch(owner)

    def unbind(self, owner: Owner, node: str, count: int = 1) -> None:
        """So many pods of the job that had this node are gone."""
        pods = self._bound[owner]
        pods[node] -= count
        if pods[node] <= 0:
            del pods[node]
        if not pods:
            del self._bound[owner]
        self._touch(owner)

    def settle(self) -> set[str]:
        """Bring the expectations up to date; returns the nodes where they changed."""
        changed, self._loose = self._loose, set()
        for owner in self._unsettled:
            reservation = self._reservations.get(owner)
            expected = (
                outstanding(reservation.assignments, self._bound.get(owner, {}))
                if reservation is not None
                else {}
            )
            changed |= self._expect(owner, expected)
        self._unsettled.clear()
        return changed

    def reserved_on(self, node: str) -> dict[str, int]:
        """What is kept on a node, in base units; right after `settle`."""
        total: dict[str, int] = {}
        for owner in self._by_node.get(node, ()):
            workers = self._expected[owner][node]
            for name, amount in self._reservations[owner].request:
                total[name] = total.get(name, 0) + amount * workers
        return total

    def outstanding(self, resource: str) -> int:
        """Units of a resource that are kept for workers still to come; right after `settle`."""
        return sum(
            dict(self._reservations[owner].request).get(resource, 0) * sum(expected.values())
            for owner, expected in self._expected.items()
        )

    def _expect(self, owner: Owner, expected: dict[str, int]) -> set[str]:
        """Take new expectations; returns the nodes where they differ from the last."""
        before = self._expected.pop(owner, {})
        if expected:
            self._expected[owner] = expected
        for node in before.keys() - expected.keys():
            owners = self._by_node[node]
            owners.discard(owner)
            if not owners:
                del self._by_node[node]
        for node in expected.keys() - before.keys():
            self._by_node.setdefault(node, set()).add(owner)
        return {
            node
            for node in before.keys() | expected.keys()
            if before.get(node) != expected.get(node)
        }

    def _touch(self, owner: Owner) -> None:
        if owner in self._reservations:
            self._unsettled.add(owner)
