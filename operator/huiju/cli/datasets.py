"""`kubectl huiju datasets`: what data sets a namespace has and may ask for.

Asks the hub's view API, which tells a namespace of nothing that it may not ask for. Decides the
columns and what a search means: every word must be found in name, description, license, modality
or labels.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from huiju.cli.failures import OK
from huiju.cli.listing import dump
from huiju.cli.session import Session
from huiju.cli.table import Column, age, cells, dig, table

EXAMPLES = """\
examples:
  kubectl huiju datasets
  kubectl huiju datasets speech chinese
  kubectl huiju datasets -l domain=medical -o wide

  YOURS   Own: the namespace's own; a state such as Active: that of its grant; -: not asked for yet

`kubectl huiju dataset grant NAMESPACE/NAME` asks for the use of one. Data sets that the namespace
may not ask for are neither shown nor counted."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("words", metavar="WORD", nargs="*", help="only data sets that these words are found in")
    add("-l", "--selector", metavar="QUERY", default="", help="labels, such as domain=medical")
    add("-o", "--output", choices=("wide", "json", "yaml", "name"), help="format")


def run(session: Session) -> int:
    """Show the data sets."""
    from huiju.cli.viewapi import datasets_path

    flags = session.flags
    query = {"search": " ".join(flags.words), "labelSelector": flags.selector}
    answer = session.api.call("GET", datasets_path(session.namespace), query=query)
    items: list[dict[str, Any]] = answer.get("items") or []
    match flags.output:
        case "json" | "yaml":
            session.say(dump(answer, flags.output))
        case "name":
            for item in items:
                session.say(f"{item['namespace']}/{item['name']}")
        case _:
            shown = [c for c in COLUMNS if flags.output == "wide" or not c.wide]
            if not items:
                session.note("No data sets found that the namespace may ask for.")
            else:
                rows = [cells(shown, item) for item in items]
                session.say("\n".join(table([c.title for c in shown], rows)))
    return OK


def size(amount: Any) -> str:
    """Bytes for a person, in powers of ten."""
    if not isinstance(amount, int):
        return "-"
    value = float(amount)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError  # the loop returns


COLUMNS = (
    Column("OWNER", lambda d: dig(d, "namespace")),
    Column("NAME", lambda d: dig(d, "name")),
    Column("LATEST", lambda d: dig(d, "latest")),
    Column("SIZE", lambda d: size(dig(d, "bytes"))),
    Column("FILES", lambda d: dig(d, "files")),
    Column("LICENSE", lambda d: dig(d, "license")),
    Column("YOURS", lambda d: dig(d, "yours") or "-"),
    Column("CENTERS", lambda d: ",".join(dig(d, "centers") or []) or "-"),
    Column("APPROVAL", lambda d: dig(d, "approval"), wide=True),
    Column("VERSIONS", lambda d: ",".join(dig(d, "versions") or []) or "-", wide=True),
    Column("CHANNELS", lambda d: ",".join(dig(d, "channels") or []) or "-", wide=True),
    Column("MODALITY", lambda d: ",".join(dig(d, "modality") or []) or "-", wide=True),
    Column("AGE", lambda d: age(dig(d, "createdAt"), time.time()), steady=False, wide=True),
    Column("DESCRIPTION", lambda d: dig(d, "description") or "-", wide=True),
)
