"""`kubectl huiju version`: this program, and what the hub's API server is.

Decides nothing.
"""

from __future__ import annotations

import argparse
from typing import Any

from huiju import __version__
from huiju.cli.failures import OK
from huiju.cli.session import Session


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--client", action="store_true", help="only this program, ask no server")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="format")


def run(session: Session) -> int:
    """Print the versions."""
    known: dict[str, Any] = {"client": __version__}
    if not session.flags.client:
        known["kubernetes"] = session.api.call("GET", "/version")["gitVersion"]
        known["server"] = session.credentials.server
    if session.flags.output:
        from huiju.cli.listing import dump

        session.say(dump(known, session.flags.output))
        return OK
    session.say(f"kubectl-huiju {known['client']}")
    if "kubernetes" in known:
        session.say(f"hub {known['server']}: Kubernetes {known['kubernetes']}")
    return OK
