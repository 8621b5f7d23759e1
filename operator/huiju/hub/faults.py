"""Hardware faults on the nodes of one center: remembered, counted, and forgotten in time.

Pure; times are seconds since the epoch and passed in. Decides which nodes are suspect, so that the
jobs that failed there keep off, and which are set aside for all. Invariants: one witness alone (a
job whose center shows the fault, or a namespace whose programs claim it) sets no node aside; only a
share of a center's nodes is set aside, whatever is claimed; memory is bounded; equal notes are one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from huiju.hub.clock import seconds, stamp

Fields = dict[str, Any]
MOST_NODES: Final = 64
MOST_WITNESSES: Final = 8
"""Of one node; the newest count."""
ENOUGH: Final = 2
"""Witnesses that set a node aside."""


@dataclass(frozen=True, slots=True)
class FaultTerms:
    """For how long faults count, and how much they may take."""

    memory: float = 86_400.0
    """Seconds within which two faults of a node count together."""
    avoid: float = 21_600.0
    """Seconds after its latest fault for which a node is kept off."""
    share: float = 0.25
    """Of a center's nodes at most so many are set aside for all; one may always be."""


def witness(uid: str, namespace: str, *, claimed: bool) -> str:
    """Who stands for a fault: the job, or all jobs of a namespace where programs only claim it."""
    text = f"namespace {namespace}" if claimed else f"job {uid}"
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


class Faults:
    """The memory of one center."""

    def __init__(self, terms: FaultTerms, told: Iterable[Fields] = ()) -> None:
        self._terms = terms
        self._nodes: dict[str, dict[str, tuple[float, str]]] = {}
        """By node and witness: when, and the reason."""
        self._forgiven = 0.0
        for node in told:
            faults = self._nodes.setdefault(str(node["node"]), {})
            for fault in node.get("faults") or ():
                faults[str(fault["witness"])] = (seconds(str(fault["at"])), str(fault["reason"]))

    def note(self, node: str, by: str, at: float, reason: str, now: float) -> bool:
        """A fault that ended an attempt; False if nothing is new in it."""
        at = min(at, now)
        known = self._nodes.get(node, {})
        if at < max(self._forgiven, now - self._terms.memory) or at <= known.get(by, (0.0, ""))[0]:
            return False
        faults = self._nodes.setdefault(node, known)
        faults[by] = (at, reason)
        while len(faults) > MOST_WITNESSES:
            del faults[min(faults, key=lambda one: faults[one])]
        while len(self._nodes) > MOST_NODES:
            del self._nodes[min(self._nodes, key=self._latest)]
        return True

    def forgive(self, before: float) -> None:
        """The center's owner has repaired its nodes: what was before this time counts no more."""
        self._forgiven = max(self._forgiven, before)
        self._drop(self._forgiven)

    def forget(self, now: float) -> None:
        """Let go of what is too old to count."""
        self._drop(now - self._terms.memory)

    def suspects(self, now: float) -> frozenset[str]:
        """Nodes that the jobs which failed there keep off."""
        return frozenset(n for n in self._nodes if now < self._latest(n) + self._terms.avoid)

    def set_aside(self, now: float, nodes: int) -> dict[str, float]:
        """Nodes that no job is sent to, each with the time until then; the center has so many."""
        found = [
            (len(self._nodes[node]), self._latest(node), node)
            for node in self.suspects(now)
            if len(self._nodes[node]) >= ENOUGH
        ]
        most = max(1, int(nodes * self._terms.share))
        worst = sorted(found, reverse=True)[:most]
        return {node: latest + self._terms.avoid for _, latest, node in worst}

    def fields(self, now: float, nodes: int) -> list[Fields]:
        """The memory as the center's status keeps it."""
        until = self.set_aside(now, nodes)
        made = []
        for node in sorted(self._nodes):
            faults = [
                {"witness": by, "at": stamp(at), "reason": reason}
                for by, (at, reason) in sorted(self._nodes[node].items())
            ]
            told: Fields = {"node": node, "faults": faults}
            if node in until:
                told["setAsideUntil"] = stamp(until[node])
            made.append(told)
        return made

    def _latest(self, node: str) -> float:
        return max(at for at, _ in self._nodes[node].values())

    def _drop(self, before: float) -> None:
        kept = {
            node: {by: told for by, told in faults.items() if told[0] >= before}
            for node, faults in self._nodes.items()
        }
        self._nodes = {node: faults for node, faults in kept.items() if faults}
