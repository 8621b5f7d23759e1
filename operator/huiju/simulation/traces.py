"""Reads recorded jobs and cluster sizes from CSV files (plain or gzip).

Decides whether a line is believed; never repairs one. Invariant: every error names file, line and
column, so that the owner of a trace can mend it.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MOST_GPUS = 1_000_000
Row = dict[str, str]


class TraceError(ValueError):
    """A file that cannot be read as a trace; the message names the line."""


@dataclass(frozen=True, slots=True)
class TraceJob:
    """One recorded job; times in seconds from the trace's origin."""

    index: int
    """Place in the file, from 0."""
    submit: float
    duration: float
    gpus: int
    cluster: str
    user: str = ""
    vc: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The size of a recorded cluster."""

    name: str
    nodes: int
    gpus_per_node: int
    model: str = ""


class _Line:
    """One line of a file, with its place for error messages."""

    def __init__(self, path: Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def error(self, column: str, complaint: str) -> TraceError:
        return TraceError(f"{self.path}:{self.number}: {column} {complaint}")

    def text(self, column: str) -> str:
        return (self.row.get(column) or "").strip()

    def number_of(self, column: str, least: float) -> float:
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise self.error(column, f"is {text!r}, expected a number") from None
        if not least <= value < float("inf"):
            raise self.error(column, f"is {text}, expected at least {least:g}")
        return value

    def count(self, column: str, least: int, most: int) -> int:
        value = self.number_of(column, least)
        if value != int(value) or value > most:
            raise self.error(
                column, f"is {self.text(column)}, expected a whole number up to {most}"
            )
        return int(value)


def read_jobs(path: Path, known: Callable[[str], bool] | None = None) -> list[TraceJob]:
    """The jobs of a trace, as in the file; `known` tells which clusters exist.

    Jobs that ask for no accelerator are left out. Raises TraceError naming the line.
    """
    found: list[TraceJob] = []
    for line in _lines(path, ("submit_s", "duration_s", "gpus", "cluster")):
        gpus = line.count("gpus", 0, _MOST_GPUS)
        cluster = line.text("cluster")
        if known is not None and not known(cluster):
            raise line.error("cluster", f"{cluster!r} is not among the clusters")
        submit, duration = line.number_of("submit_s", 0), line.number_of("duration_s", 0)
        if gpus:
            found.append(
                TraceJob(
                    len(found),
                    submit,
                    duration,
                    gpus,
                    cluster,
                    line.text("user"),
                    line.text("vc"),
                    line.text("status"),
                )
            )
    return found


def read_clusters(path: Path, trace: str, pool: str) -> list[Cluster]:
    """Clusters of a trace at the sizes of a pool; raises TraceError if there are none."""
    found = [
        Cluster(
            line.text("cluster"),
            line.count("nodes", 1, 1_000_000),
            line.count("gpus_per_node", 1, 1024),
            line.text("model"),
        )
        for line in _lines(path, ("trace", "cluster", "pool", "nodes", "gpus_per_node"))
        if (line.text("trace"), line.text("pool")) == (trace, pool)
    ]
    if not found:
        raise TraceError(f"{path}: no line has trace {trace!r} and pool {pool!r}")
    return found


def _lines(path: Path, columns: tuple[str, ...]) -> Iterator[_Line]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise TraceError(f"{path}:1: column {missing[0]} is missing")
            for row in reader:
                line = _Line(path, reader.line_num, row)
                if None in row.values() or None in row:
                    raise TraceError(f"{path}:{reader.line_num}: not as many fields as columns")
                yield line
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: {error}") from error
