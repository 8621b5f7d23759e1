"""`huiju`: the programs that run in a cluster. Composition only; every part is tested on its own."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from huiju import __version__


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program by name; returns its exit code (2 for a wrong command line)."""
    parser = argparse.ArgumentParser(
        prog="huiju", description="Huiju joins AI computing centers into one network."
    )
    parser.add_argument("--version", action="version", version=f"huiju {__version__}")
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    hub = programs.add_parser("hub", help="run the hub: queue, place, dispatch and follow jobs")
    _hub_arguments(hub)
    arguments = parser.parse_args(argv)
    match arguments.program:
        case "hub":
            from huiju.hub.run import run_hub

            return run_hub(arguments)
        case _:
            parser.error(f"unknown program {arguments.program!r}")


def _hub_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", help="kubeconfig of the hub; default as kubectl")
    parser.add_argument("--context", help="context in the kubeconfig")
    parser.add_argument("--namespace", default="huiju-system", help="Huiju's own namespace")
    parser.add_argument("--bind", default="127.0.0.1", help="address of health and metrics")
    parser.add_argument("--health-port", type=int, default=8081, help="port of health and metrics")
    parser.add_argument("--view-bind", default="127.0.0.1", help="address of the view API")
    parser.add_argument("--view-port", type=int, default=0, help="port of the view API, 0 for none")
    parser.add_argument("--no-leader-election", action="store_true", help="run without a Lease")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")


if __name__ == "__main__":
    sys.exit(main())
