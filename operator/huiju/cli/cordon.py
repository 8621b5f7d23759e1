"""`kubectl huiju cordon`: closes centers for new jobs.

Decides nothing; what runs in a cordoned center stays.
"""

from __future__ import annotations

import argparse

from huiju.cli.session import Session
from huiju.cli.switches import add_names, switch


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_names(parser, "center")


def run(session: Session) -> int:
    """Cordon the centers."""
    from huiju.kube.resources import COMPUTE_CENTERS

    return switch(
        session,
        COMPUTE_CENTERS,
        "cordoned",
        True,
        "cordoned",
        "jobs that run there stay; no new ones are placed there",
    )
