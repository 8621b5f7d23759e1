"""`huiju simulate`: what would joining the network bring the users of these centers?

Reads recorded jobs and the centers, runs the jobs under several policies, and shows the figures
side by side. Decides nothing of what it simulates. Invariants: the same files and seed give the
same figures; 0 is success, 1 a file that cannot be written or a hub that does not answer, 2 a wrong
command line or a file that cannot be believed, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing.pool import IMapIterator, Pool
from pathlib import Path
from typing import Any

from huiju.simulation.clusters import of_hub, read_clusters
from huiju.simulation.page import page
from huiju.simulation.policies import DEFAULT, POLICIES, Case, run
from huiju.simulation.progress import Bar
from huiju.simulation.recorded import jobs_of, with_data
from huiju.simulation.report import Report, report
from huiju.simulation.staging import GIGABYTE, TERABYTE
from huiju.simulation.tables import table
from huiju.simulation.traces import Cluster, Left, TraceError, TraceJob, never, read_jobs

OK, ERROR, USAGE, INTERRUPTED = 0, 1, 2, 130
_PROGRAM = "huiju simulate"
_GLANCE = 0.5
_MOST_RUNS = 64
_EPILOG = f"""\
JOBS is CSV (or .csv.gz) with the columns submit_s, duration_s, gpus, cluster, and if known user,
vc, priority, model (several as a|b, best first); `kubectl huiju jobs -A -o csv` writes such a file.
CENTERS is CSV with cluster, nodes, gpus_per_node and if known model, tflops, trace, pool; or YAML:

  centers:
  - name: south
    nodes: [{{count: 8, accelerators: 8, model: ascend-910b3, tflops: 313}}]

policies:
{chr(10).join(f"  {name:15} {each.help}" for name, each in POLICIES.items())}

examples:
  huiju simulate jobs.csv centers.yaml                        with and without federation
  huiju simulate jobs.csv centers.csv --compare --html r.html all policies, a page with plots
  huiju simulate log.csv --from-hub -o json                   the hub's own log and centers
  huiju simulate jobs.csv c.csv --datasets 20 --gigabytes 100 jobs need data that must be moved

exit codes: 0 success, 1 error, 2 wrong command line or faulty file, 130 Ctrl-C"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = (
        "Run recorded jobs under several policies, Huiju's own scheduling cycle among them, and"
        " compare how long users wait."
    )
    parser.epilog = _EPILOG
    parser.add_argument("jobs", type=Path, metavar="JOBS", help="the recorded jobs")
    parser.add_argument("centers", type=Path, nargs="?", metavar="CENTERS", help="the centers")
    hub = parser.add_argument_group("centers of a hub")
    hub.add_argument("--from-hub", action="store_true", help="read the centers from the hub")
    hub.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig of the hub")
    hub.add_argument("--context", metavar="NAME", help="context in the kubeconfig")
    what = parser.add_argument_group("what is simulated")
    what.add_argument("--trace", default="", help="lines of CENTERS with this trace")
    what.add_argument("--pool", default="", help="lines of CENTERS with this pool")
    what.add_argument("--first", type=_positive, metavar="N", help="only the first N jobs")
    what.add_argument("--skip-faulty", action="store_true", help="leave faulty lines of JOBS out")
    what.add_argument(
        "--policy",
        action="append",
        choices=tuple(POLICIES),
        metavar="NAME",
        help=f"repeatable; default {' and '.join(DEFAULT)}",
    )
    what.add_argument("--compare", action="store_true", help="all policies")
    what.add_argument(
        "--seed",
        action="append",
        type=int,
        metavar="N",
        help="for what is drawn by chance; repeatable, each is a run of its own (default 0)",
    )
    data = parser.add_argument_group("data")
    data.add_argument(
        "--datasets",
        type=_positive,
        metavar="N",
        help="data sets of each center; each job needs one of its home's, by Zipf's law",
    )
    data.add_argument("--gigabytes", type=_amount, default=100.0, help="of a data set (100)")
    data.add_argument(
        "--copies-room",
        type=_amount,
        default=1.0,
        metavar="TB",
        help="terabytes of copies that a center keeps (1)",
    )
    told = parser.add_argument_group("output")
    told.add_argument("-o", "--output", choices=("table", "json"), default="table", help="format")
    told.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots")
    told.add_argument(
        "--parallel", type=_positive, default=1, metavar="N", help="runs at the same time (1)"
    )


def _positive(given: str) -> int:
    if not given.isascii() or not given.isdigit() or not int(given):
        raise argparse.ArgumentTypeError(f"{given!r} is not a whole number above 0")
    return int(given)


def _amount(given: str) -> float:
    try:
        amount = float(given)
    except ValueError:
        amount = -1.0
    if not 0 < amount < 1e9:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number above 0")
    return amount


@dataclass(frozen=True, slots=True)
class _Task:
    """One run."""

    name: str
    policy: str
    seed: int


HubCenters = Callable[[argparse.Namespace], list[dict[str, Any]]]
"""Reads the ComputeCenters of the hub that the flags name; raises OSError with the cure."""


def simulate(flags: argparse.Namespace, hub_centers: HubCenters) -> int:
    """Do it; returns the exit code."""
    bar = Bar(sys.stderr)
    try:
        clusters = _clusters(flags, hub_centers)
        left = Left()
        jobs = _jobs(flags, clusters, left)
        _note(left)
        reports = _all(flags, jobs, clusters, bar)
        bar.clear()
        _tell(flags, jobs, clusters, reports)
    except TraceError as error:
        bar.clear()
        return _complain(str(error), USAGE)
    except OSError as error:
        bar.clear()
        return _complain(str(error), ERROR)
    except KeyboardInterrupt:
        bar.clear()
        return INTERRUPTED
    return OK


def _complain(message: str, code: int) -> int:
    print(f"{_PROGRAM}: {message}", file=sys.stderr)
    return code


def _clusters(flags: argparse.Namespace, hub_centers: HubCenters) -> list[Cluster]:
    if flags.from_hub == (flags.centers is not None):
        raise TraceError("give either CENTERS or --from-hub")
    if flags.from_hub:
        return of_hub(hub_centers(flags))
    return read_clusters(flags.centers, flags.trace, flags.pool)


def _jobs(flags: argparse.Namespace, clusters: Sequence[Cluster], left: Left) -> list[TraceJob]:
    names = {cluster.name for cluster in clusters}
    return read_jobs(
        flags.jobs,
        names.__contains__,
        fits=never(clusters),
        first=flags.first,
        left=left,
        skip_faulty=flags.skip_faulty,
    )


def _note(left: Left) -> None:
    """What was left out, on standard error."""
    told = [
        (left.without_end, "nobody knows how long they run (duration_s is empty)"),
        (left.without_home, "they have no home and were never placed (cluster is empty)"),
    ]
    for count, why in told:
        if count:
            print(f"{_PROGRAM}: left out {count} job(s): {why}", file=sys.stderr)
    if left.faulty:
        first, count = left.faulty[0], len(left.faulty)
        print(f"{_PROGRAM}: left out {count} faulty line(s), first: {first}", file=sys.stderr)


def _tasks(flags: argparse.Namespace) -> list[_Task]:
    names = list(dict.fromkeys(flags.policy or DEFAULT))
    if flags.compare:
        names = list(dict.fromkeys([*names, *POLICIES]))
    seeds = list(dict.fromkeys(flags.seed or [0]))
    found = [
        _Task(name if len(seeds) == 1 else f"{name} (seed {seed})", name, seed)
        for seed in seeds
        for name in names
    ]
    if len(found) > _MOST_RUNS:
        raise TraceError(
            f"{len(found)} runs are more than {_MOST_RUNS}: name fewer policies, seeds"
        )
    return found


def _all(
    flags: argparse.Namespace, jobs: Sequence[TraceJob], clusters: Sequence[Cluster], bar: Bar
) -> dict[str, Report]:
    tasks = _tasks(flags)
    cases = {seed: _case(flags, jobs, clusters, seed) for seed in {task.seed for task in tasks}}
    work = [(task, cases[task.seed]) for task in tasks]
    if flags.parallel > 1:
        found = dict(_side_by_side(work, flags.parallel, bar))
        return {task.name: found[task.name] for task in tasks}
    reports: dict[str, Report] = {}
    for at, (task, case) in enumerate(work):
        show = partial(bar.show, f"{task.name} ({at + 1} of {len(work)})")
        result = run(task.policy, case, task.seed, show)
        reports[task.name] = report(result)
    return reports


def _case(
    flags: argparse.Namespace, jobs: Sequence[TraceJob], clusters: Sequence[Cluster], seed: int
) -> Case:
    case = Case(jobs, jobs_of(jobs, clusters), clusters)
    if not flags.datasets:
        return case
    drawn, datasets = with_data(
        case.jobs, sets=flags.datasets, gigabytes=flags.gigabytes, seed=seed
    )
    room = round(flags.copies_room * TERABYTE)
    if room < flags.gigabytes * GIGABYTE:
        raise TraceError(
            "--copies-room is less than one data set: give it more, or --gigabytes less"
        )
    return replace(case, jobs=drawn, datasets=datasets, room=room)


def _side_by_side(
    work: Sequence[tuple[_Task, Case]], count: int, bar: Bar
) -> Iterator[tuple[str, Report]]:
    """Runs in processes of their own; these leave Ctrl-C to this one, which ends them."""
    with _deaf_pool(min(count, len(work))) as pool:
        results = pool.imap_unordered(_one, work)
        for done in range(len(work)):
            bar.show("runs", done, len(work))
            yield _awaited(results)
        bar.show("runs", len(work), len(work))


def _awaited(results: IMapIterator[tuple[str, Report]]) -> tuple[str, Report]:
    """The next one; a Ctrl-C that comes just before a wait without end would not end it."""
    while True:
        try:
            return results.next(timeout=_GLANCE)
        except multiprocessing.TimeoutError:
            continue


def _deaf_pool(count: int) -> Pool:
    """Processes that are born with Ctrl-C blocked: one that a Ctrl-C met at its start would die
    with the pool's lock in its hand, and nobody could end the pool any more."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return multiprocessing.Pool(count)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _one(work: tuple[_Task, Case]) -> tuple[str, Report]:
    task, case = work
    return task.name, report(run(task.policy, case, task.seed))


def _tell(
    flags: argparse.Namespace,
    jobs: Sequence[TraceJob],
    clusters: Sequence[Cluster],
    reports: dict[str, Report],
) -> None:
    if flags.html:
        title = f"{flags.jobs.name}: {', '.join(reports)}"
        text = page(title, _about(flags, jobs, clusters), reports)
        flags.html.write_text(text, encoding="utf-8")
    if flags.output == "json":
        found: dict[str, Any] = {
            "jobs": len(jobs),
            "centers": [asdict(cluster) for cluster in clusters],
            "policies": {name: one.as_dict() for name, one in reports.items()},
        }
        print(json.dumps(found))
    else:
        print(table(reports))


def _about(
    flags: argparse.Namespace, jobs: Sequence[TraceJob], clusters: Sequence[Cluster]
) -> list[str]:
    centers = {cluster.name for cluster in clusters}
    units = sum(cluster.nodes * cluster.gpus_per_node for cluster in clusters)
    days = (max(job.submit for job in jobs) - min(job.submit for job in jobs)) / 86_400
    told = [
        f"{len(jobs)} jobs of {flags.jobs.name}, submitted within {days:.1f} days",
        f"{len(centers)} centers, {sum(c.nodes for c in clusters)} nodes, {units} accelerators",
        "Huiju expects run times from what ended jobs of the same home and size tell, no more",
    ]
    if flags.datasets:
        told.append(
            f"{flags.datasets} data sets of {flags.gigabytes:g} GB in each center, links of"
            f" 10 Gbit/s, room for {flags.copies_room:g} TB of copies in each center"
        )
    return told
