"""Whether a machine is at fault for the end of an attempt, and which.

Pure. Decides by what Kubernetes says of a pod, by what the center's devices show, and by what the
program itself says: an exit code that its job names, or words that drivers use of broken hardware
alone (`causes.py`). Invariants: what the program says is marked as its claim, since a program may
say anything; an end that has another cause for certain (the limit of its run time, a lease, its
owner's pods) is never held against a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.causes import Cause, Failure, Fault

Ailing = Callable[[str], str]
"""What was wrong with a node's hardware lately, in words; empty if nothing is known."""
_OPEN: Final = frozenset({Reason.APPLICATION_FAILED, Reason.NO_PROGRESS, Reason.NODE_LOST})
"""Ends that a machine may be behind."""


def well(_: str) -> str:
    """Nothing is known of any node."""
    return ""


def codes_of(note: str) -> frozenset[int]:
    """The exit codes that a workload's annotation names; what is no number is passed over."""
    return frozenset(int(word) for word in note.split(",") if word.isascii() and word.isdecimal())


def claims(cause: Cause, codes: frozenset[int]) -> Cause:
    """The cause, marked as the program's claim where its exit code says that the machine failed."""
    own = cause.reason is Reason.APPLICATION_FAILED and cause.fault is Fault.NONE
    return replace(cause, fault=Fault.CLAIMED) if own and cause.code in codes else cause


def judged(cause: Cause, nodes: Iterable[str], ailing: Ailing) -> Cause:
    """The cause of an attempt's end that ran on `nodes`, with the machine's part in it."""
    if cause.fault is Fault.SEEN or cause.reason not in _OPEN:
        return cause
    for node in dict.fromkeys((cause.node, *nodes)):
        trouble = ailing(node) if node else ""
        if trouble:
            lost = cause.reason is Reason.NODE_LOST
            return replace(
                cause,
                failure=Failure.INFRASTRUCTURE,
                reason=cause.reason if lost else Reason.HARDWARE_FAULT,
                message=f"Node {node}: {trouble}. {cause.message}",
                node=node,
                fault=Fault.SEEN,
            )
    if cause.fault is Fault.CLAIMED and cause.node:
        return replace(cause, failure=Failure.INFRASTRUCTURE, reason=Reason.HARDWARE_FAULT)
    return cause
