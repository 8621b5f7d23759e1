"""`kubectl huiju transfers`: copies of data sets, how far each is and what it waits for.

Decides the columns and their order. Shows the copies of the data sets of a namespace: it is the
owners' view; users see what their jobs wait for by `why`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from typing import Any, Final

from huiju.cli.bars import frame
from huiju.cli.datasets import size
from huiju.cli.failures import OK, UsageError
from huiju.cli.listing import Question, add_listing_flags, check_flags, read, show
from huiju.cli.session import Session
from huiju.cli.table import Column, age, condition, dig, moment, span

EXAMPLES = """\
copies on their way, of the data sets of the namespace

  DONE      of the bytes that the copy will have
  RATE      of the last seconds
  LEFT      until it is there, as things stand
  REASON    why it is where it is; `kubectl huiju transfers -o wide` has the words

examples:
  kubectl huiju transfers
  kubectl huiju transfers -w
  kubectl huiju transfers --bars     until nothing moves any more, or Ctrl-C
  kubectl huiju transfers --all -A"""

_EACH: Final = 1.0
"""Seconds between two frames."""
_PAGE: Final = 120
"""Columns where there is no terminal."""
_NOTHING: Final = "Nothing moves."
_STILL: Final = ("Verified", "Failed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    add_listing_flags(parser, "replica", namespaced=True)
    parser.add_argument("--all", action="store_true", help="also the copies that are there")
    parser.add_argument("--center", metavar="NAME", help="only copies in this center")
    parser.add_argument(
        "--bars",
        action="store_true",
        help="draw bars by link, anew each second, until every copy is there",
    )


def run(session: Session) -> int:
    """Show the copies."""
    from huiju.kube.resources import DATASET_REPLICAS

    flags = session.flags
    check_flags(flags)
    if flags.bars and (flags.watch or flags.output):
        raise UsageError("--bars goes neither with -w nor with -o")
    if flags.names and (flags.all or flags.center):
        raise UsageError("give either names, or --all and --center")
    selected = [] if flags.all or flags.names else ["status.phase!=Verified"]
    if flags.center:
        selected.append(f"spec.center={flags.center}")
    namespace = None if flags.all_namespaces else session.namespace
    question = Question(
        DATASET_REPLICAS, namespace, tuple(flags.names), flags.selector, ",".join(selected)
    )
    if flags.bars:
        return _draw(session, question)
    return show(session, question, COLUMNS)


def _draw(session: Session, question: Question) -> int:
    """Frames, one over the other, on a terminal; a single one elsewhere."""
    budgets = _budgets(session)
    drawn = 0
    while True:
        items, _ = read(session, question)
        terminal = sys.stdout.isatty()
        columns = shutil.get_terminal_size().columns if terminal else _PAGE
        lines = frame(items, budgets, columns, time.time())
        if drawn:
            sys.stdout.write(f"\x1b[{drawn}A\x1b[J")
        for line in lines or [_NOTHING]:
            session.say(line)
        sys.stdout.flush()
        over = all(dig(item, "status", "phase") in _STILL for item in items)
        if over or not terminal:
            return OK
        drawn = max(1, len(lines))
        time.sleep(_EACH)


def _budgets(session: Session) -> dict[tuple[str, str], int]:
    """What the links are declared with, where the caller may read it."""
    from huiju.centers.policy import bytes_per_second
    from huiju.kube.errors import Forbidden
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        centers, _ = session.api.list(COMPUTE_CENTERS, None)
    except Forbidden:
        return {}
    return {
        (center["metadata"]["name"], link["to"]): bytes_per_second(link["bandwidth"])
        for center in centers
        for link in dig(center, "spec", "links") or ()
    }


def _done(replica: dict[str, Any]) -> str:
    total = dig(replica, "status", "bytesTotal") or dig(replica, "spec", "bytes") or 0
    done = dig(replica, "status", "bytesDone") or 0
    share = f" ({done * 100 // total} %)" if total else ""
    return f"{size(done)} of {size(total)}{share}"


def _rate(replica: dict[str, Any]) -> str:
    rate = dig(replica, "status", "rate")
    return f"{size(rate)}/s" if rate else "-"


def _left(replica: dict[str, Any]) -> str:
    due = moment(dig(replica, "status", "eta") or dig(replica, "status", "window"))
    return "-" if due is None else span(due - time.time())


COLUMNS = (
    Column("DATASET", lambda r: dig(r, "spec", "dataset", "name")),
    Column("VERSION", lambda r: dig(r, "spec", "version")),
    Column("SOURCE", lambda r: dig(r, "status", "source")),
    Column("CENTER", lambda r: dig(r, "spec", "center")),
    Column("PHASE", lambda r: dig(r, "status", "phase") or "Pending"),
    Column("DONE", _done),
    Column("RATE", _rate, steady=False),
    Column("LEFT", _left, steady=False),
    Column("REASON", lambda r: condition(r, "Verified").get("reason")),
    Column("ATTEMPT", lambda r: dig(r, "status", "attempt"), wide=True),
    Column("KEPT FOR", lambda r: ",".join(dig(r, "status", "pinnedBy") or []), wide=True),
    Column(
        "USED", lambda r: age(dig(r, "status", "lastUsed"), time.time()), steady=False, wide=True
    ),
    Column("MESSAGE", lambda r: condition(r, "Verified").get("message"), wide=True),
)
