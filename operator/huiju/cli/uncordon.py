"""`kubectl huiju uncordon`: opens cordoned centers again.

Decides nothing; the scheduler uses the center from its next cycle on.
"""

from __future__ import annotations

import argparse

from huiju.cli.session import Session
from huiju.cli.switches import add_names, switch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "center")


def run(session: Session) -> int:
    """Uncordon the centers."""
    from huiju.kube.resources import COMPUTE_CENTERS

    return switch(session, COMPUTE_CENTERS, "cordoned", False, "uncordoned", "")
