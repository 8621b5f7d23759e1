"""`kubectl huiju queues`: who may hold how much of the network, and who holds it now.

Decides the order of rows: every queue under its parent. Amounts are dense BF16 TFLOPS.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from huiju.cli.listing import Question, add_listing_flags, check_flags, show
from huiju.cli.session import Session
from huiju.cli.table import Column, age, condition, dig

EXAMPLES = """\
amounts are dense BF16 TFLOPS, so that queues can hold different accelerators; jobs and amounts of a
queue count with those of all queues below it

  USAGE      held by placed jobs
  SHARE      falls to the queue when every queue asks for all that it may have
  BORROWED   of other queues' guarantees, taken back when they ask
  LENT       of its own guarantee, in other queues' hands
  DESERVED   falls to the queue now, by what it and others hold and ask for

examples:
  kubectl huiju queues
  kubectl huiju queues research -w
  kubectl huiju queues -o wide"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_listing_flags(parser, "queue", namespaced=False)


def run(session: Session) -> int:
    """Show the queues."""
    from huiju.kube.resources import COMPUTE_QUEUES

    flags = session.flags
    check_flags(flags)
    question = Question(COMPUTE_QUEUES, None, tuple(flags.names), labels=flags.selector)
    return show(session, question, COLUMNS, order=None if flags.names else by_tree)


def by_tree(queues: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every queue after its parent, siblings by name; a ring of parents ends where it closes."""
    parents = {q["metadata"]["name"]: dig(q, "spec", "parent") for q in queues}

    def path(queue: dict[str, Any]) -> list[str]:
        name: str | None = queue["metadata"]["name"]
        found: list[str] = []
        while name is not None and name not in found:
            found.append(name)
            name = parents.get(name)
        return found[::-1]

    return sorted(queues, key=path)


def _state(queue: dict[str, Any]) -> str:
    if dig(queue, "spec", "stopped"):
        return "Stopped"
    ready = condition(queue, "Ready")
    if not ready:
        return "-"
    return "Ready" if ready.get("status") == "True" else str(ready.get("reason"))


COLUMNS = (
    Column("NAME", lambda q: dig(q, "metadata", "name")),
    Column("PARENT", lambda q: dig(q, "spec", "parent")),
    Column("STATE", _state),
    Column("QUEUED", lambda q: dig(q, "status", "queued")),
    Column("RUNNING", lambda q: dig(q, "status", "running")),
    Column("USAGE", lambda q: dig(q, "status", "usage")),
    Column("SHARE", lambda q: dig(q, "status", "share")),
    Column("GUARANTEE", lambda q: dig(q, "spec", "guarantee")),
    Column("BORROWED", lambda q: dig(q, "status", "borrowed")),
    Column("LENT", lambda q: dig(q, "status", "lent")),
    Column("CEILING", lambda q: dig(q, "spec", "ceiling")),
    Column(
        "AGE", lambda q: age(dig(q, "metadata", "creationTimestamp"), time.time()), steady=False
    ),
    Column("DESERVED", lambda q: dig(q, "status", "deserved"), wide=True),
    Column("WEIGHT", lambda q: dig(q, "spec", "weight"), wide=True),
    Column("LENDING", lambda q: dig(q, "spec", "lendingLimit"), wide=True),
    Column("HOME", lambda q: dig(q, "spec", "homeCenter"), wide=True),
    Column("NAMESPACES", lambda q: ",".join(dig(q, "spec", "namespaces") or ["*"]), wide=True),
    Column("MESSAGE", lambda q: condition(q, "Ready").get("message"), wide=True),
)
