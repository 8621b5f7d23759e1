"""`kubectl huiju models`: what models a namespace has and may ask for.

Asks the hub's view API, as `datasets` does: a model is seen by whoever may see the data set that
has its files. Decides the columns.
"""

from __future__ import annotations

import argparse
from typing import Any

from huiju.cli.datasets import size
from huiju.cli.failures import OK
from huiju.cli.listing import dump
from huiju.cli.session import Session
from huiju.cli.table import Column, cells, dig, table

EXAMPLES = """\
examples:
  kubectl huiju models
  kubectl huiju models chinese safetensors
  kubectl huiju models -o wide

A job names the data set of a model's files in `spec.data`; `kubectl huiju dataset grant
NAMESPACE/DATASET` asks for the use of it."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add = parser.add_argument
    add("words", metavar="WORD", nargs="*", help="only models that these words are found in")
    add("-l", "--selector", metavar="QUERY", default="", help="labels of the data set")
    add("-o", "--output", choices=("wide", "json", "yaml", "name"), help="format")


def run(session: Session) -> int:
    """Show the models."""
    from huiju.cli.viewapi import datasets_path

    flags = session.flags
    query = {"search": " ".join(flags.words), "labelSelector": flags.selector}
    answer = session.api.call("GET", datasets_path(session.namespace), query=query)
    rows: list[dict[str, Any]] = [
        {"dataset": each, **model}
        for each in answer.get("items") or []
        for model in each.get("models") or ()
    ]
    match flags.output:
        case "json" | "yaml":
            session.say(dump({"items": rows}, flags.output))
        case "name":
            for row in rows:
                session.say(f"{row['dataset']['namespace']}/{row['name']}")
        case _:
            shown = [c for c in COLUMNS if flags.output == "wide" or not c.wide]
            if not rows:
                session.note("No models found that the namespace may ask for.")
            else:
                lines = [cells(shown, row) for row in rows]
                session.say("\n".join(table([c.title for c in shown], lines)))
    return OK


def _many(row: dict[str, Any]) -> str:
    """A number of parameters for a person."""
    amount = row.get("parameters")
    if not isinstance(amount, int):
        return "-"
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if amount >= scale:
            return f"{amount / scale:.3g}{unit}"
    return str(amount)


COLUMNS = (
    Column("OWNER", lambda m: dig(m, "dataset", "namespace")),
    Column("NAME", lambda m: dig(m, "name")),
    Column("TASK", lambda m: dig(m, "task")),
    Column("PARAMETERS", _many),
    Column("FORMAT", lambda m: dig(m, "format")),
    Column("SIZE", lambda m: size(dig(m, "dataset", "bytes"))),
    Column("DATASET", lambda m: dig(m, "dataset", "name")),
    Column("YOURS", lambda m: dig(m, "dataset", "yours") or "-"),
    Column("CENTERS", lambda m: ",".join(dig(m, "dataset", "centers") or []) or "-"),
    Column("LICENSE", lambda m: dig(m, "dataset", "license"), wide=True),
    Column("PRECISION", lambda m: dig(m, "precision"), wide=True),
    Column("CONTEXT", lambda m: dig(m, "contextLength"), wide=True),
    Column("BASE", lambda m: dig(m, "base"), wide=True),
    Column("RUNS ON", lambda m: ",".join(dig(m, "accelerators") or []) or "-", wide=True),
    Column("DESCRIPTION", lambda m: dig(m, "description") or "-", wide=True),
)
