"""The queue log: one line of CSV for each job, which `huiju simulate` reads back as a trace.

Decides the columns and what stands in each; times are seconds since the epoch, amounts are units as
nodes advertise them. Knows only what the jobs' own status keeps: `start_s` is the start of the last
attempt. Invariant: a number that nobody measured or declared is an empty cell, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from huiju.cli.table import moment

Fields = dict[str, Any]
COLUMNS: Final[Mapping[str, str]] = {
    "job": "name of the job",
    "namespace": "its namespace",
    "queue": "its queue",
    "cluster": "home center of its queue, or of a queue above it; else the center that it was"
    " placed in; empty if there is neither",
    "submit_s": "when it was submitted",
    "start_s": "when all workers of the last attempt ran; empty if they never did",
    "end_s": "when the job reached its end; empty before that",
    "duration_s": "how long it ran, or will run, as `duration_basis` says",
    "duration_basis": "`measured` from start to end; `expected` or `limit` as the job declares"
    " (expectedRuntime, maxRuntime); `elapsed` until now; `none` if nothing is known",
    "gpus": "accelerators of all workers, of the alternative that was chosen, else of the first",
    "workers": "size of the gang",
    "model": "accelerator model of that alternative",
    "center": "where the last attempt was placed",
    "status": "the job's phase",
    "reason": "why it is where it is",
    "priority": "priority inside its queue",
    "attempts": "placements so far",
    "user": "the namespace once more, under the name that traces have for it",
    "vc": "the queue once more, likewise",
}


def text(jobs: Iterable[Fields], homes: Mapping[str, str], now: float) -> str:
    """The whole log, in the order of submission; `homes` are home centers by queue."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row(job, homes, now) for job in sorted(jobs, key=_order))
    return out.getvalue()


def row(job: Fields, homes: Mapping[str, str], now: float) -> Fields:
    """One job's line."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    placement = status.get("placement") or {}
    chosen = spec["accelerators"][placement.get("alternative") or 0]
    workers, queue = int(spec.get("workers") or 1), spec["queue"]
    namespace = job["metadata"]["namespace"]
    start, end = moment(status.get("startedAt")), moment(status.get("finishedAt"))
    duration, basis = _duration(spec, start, end, now)
    return {
        "job": job["metadata"]["name"],
        "namespace": namespace,
        "queue": queue,
        "cluster": homes.get(queue) or placement.get("center") or "",
        "submit_s": _number(moment(job["metadata"].get("creationTimestamp"))),
        "start_s": _number(start),
        "end_s": _number(end),
        "duration_s": _number(duration),
        "duration_basis": basis,
        "gpus": workers * int(chosen["perWorker"]),
        "workers": workers,
        "model": chosen["model"],
        "center": placement.get("center") or "",
        "status": status.get("phase") or "Queued",
        "reason": status.get("reason") or "",
        "priority": spec.get("priority") or 0,
        "attempts": status.get("epoch") or 0,
        "user": namespace,
        "vc": queue,
    }


def homes_of(queues: Iterable[Fields]) -> dict[str, str]:
    """Home center of each queue that has one, its own or the nearest above it."""
    specs = {queue["metadata"]["name"]: queue.get("spec") or {} for queue in queues}
    found: dict[str, str] = {}
    for name in specs:
        seen: set[str] = set()
        above = name
        while above in specs and above not in seen and name not in found:
            seen.add(above)
            if home := specs[above].get("homeCenter"):
                found[name] = home
            above = specs[above].get("parent") or ""
    return found


def _order(job: Fields) -> tuple[float, str, str]:
    meta = job["metadata"]
    return (moment(meta.get("creationTimestamp")) or 0.0, meta["namespace"], meta["name"])


def _duration(
    spec: Fields, start: float | None, end: float | None, now: float
) -> tuple[float | None, str]:
    """Seconds that the job runs, and what they rest on."""
    from huiju.api.durations import parse_duration

    if end is not None:
        return (None, "none") if start is None else (max(0.0, end - start), "measured")
    elapsed = None if start is None else max(0.0, now - start)
    for field, basis in (("expectedRuntime", "expected"), ("maxRuntime", "limit")):
        declared = spec.get(field)
        if declared and parse_duration(declared) >= (elapsed or 0.0):
            return parse_duration(declared), basis
    return (None, "none") if elapsed is None else (elapsed, "elapsed")


def _number(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.3f}".rstrip("0").rstrip(".")
