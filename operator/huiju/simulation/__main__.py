"""`python -m huiju.simulation`: what would joining the network bring the users of these clusters?

Reads a trace and the clusters' sizes, runs the jobs with and without federation through the hub's
own cycle, and prints the figures. Exit code 0, or 2 if a file cannot be read.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from huiju.scheduling.policy import Policy
from huiju.simulation.engine import simulate
from huiju.simulation.recorded import centers_of, jobs_of, queues_of
from huiju.simulation.report import Report, report, table
from huiju.simulation.traces import Cluster, TraceError, TraceJob, read_clusters, read_jobs


def main(argv: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        clusters = read_clusters(options.clusters, options.trace, options.pool)
        names = {cluster.name for cluster in clusters}
        jobs = read_jobs(options.jobs, names.__contains__)[: options.first]
    except TraceError as error:
        print(f"huiju simulate: {error}", file=sys.stderr)
        return 2
    reports = {
        name: _run(jobs, clusters, options, keep_home=name == "every center alone")
        for name in ("every center alone", "federated")
        if not (options.federated_only and name != "federated")
    }
    if options.json:
        print(json.dumps({name: one.as_dict() for name, one in reports.items()}))
    else:
        print(table(reports))
    return 0


def _run(
    jobs: Sequence[TraceJob],
    clusters: Sequence[Cluster],
    options: argparse.Namespace,
    *,
    keep_home: bool,
) -> Report:
    result = simulate(
        jobs_of(jobs, clusters),
        centers_of(clusters),
        queues_of(clusters),
        Policy(preemption=options.preemption),
        keep_home=keep_home,
        learn=True,
        restart=options.restart,
    )
    return report(result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m huiju.simulation",
        description="Run recorded jobs with and without federation, through the hub's own cycle.",
    )
    parser.add_argument(
        "jobs", type=Path, help="CSV (or .gz) with submit_s, duration_s, gpus, cluster"
    )
    parser.add_argument(
        "clusters", type=Path, help="CSV with trace, cluster, pool, nodes, gpus_per_node"
    )
    parser.add_argument("--trace", default="itp", help="trace to look up in the clusters' file")
    parser.add_argument("--pool", default="tight", help="pool to look up in the clusters' file")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N jobs")
    parser.add_argument("--federated-only", action="store_true", help="leave out the comparison")
    parser.add_argument("--preemption", action="store_true", help="let owed jobs stop others")
    parser.add_argument(
        "--restart", type=float, default=30.0, help="seconds a stopped job needs to get going"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


if __name__ == "__main__":
    sys.exit(main())
