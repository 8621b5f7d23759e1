"""The trail of what was done with data sets: lines of JSON, each bound to the one before it.

A line has `seq`, `at`, `event`, `about` (what it tells of), `state` (what it has come to), fields
of the event, `prev` (the hash of the line before) and `hash` (SHA-256 of the line without it, its
keys in order). Decides the format, and what a broken chain is. Invariants: a line that was
acknowledged is on the disk; nothing that was written is ever changed; what cannot be read is told,
not mended.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

Fields = dict[str, Any]
FIRST: Final = "0" * 64
"""`prev` of the first line of a chain."""
BROKEN: Final = "TrailBroken"
"""The event of a line that goes on after lines that make no chain."""


class TrailBroken(ValueError):
    """Lines that make no chain; the message says where."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A chain that holds."""

    records: int
    first: str
    """When its first line was written, empty for none."""
    last: str
    hash: str
    """Of the last line: who keeps it elsewhere will see lines that are taken off the end."""


def hash_of(record: Mapping[str, Any]) -> str:
    """The hash of a line."""
    bare = {name: value for name, value in record.items() if name != "hash"}
    text = json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def verify(lines: Iterable[bytes], prev: str = "", name: str = "the trail") -> Checked:
    """Check a chain; `prev` is the hash that it must go on from, empty for any.

    Raises TrailBroken.
    """
    count, first, last, seq = 0, "", "", 0
    for number, line in enumerate(lines, 1):
        where = f"{name}, line {number}"
        record = _read(line, where)
        if record["hash"] != hash_of(record):
            raise TrailBroken(f"{where}: was changed after it was written")
        if prev and record["prev"] != prev:
            raise TrailBroken(f"{where}: does not follow from the line before it")
        if count and record["seq"] != seq + 1:
            raise TrailBroken(f"{where}: has number {record['seq']} after {seq}")
        if record["event"] == BROKEN:
            raise TrailBroken(f"{where}: tells that the lines before it were no chain")
        prev, seq = record["hash"], record["seq"]
        first, last = first or str(record["at"]), str(record["at"])
        count += 1
    return Checked(count, first, last, prev)


def _read(line: bytes, where: str) -> Fields:
    try:
        record = json.loads(line)
        whole = line.endswith(b"\n") and all(
            isinstance(record[key], kind)
            for key, kind in (("seq", int), ("at", str), ("event", str), ("prev", str))
        )
        if not whole or not isinstance(record["hash"], str):
            raise TrailBroken(f"{where}: is cut off, or no record")
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, TrailBroken):
            raise
        raise TrailBroken(f"{where}: is no record") from None
    found: Fields = record
    return found


class Trail:
    """A file that lines are added to. One process at a time; everything here blocks."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seq = 0
        self._prev = FIRST
        self._broken = ""

    def open(self) -> Iterator[Fields]:
        """The records there are, for whoever has to know what was told; exhaust it before `add`.

        A last line that was cut off by the end of its writer was never acknowledged, and goes.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        at = 0
        with self._file.open("ab+") as opened:
            opened.seek(0)
            for number, line in enumerate(opened, 1):
                if not line.endswith(b"\n"):
                    opened.truncate(at)
                    break
                at += len(line)
                record = self._follow(line, number)
                if record is not None:
                    yield record

    def _follow(self, line: bytes, number: int) -> Fields | None:
        where = f"line {number}"
        try:
            record = _read(line, where)
            if record["hash"] != hash_of(record) or record["prev"] != self._prev:
                raise TrailBroken(f"{where} does not follow from the one before it")
        except TrailBroken as broken:
            self._broken = self._broken or str(broken)
            self._seq, self._prev = number, hashlib.sha256(line).hexdigest()
            return None
        if record["event"] == BROKEN:
            self._broken = ""
        self._seq, self._prev = record["seq"], record["hash"]
        return record

    def add(self, records: Sequence[Fields]) -> None:
        """Write lines, and return once they are on the disk; raises OSError."""
        if self._broken:
            told = {"event": BROKEN, "at": records[0]["at"], "message": self._broken}
            records, self._broken = [told, *records], ""
        seq, prev, lines = self._seq, self._prev, []
        for fields in records:
            seq += 1
            record = {"seq": seq, **fields, "prev": prev}
            prev = record["hash"] = hash_of(record)
            lines.append(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        with self._file.open("ab") as opened:
            opened.write(b"".join(lines))
            opened.flush()
            os.fsync(opened.fileno())
        self._seq, self._prev = seq, prev
