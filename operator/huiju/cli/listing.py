"""Showing objects of one kind: tables, JSON, YAML or names, once or as they change.

Decides what a watch prints: a row when a cell changed that does not change by itself. Invariant:
`-o json` and `-o yaml` show what the API server holds, whole.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huiju.cli.failures import OK, UsageError
from huiju.cli.session import Session
from huiju.cli.table import Column, Table, cells, table

if TYPE_CHECKING:
    from huiju.kube.resources import Resource

Fields = dict[str, Any]
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Question:
    """Which objects are asked for."""

    res: Resource
    namespace: str | None
    names: tuple[str, ...] = ()
    labels: str = ""
    fields: str = ""


def add_listing_flags(
    parser: argparse.ArgumentParser, noun: str, *, namespaced: bool, more: tuple[str, ...] = ()
) -> None:
    """NAME…, -o (with `more` formats), -w, -l and, for namespaced kinds, -A."""
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"only the {noun}s of these names")
    formats = ("wide", "json", "yaml", "name", *more)
    parser.add_argument("-o", "--output", choices=formats, help="format")
    parser.add_argument("-w", "--watch", action="store_true", help="go on with rows on change")
    parser.add_argument("-l", "--selector", metavar="QUERY", default="", help="label selector")
    if namespaced:
        parser.add_argument("-A", "--all-namespaces", action="store_true", help="all namespaces")


def check_flags(flags: argparse.Namespace) -> None:
    """Refuse flags that do not go together, before anything is asked for."""
    if flags.watch and flags.output not in (None, "wide"):
        raise UsageError(f"-w prints rows and cannot be used with -o {flags.output}")
    if flags.names and flags.selector:
        raise UsageError("give either names or a selector, not both")


def show(
    session: Session,
    question: Question,
    columns: Sequence[Column],
    *,
    order: Callable[[list[Fields]], list[Fields]] | None = None,
) -> int:
    """List the objects of a question in the format that the flags ask for."""
    flags = session.flags
    items, version = read(session, question)
    if order is not None:
        items = order(items)
    match flags.output:
        case "json" | "yaml":
            _dump(session, items, flags.output, whole=not question.names)
        case "name":
            for item in items:
                session.say(f"{_type(question.res)}/{item['metadata']['name']}")
        case _:
            shown = [c for c in columns if flags.output == "wide" or not c.wide]
            if flags.watch:
                return _follow(session, question, shown, items, version)
            if not items:
                session.note(_nothing(question))
            else:
                rows = [cells(shown, item) for item in items]
                session.say("\n".join(table([c.title for c in shown], rows)))
    return OK


def read(session: Session, question: Question) -> tuple[list[Fields], str]:
    """The objects of a question, and the version of the listing if it was one."""
    if not question.names:
        return session.api.list(
            question.res, question.namespace, labels=question.labels, fields=question.fields
        )
    if question.labels or question.fields:
        raise UsageError("give either names or a selector, not both")
    if question.namespace is None and question.res.namespaced:
        raise UsageError("a name needs a namespace: leave -A out, or give -n")
    return [session.api.get(question.res, n, question.namespace) for n in question.names], ""


def dump(obj: Any, form: str) -> str:
    """An object as JSON or YAML text."""
    if form == "json":
        import msgspec

        return msgspec.json.format(msgspec.json.encode(obj), indent=4).decode()
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(
        yaml.dump(obj, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)
    ).rstrip()


def _dump(session: Session, items: list[Fields], form: str, *, whole: bool) -> None:
    for item in items:
        item.get("metadata", {}).pop("managedFields", None)
    if len(items) == 1 and not whole:
        session.say(dump(items[0], form))
    else:
        session.say(dump({"apiVersion": "v1", "kind": "List", "items": items}, form))


def _type(res: Resource) -> str:
    return f"{res.kind.lower()}.{res.group}"


def _nothing(question: Question) -> str:
    kind = question.res.plural
    if question.labels or question.fields:
        return f"No {kind} match."
    if question.namespace is not None and question.res.namespaced:
        return f"No {kind} in namespace {question.namespace}."
    return f"No {kind} yet."


# --- watching ---------------------------------------------------------------------------------


def _follow(
    session: Session,
    question: Question,
    columns: Sequence[Column],
    items: list[Fields],
    version: str,
) -> int:
    """Print rows until Ctrl-C; a stream that ends is taken up again."""
    from huiju.kube.errors import Gone, Transient

    printer = Printer(session, columns)
    if not version:
        # Named objects: the watch starts from a listing, which only then gives a version.
        items, version = session.api.list(question.res, question.namespace)
        items = [item for item in items if item["metadata"]["name"] in question.names]
    printer.begin(items)
    while True:
        try:
            for kind, obj in session.api.watch(
                question.res,
                question.namespace,
                version=version,
                labels=question.labels,
                fields=question.fields,
            ):
                version = obj["metadata"].get("resourceVersion", version)
                named = not question.names or obj["metadata"].get("name") in question.names
                if kind != "BOOKMARK" and named:
                    printer.changed(kind, obj)
        except Gone:
            items, version = session.api.list(
                question.res, question.namespace, labels=question.labels, fields=question.fields
            )
            wanted = {*question.names}
            printer.replace([i for i in items if not wanted or i["metadata"]["name"] in wanted])
        except Transient as error:
            session.note(f"{error}; trying again")
            time.sleep(_RETRY_SECONDS)


class Printer:
    """Prints an object's row when it tells something new."""

    def __init__(self, session: Session, columns: Sequence[Column]) -> None:
        self._session = session
        self._columns = columns
        self._table = Table([c.title for c in columns])
        self._known: dict[str, tuple[str, ...]] = {}

    def begin(self, items: list[Fields]) -> None:
        """The header and the rows there are at the start."""
        self._session.say(self._table.header([cells(self._columns, i) for i in items]))
        for item in items:
            self.changed("ADDED", item)
        sys.stdout.flush()

    def replace(self, items: list[Fields]) -> None:
        """What there is now, after changes were missed."""
        left = {_uid(item) for item in items}
        for uid in [uid for uid in self._known if uid not in left]:
            self._deleted(uid, self._known[uid])
        for item in items:
            self.changed("MODIFIED", item)

    def changed(self, kind: str, obj: Fields) -> None:
        """Print the row if a steady cell differs from the last time."""
        row, uid = cells(self._columns, obj), _uid(obj)
        known = self._known.get(uid)
        if kind == "DELETED":
            self._deleted(uid, row)
        elif known is None or self._steady(known) != self._steady(row):
            self._known[uid] = row
            self._session.say(self._table.row(row))
        sys.stdout.flush()

    def _deleted(self, uid: str, row: tuple[str, ...]) -> None:
        self._known.pop(uid, None)
        self._session.say(f"{self._table.row(row)}   (deleted)")

    def _steady(self, row: tuple[str, ...]) -> list[str]:
        return [c for c, column in zip(row, self._columns, strict=True) if column.steady]


def _uid(obj: Fields) -> str:
    return str(obj["metadata"].get("uid") or obj["metadata"].get("name"))
