"""Reads recorded jobs from CSV files (plain or gzip), the hub's own queue log among them.

Decides whether a line is believed; never repairs one. Invariant: every error names file, line and
column and says what is expected there, so that the owner of a trace can mend it.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_MOST_GPUS = 1_000_000
_MOST_SECONDS = 1e12
_SHOWN = 10
Row = dict[str, str]


class TraceError(ValueError):
    """A file that cannot be read; the message names the lines."""


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
    models: tuple[str, ...] = ()
    """Accelerator models that it may run on, best first; empty is any."""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Cluster:
    """Equal nodes of a recorded cluster; a cluster may have several such groups."""

    name: str
    nodes: int
    gpus_per_node: int
    model: str = ""
    tflops: float = 0.0
    """Dense BF16 of one accelerator, 0 if nobody tells."""


@dataclass(slots=True)
class Left:
    """Lines that were left out, and why."""

    without_end: int = 0
    """Jobs of a queue log of which nobody knows how long they run."""
    without_home: int = 0
    """Jobs of a queue log that have no home and were never placed."""
    faulty: list[str] = field(default_factory=list)


class Line:
    """One line of a file, with its place for error messages."""

    def __init__(self, path: Path, number: int, row: Row) -> None:
        self.path, self.number, self.row = path, number, row

    def error(self, column: str, complaint: str) -> TraceError:
        """The complaint with its place."""
        return TraceError(f"{self.path}:{self.number}: {column} {complaint}")

    def text(self, column: str) -> str:
        """The cell, empty where there is no such column."""
        return (self.row.get(column) or "").strip()

    def number_of(self, column: str, least: float) -> float:
        """The cell as a number."""
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            raise self.error(column, f"is {text!r}, expected a number") from None
        if not least <= value < _MOST_SECONDS:
            raise self.error(
                column, f"is {text}, expected at least {least:g} and less than {_MOST_SECONDS:g}"
            )
        return value

    def count(self, column: str, least: int, most: int) -> int:
        """The cell as a whole number."""
        value = self.number_of(column, least)
        if value != int(value) or value > most:
            raise self.error(
                column, f"is {self.text(column)}, expected a whole number up to {most}"
            )
        return int(value)


def read_jobs(
    path: Path,
    known: Callable[[str], bool] | None = None,
    *,
    fits: Callable[[TraceJob], str] | None = None,
    first: int | None = None,
    left: Left | None = None,
    skip_faulty: bool = False,
) -> list[TraceJob]:
    """The jobs of a trace, as in the file.

    `known` tells which clusters exist, `fits` says why no center could ever take a job (empty: one
    could), `first` stops after so many jobs. Jobs that ask for no accelerator are left out, and
    those of a queue log whose run time or home nobody knows; `left` counts these. Raises TraceError
    with the first faulty lines, unless `skip_faulty` leaves them out too.
    """
    found: list[TraceJob] = []
    left = left or Left()
    for line in read_lines(path, ("submit_s", "duration_s", "gpus", "cluster")):
        if first is not None and len(found) >= first:
            break
        if not isinstance(line, Line):
            left.faulty.append(str(line))
            continue
        try:
            job = _job(line, len(found), known, fits, left)
        except TraceError as error:
            left.faulty.append(str(error))
            continue
        if job is not None:
            found.append(job)
    if left.faulty and not skip_faulty:
        more = len(left.faulty) - _SHOWN
        shown = [*left.faulty[:_SHOWN], *([f"and {more} more faulty lines"] if more > 0 else [])]
        raise TraceError("\n".join(shown))
    if not found:
        raise TraceError(f"{path}: holds no job that asks for accelerators and can be simulated")
    return found


def _job(
    line: Line,
    index: int,
    known: Callable[[str], bool] | None,
    fits: Callable[[TraceJob], str] | None,
    left: Left,
) -> TraceJob | None:
    gpus = line.count("gpus", 0, _MOST_GPUS)
    cluster, logged = line.text("cluster"), "duration_basis" in line.row
    if logged and not line.text("duration_s"):
        left.without_end += 1
        return None
    if logged and not cluster:
        left.without_home += 1
        return None
    if known is not None and not known(cluster):
        raise line.error("cluster", f"{cluster!r} is not among the clusters")
    submit, duration = line.number_of("submit_s", 0), line.number_of("duration_s", 0)
    if not gpus:
        return None
    priority = line.text("priority")
    job = TraceJob(
        index,
        submit,
        duration,
        gpus,
        cluster,
        line.text("user"),
        line.text("vc"),
        line.text("status"),
        _models(line.text("model")),
        int(line.number_of("priority", -1e9)) if priority else 0,
    )
    why = fits(job) if fits is not None else ""
    if why:
        raise line.error("gpus", f"is {gpus}, {why}")
    return job


def _models(text: str) -> tuple[str, ...]:
    """Each of the models once, best first."""
    return tuple(dict.fromkeys(name.strip() for name in text.split("|") if name.strip()))


def read_lines(path: Path, columns: Sequence[str]) -> Iterator[Line | TraceError]:
    """The lines of a file that has these columns; a broken line is its error."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if not names:
                raise TraceError(
                    f"{path}:1: the file is empty, expected the columns {', '.join(columns)}"
                )
            missing = [name for name in columns if name not in names]
            if missing:
                raise TraceError(
                    f"{path}:1: column {missing[0]} is missing; the columns are {', '.join(names)}"
                )
            for row in reader:
                line = Line(path, reader.line_num, row)
                if None in row.values() or None in row:
                    yield TraceError(f"{path}:{reader.line_num}: not as many fields as columns")
                else:
                    yield line
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise TraceError(f"{path}: {error}") from error


def never(clusters: Sequence[Cluster]) -> Callable[[TraceJob], str]:
    """Says of a job why none of the clusters could ever take it, empty if one could."""
    rooms: dict[str, dict[str, int]] = {}
    for part in clusters:
        room = rooms.setdefault(part.model, {})
        units = part.nodes * part.gpus_per_node
        room[part.name] = room.get(part.name, 0) + units
    totals: Mapping[str, int] = {model: max(room.values()) for model, room in rooms.items()}
    most = max(totals.values())

    def why(job: TraceJob) -> str:
        unknown = [model for model in job.models if model not in totals]
        if job.models and len(unknown) == len(job.models):
            return f"but no cluster has model {' or '.join(unknown)}"
        largest = max((totals[m] for m in job.models if m in totals), default=most)
        if job.gpus > largest:
            return f"but no cluster has more than {largest} that it could use"
        return ""

    return why
