"""`kubectl huiju audit`: checks and searches the trail that hubs keep of data sets.

Reads files, or standard input for `-`; asks no cluster. Decides nothing about the format
(`data/audit.py` does). Exit code 1: the lines make no chain.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from itertools import chain
from typing import Any, Final

from huiju.cli.failures import OK, Failure, UsageError
from huiju.cli.session import Session

EXAMPLES: Final = """\
verify   check that no line of the trail was changed, taken out or put in
show     print the lines that have all of the words

Give the files of one trail in their order. `--after` is the hash that the first line must go on
from, `--ends-with` the one that the last must have: who keeps the last hash elsewhere will see that
lines were taken off the end.

examples:
  kubectl huiju audit verify data.jsonl
  kubectl -n huiju-system exec huiju-hub-0 -- cat /var/lib/huiju/audit/data.jsonl |
    kubectl huiju audit verify -
  kubectl huiju audit show data.jsonl --about team-a/corpus-zh"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.usage = "kubectl huiju audit verify|show FILE... [flags]"
    add = parser.add_argument
    add("action", choices=("verify", "show"), metavar="ACTION", help="verify, show")
    add("files", metavar="FILE", nargs="+", help="files of one trail, `-` for standard input")
    add("--after", metavar="HASH", default="", help="verify: hash that the first line follows")
    add("--ends-with", metavar="HASH", default="", help="verify: hash of the last line")
    add("--about", metavar="WORD", action="append", help="show: only lines with this word in them")


def run(session: Session) -> int:
    """Check or show."""
    flags = session.flags
    if flags.about and flags.action != "show":
        raise UsageError("--about goes with show")
    if (flags.after or flags.ends_with) and flags.action != "verify":
        raise UsageError("--after and --ends-with go with verify")
    if flags.action == "show":
        _show(session)
        return OK
    from huiju.data.audit import TrailBroken, verify

    prev, records, first, last = flags.after, 0, "", ""
    try:
        for name in flags.files:
            checked = verify(_lines(name), prev, name)
            prev, records = checked.hash or prev, records + checked.records
            first, last = first or checked.first, checked.last or last
    except TrailBroken as broken:
        raise Failure(str(broken)) from None
    if flags.ends_with and prev != flags.ends_with:
        raise Failure(f"the last line has hash {prev or 'none'}: lines are missing at the end")
    span = f", {first} to {last}" if records else ""
    session.say(f"{records} lines{span}: unbroken")
    if records:
        session.say(f"last hash: {prev}")
    return OK


def _show(session: Session) -> None:
    words = session.flags.about or []
    for line in chain.from_iterable(_lines(name) for name in session.flags.files):
        text = line.decode(errors="replace").rstrip("\n")
        if all(word in text for word in words):
            session.say(_row(text))


def _row(text: str) -> str:
    """A line for a person; what is no record is shown as it is."""
    try:
        record: dict[str, Any] = json.loads(text)
        at, event = record["at"], record["event"]
    except (ValueError, KeyError, TypeError):
        return text
    framed = ("seq", "at", "event", "about", "state", "prev", "hash")
    told = " ".join(
        f"{name}={json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"
        for name, value in record.items()
        if name not in framed
    )
    return f"{at}  {event:16}  {told}"


def _lines(name: str) -> Iterator[bytes]:
    try:
        if name == "-":
            yield from sys.stdin.buffer
            return
        with open(name, "rb") as opened:
            yield from opened
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
