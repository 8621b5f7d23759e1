"""How fast the scheduling core decides: `make bench-cycle`.

Three figures on a drawn network (100 centers, 100,000 nodes of 20 shapes, 20,000 running jobs,
100,000 waiting jobs of 500 shapes in 200 queues): the first cycle over a core that was told
everything, the loading included; a cycle after 1,000 events (four in ten submissions, three in ten
ends, three in ten nodes lost or back), the telling of the events included; and the bytes that a
waiting job costs, the job's own value and strings included. The fourth is the whole recorded ITP
trace at tight sizes, if its files are there. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import json
import os
import pstats
import statistics
import sys
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

from huiju.scheduling.core import Core
from huiju.scheduling.policy import Policy
from huiju.simulation.clusters import read_clusters
from huiju.simulation.federation import simulate
from huiju.simulation.recorded import centers_of, jobs_of, queues_of
from huiju.simulation.traces import read_jobs
from tests.perf.cycle_world import NOW, Network, Size, fill
from tests.perf.machine import machine

_ROUNDS = 7
_LIKE_THE_HUB = (50_000, 20, 100)
"""How seldom the hub's process looks for cycles of garbage."""
_TRACES = "HUIJU_TRACES"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code."""
    options = _parser().parse_args(argv)
    gc.set_threshold(*_LIKE_THE_HUB)
    full = Size(options.centers, options.nodes, options.jobs, options.running)
    profile = cProfile.Profile() if options.profile else None
    cold, steady = measure(full, options.events, profile, loud=True)
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
    memory = None if options.quick else bytes_per_job(full)
    if options.growth:
        growth(full)
    itp = None if options.quick else itp_seconds(options.traces)
    figures = {
        "cold_cycle_s": round(cold, 3),
        "steady_cycle_ms": round(steady * 1000, 1),
        "bytes_per_queued_job": memory,
        "itp_sim_s": itp,
        "machine": machine(),
    }
    print(json.dumps(figures))
    return 0


def measure(
    size: Size, events: int, profile: cProfile.Profile | None = None, *, loud: bool = False
) -> tuple[float, float]:
    """Seconds of the cold cycle, and of the median steady cycle."""
    network = Network(size)
    jobs = list(network.waiting(size.jobs))
    core = Core(Policy())
    gc.collect()
    gc.freeze()
    started = time.perf_counter()
    fill(core, network)
    for job in jobs:
        core.set_job(job)
    told = time.perf_counter()
    outcome = core.cycle(NOW)
    cold = time.perf_counter() - started
    if loud:
        print(
            f"cold: {cold:.3f} s, of which telling {told - started:.3f} s;"
            f" {len(outcome.placed)} placed, {len(outcome.waiting)} told why they wait,"
            f" {len(outcome.preempted)} stopped"
        )
    network.start(outcome.placed)
    del outcome, jobs
    rounds = [
        _round(core, network, events, NOW + 10.0 * (index + 1), profile, loud=loud)
        for index in range(_ROUNDS)
    ]
    gc.unfreeze()
    return cold, statistics.median(rounds)


def _round(
    core: Core,
    network: Network,
    events: int,
    now: float,
    profile: cProfile.Profile | None,
    *,
    loud: bool,
) -> float:
    submits = list(network.waiting(events * 4 // 10, now))
    ended = [network.end() for _ in range(events * 3 // 10)]
    flipped = [network.flip_node() for _ in range(events - len(submits) - len(ended))]
    touched = sorted({place.center for place in ended} | set(flipped))
    views = [network.view(name) for name in touched]
    gc.collect()
    if profile is not None:
        profile.enable()
    started = time.perf_counter()
    for job in submits:
        core.set_job(job)
    for place in ended:
        core.drop_placed(place.job.uid)
    for view in views:
        core.set_center(view)
    told = time.perf_counter()
    outcome = core.cycle(now)
    took = time.perf_counter() - started
    if profile is not None:
        profile.disable()
    if loud:
        print(
            f"steady: {took * 1000:.1f} ms, of which telling {(told - started) * 1000:.1f} ms;"
            f" {len(views)} centers changed, {len(outcome.placed)} placed,"
            f" {len(outcome.waiting)} told, {len(outcome.preempted)} stopped"
        )
    network.start(outcome.placed)
    return took


def bytes_per_job(size: Size) -> int:
    """Bytes of Python objects that one more waiting job costs, the job itself included."""
    network = Network(size)
    core = Core(Policy())
    fill(core, network)
    core.cycle(NOW)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for job in network.waiting(size.jobs):
        core.set_job(job)
    placed = len(core.cycle(NOW).placed)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) // max(1, size.jobs - placed)


def growth(full: Size) -> None:
    """How the figures grow with centers, with jobs, and with what changed."""
    print(f"{'centers':>8} {'nodes':>8} {'jobs':>8} {'events':>7} {'cold s':>8} {'steady ms':>10}")
    sizes = [
        (Size(centers, 1000 * centers, jobs, 200 * centers, full.shapes, full.queues), 10 * centers)
        for centers in (1, 10, 100)
        for jobs in (1_000, 10_000, 100_000)
    ]
    sizes += [(full, count) for count in (1, 10, 100)]
    for size, count in sizes:
        cold, steady = measure(size, count)
        print(
            f"{size.centers:>8} {size.nodes:>8} {size.jobs:>8} {count:>7}"
            f" {cold:>8.2f} {steady * 1000:>10.1f}"
        )


def itp_seconds(folder: Path | None) -> float | None:
    """Seconds to simulate the whole ITP trace at tight sizes, None where it is not at hand."""
    if folder is None or not (folder / "itp.csv.gz").is_file():
        print(f"no ITP trace: give its folder with --traces or {_TRACES}", file=sys.stderr)
        return None
    clusters = read_clusters(folder / "clusters.csv", "itp", "tight")
    names = {cluster.name for cluster in clusters}
    jobs = jobs_of(read_jobs(folder / "itp.csv.gz", names.__contains__), clusters)
    started = time.perf_counter()
    simulate(
        jobs,
        centers_of(clusters),
        queues_of(clusters),
        Policy(),
        learn=True,
    )
    return round(time.perf_counter() - started, 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench-cycle",
        description="How fast the scheduling core decides; the last line is one JSON object.",
    )
    traces = os.environ.get(_TRACES)
    parser.add_argument(
        "--traces",
        type=Path,
        default=Path(traces) if traces else None,
        help=f"folder with itp.csv.gz and clusters.csv (default: {_TRACES})",
    )
    parser.add_argument("--centers", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=100_000, help="waiting jobs")
    parser.add_argument("--running", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=1_000, help="events before a steady cycle")
    parser.add_argument("--growth", action="store_true", help="the table of growth as well")
    parser.add_argument("--quick", action="store_true", help="neither memory nor the trace")
    parser.add_argument("--profile", action="store_true", help="where the steady cycles' time goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
