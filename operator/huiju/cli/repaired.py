"""`kubectl huiju repaired`: the owner's word that a center's nodes are sound again.

Decides nothing: the hub lets go of the hardware faults that were before the word. Invariant: a
fault that comes later counts again.
"""

from __future__ import annotations

import argparse
import time

from huiju.cli.failures import OK
from huiju.cli.session import Session
from huiju.cli.table import dig

EXAMPLES = """\
examples:
  kubectl huiju repaired guiyang --dry-run   # which nodes would be used again
  kubectl huiju repaired guiyang

A node on which hardware failed under jobs is kept off by these jobs, and by all after several. It
is used again by itself 6 hours after its last fault. To keep a broken node out, cordon it in its
cluster (kubectl cordon NODE)."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("center", metavar="CENTER", help="name of the center")
    parser.add_argument(
        "--dry-run", action="store_true", help="let the server check, store nothing"
    )


def run(session: Session) -> int:
    """Have all nodes of the center used again."""
    from huiju.kube.resources import COMPUTE_CENTERS

    flags = session.flags
    center = session.api.get(COMPUTE_CENTERS, flags.center)
    faulty = dig(center, "status", "faultyNodes") or []
    aside = [node["node"] for node in faulty if node.get("setAsideUntil")]
    if not faulty:
        session.say(f"no hardware fault is known of center {flags.center}: nothing was done")
        return OK
    # Faults are known by the second: those of this one are meant too.
    word = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    change = {"metadata": {"uid": center["metadata"]["uid"]}, "spec": {"hardwareRepaired": word}}
    session.api.patch(COMPUTE_CENTERS, flags.center, change, dry_run=flags.dry_run)
    tried = " (server dry run)" if flags.dry_run else ""
    session.say(
        f"center {flags.center}: {len(faulty)} node(s) with faults are used again{tried}: "
        + ", ".join(node["node"] for node in faulty)
        + (f" (set aside for all: {', '.join(aside)})" if aside else "")
    )
    return OK
