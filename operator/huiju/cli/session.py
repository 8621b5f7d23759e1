"""What a command line says of the cluster: kubeconfig, context, namespace, and the client of them.

Decides defaults the way kubectl does. Invariant: nothing is read or imported before it is needed.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from functools import cached_property
from typing import TYPE_CHECKING

from huiju.cli.failures import UsageError

if TYPE_CHECKING:
    from huiju.cli.api import Api
    from huiju.kube.credentials import Credentials

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and line feed, and what turns the direction of writing."""


def add_cluster_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that kubectl has too; absent ones leave no trace, so they may stand anywhere."""
    group = parser.add_argument_group("cluster")
    quiet = argparse.SUPPRESS
    group.add_argument("--kubeconfig", metavar="FILE", default=quiet, help="kubeconfig of the hub")
    group.add_argument("--context", metavar="NAME", default=quiet, help="context in the kubeconfig")
    group.add_argument("-n", "--namespace", metavar="NAME", default=quiet, help="namespace of jobs")
    group.add_argument(
        "--request-timeout",
        metavar="SECONDS",
        type=_seconds,
        default=quiet,
        help="how long to wait for an answer (default 15)",
    )


def _seconds(given: str) -> float:
    try:
        seconds = float(given.removesuffix("s"))
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 86_400:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number of seconds such as 15")
    return seconds


def plain(text: str) -> str:
    """The text without what a terminal would obey: centers and jobs may say anything."""
    return _CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Session:
    """One run of a command: its flags, and the hub's API server behind them."""

    def __init__(self, flags: argparse.Namespace) -> None:
        self.flags = flags
        self.tail: list[str] = getattr(flags, "tail_words", [])
        """The words after `--`."""

    @cached_property
    def credentials(self) -> Credentials:
        """The hub's address and the caller's identity; raises KubeconfigRefused."""
        from huiju.kube.kubeconfig import from_kubeconfig

        path = getattr(self.flags, "kubeconfig", None)
        if path is not None and not os.path.isfile(os.path.expanduser(path)):
            raise UsageError(f"--kubeconfig: there is no file {path}")
        return from_kubeconfig(path, getattr(self.flags, "context", None))

    @cached_property
    def api(self) -> Api:
        """The hub."""
        from huiju.cli.api import Api

        return Api(self.credentials, timeout=self.timeout)

    @property
    def timeout(self) -> float:
        """Seconds to wait for an answer."""
        return float(getattr(self.flags, "request_timeout", 15.0))

    @property
    def namespace(self) -> str:
        """The namespace asked for, else the context's."""
        given = getattr(self.flags, "namespace", None)
        return str(given) if given else self.credentials.namespace

    def say(self, line: str = "") -> None:
        """Print a line of the answer."""
        sys.stdout.write(plain(line) + "\n")

    def note(self, line: str) -> None:
        """Print a remark that is no part of the answer."""
        sys.stdout.flush()
        sys.stderr.write(plain(line) + "\n")
