"""Verbs that set one field of an object: cancel, suspend, resume, cordon, uncordon.

Decides the words only. Invariant: doing it twice is as good as doing it once.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from huiju.cli.failures import OK
from huiju.cli.session import Session
from huiju.cli.wait import ended

if TYPE_CHECKING:
    from huiju.kube.resources import Resource


def add_names(parser: argparse.ArgumentParser, noun: str) -> None:
    """NAME… and --dry-run."""
    parser.add_argument("names", metavar=noun.upper(), nargs="+", help=f"name of the {noun}")
    parser.add_argument(
        "--dry-run", action="store_true", help="let the server check, store nothing"
    )


def switch(session: Session, res: Resource, field: str, value: bool, done: str, hint: str) -> int:
    """Set `spec.<field>` of each named object; `done` and `hint` are what is said of it."""
    namespace = session.namespace if res.namespaced else None
    noun = "job" if res.namespaced else "center"
    for name in session.flags.names:
        found = session.api.patch(
            res, name, {"spec": {field: value}}, namespace, dry_run=session.flags.dry_run
        )
        where = f"{namespace}/{name}" if namespace else name
        if res.namespaced and ended(found) is not None:
            session.say(f"{noun} {where} has ended already: nothing changes")
            continue
        tried = " (server dry run)" if session.flags.dry_run else ""
        session.say(f"{noun} {where} {done}{tried}")
    if hint:
        session.note(hint)
    return OK
