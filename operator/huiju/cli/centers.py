"""`kubectl huiju centers`: the member clusters, and what is free in them.

Decides which columns tell a center's state; the numbers are the hub's.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from huiju.cli.listing import Question, add_listing_flags, check_flags, show
from huiju.cli.session import Session
from huiju.cli.table import Column, age, condition, dig, moment, span

EXAMPLES = """\
examples:
  kubectl huiju centers                 what is free where (free/allocatable units per model)
  kubectl huiju centers -o wide         with reasons, versions and what federated jobs hold
  kubectl huiju centers --region south -w"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_listing_flags(parser, "center", namespaced=False)
    parser.add_argument("--region", metavar="NAME", help="only centers of this region")


def run(session: Session) -> int:
    """Show the centers."""
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    check_flags(flags)
    fields = f"spec.region={flags.region}" if flags.region else ""
    question = Question(
        COMPUTE_CENTERS, None, tuple(flags.names), labels=flags.selector, fields=fields
    )
    return show(session, question, COLUMNS)


def ready(center: dict[str, Any]) -> str:
    """True, False or Unknown, with the cordon as `kubectl get nodes` shows it."""
    state = str(condition(center, "Ready").get("status", "Unknown"))
    return f"{state},Cordoned" if dig(center, "spec", "cordoned") else state


def _federated(center: dict[str, Any]) -> str:
    held = dig(center, "status", "accelerators") or []
    return ", ".join(f"{a['model']} {a['federated']}" for a in held if a.get("federated"))


def lease(center: dict[str, Any]) -> str:
    """The lease under which guarded jobs run: its profile, or why there is none."""
    profile = str(dig(center, "status", "lease", "profile") or "")
    ends_by = dig(center, "status", "lease", "endsBy")
    match condition(center, "Leased").get("status"):
        case "True":
            return profile
        case "Unknown" if ends_by:
            left = (moment(ends_by) or 0.0) - time.time()
            return f"ends in {span(left)}" if left > 0 else "ended"
        case _:
            return str(condition(center, "Leased").get("reason") or "")


def set_aside(center: dict[str, Any]) -> str:
    """Nodes that no job is sent to after hardware faults."""
    faulty = dig(center, "status", "faultyNodes") or []
    return ", ".join(node["node"] for node in faulty if node.get("setAsideUntil"))


COLUMNS = (
    Column("NAME", lambda c: dig(c, "metadata", "name")),
    Column("REGION", lambda c: dig(c, "spec", "region")),
    Column("READY", ready),
    Column("FREE", lambda c: dig(c, "status", "summary")),
    Column("NODES", lambda c: dig(c, "status", "nodes", "schedulable")),
    Column("LEASE", lease, steady=False),
    Column(
        "AGE", lambda c: age(dig(c, "metadata", "creationTimestamp"), time.time()), steady=False
    ),
    Column("FEDERATED", _federated, wide=True),
    Column("SET ASIDE", set_aside, wide=True),
    Column("VERSION", lambda c: dig(c, "status", "kubernetesVersion"), wide=True),
    Column("REASON", lambda c: condition(c, "Ready").get("reason"), wide=True),
    Column("MESSAGE", lambda c: condition(c, "Ready").get("message"), wide=True),
)
