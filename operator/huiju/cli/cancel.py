"""`kubectl huiju cancel`: stops jobs for good.

Decides nothing; the hub stops what runs, and the object stays to be read.
"""

from __future__ import annotations

import argparse

from huiju.cli.session import Session
from huiju.cli.switches import add_names, switch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "job")


def run(session: Session) -> int:
    """Cancel the jobs."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    return switch(session, CROSS_REGION_JOBS, "cancel", True, "cancelled", "")
