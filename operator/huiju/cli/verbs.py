"""The verbs by name: which module does each, and its line in the help.

A table of plain tuples (dataclasses alone take 10 ms to import), so that the help of one verb
imports no other. Invariant: every module named here has
`configure(parser)` and `run(session) -> exit code`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import argparse

    from huiju.cli.session import Session


class Verb(Protocol):
    """What a verb's module offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own arguments."""

    def run(self, session: Session) -> int:
        """Do it; returns the exit code."""


class Entry(NamedTuple):
    """One verb: its line in the help, and who uses it."""

    help: str
    platform: bool = False
    """True for what platform engineers do."""

    def load(self, name: str) -> Verb:
        """Import the verb's module."""
        return cast(Verb, import_module(f"huiju.cli.{name.replace('-', '')}"))


VERBS: Final[dict[str, Entry]] = {
    "submit": Entry("submit a job from a file or from flags"),
    "jobs": Entry("show jobs"),
    "why": Entry("say where a job stands, and what each center says to it"),
    "whatif": Entry("say where and when a job would run, or what cordoning a center would do"),
    "logs": Entry("print what a worker of a job prints, wherever it runs"),
    "cancel": Entry("stop a job for good"),
    "suspend": Entry("stop a job and give its accelerators back"),
    "resume": Entry("queue a suspended job again"),
    "move": Entry("send a job away from its center, to another"),
    "failover": Entry("let a job of a lost center run elsewhere"),
    "datasets": Entry("show the data sets that your namespace may ask for"),
    "dataset": Entry("ask for a data set, decide on a request, look after copies"),
    "models": Entry("show the models that your namespace may ask for"),
    "transfers": Entry("show copies of data sets on their way"),
    "audit": Entry("check and search the trail that is kept of data sets"),
    "queues": Entry("show queues"),
    "centers": Entry("show centers and their free accelerators"),
    "join": Entry("make a cluster a center of the network", platform=True),
    "approve": Entry("let the agent of a pull center in", platform=True),
    "revoke": Entry("shut the agent of a pull center out", platform=True),
    "cordon": Entry("place no new jobs in a center", platform=True),
    "uncordon": Entry("place jobs in a center again", platform=True),
    "drain": Entry("close a center and move its jobs to others", platform=True),
    "declare-dead": Entry("vouch that nothing runs in a lost center any more", platform=True),
    "repaired": Entry("vouch that a center's nodes are sound again", platform=True),
    "check": Entry("look for what is missing, and say how to mend it", platform=True),
    "completion": Entry("print the completion script of a shell"),
    "version": Entry("print the versions of this program and of the hub"),
}
