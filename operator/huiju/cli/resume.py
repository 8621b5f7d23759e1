"""`kubectl huiju resume`: queues suspended jobs again.

Decides nothing; a resumed job waits in its queue like any other.
"""

from __future__ import annotations

import argparse

from huiju.cli.session import Session
from huiju.cli.switches import add_names, switch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "job")


def run(session: Session) -> int:
    """Resume the jobs."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    return switch(session, CROSS_REGION_JOBS, "suspend", False, "resumed", "")
