"""`python -m lab`: a federation on this machine, from a terminal.

Decides words and exit codes: 0 done, 1 it failed, 2 it was asked wrongly, 130 interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import sys
from typing import Any, Final

from lab import federation, signals
from lab.cluster import ClusterFailed
from lab.federation import LabError
from lab.kwokctl import BARE, FULL, HUB, ClusterSpec, Component
from lab.nodes import KINDS, add_nodes
from lab.programs import VERSIONS, ProgramsMissing, find_programs
from lab.progress import Progress

_CENTERS: Final = ("east", "west", "north", "south", "central")
_NODES_HELP: Final = "servers in each center, such as ascend-910b=4; may be given several times"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    # Ending in order means ending the clusters that are being started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = options.run(options)
    except (LabError, ClusterFailed, ProgramsMissing, KeyError) as error:
        print(f"lab: {error.args[0] if error.args else error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted, everything that was started is gone", file=sys.stderr)
        return 130
    return int(code or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab",
        description="Real Kubernetes control planes with fake nodes, on this machine.",
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")
    programs = verbs.add_parser("programs", help="find, download or build the programs")
    programs.set_defaults(run=_programs)
    up = verbs.add_parser("up", help="start a hub and centers, and keep them running")
    up.add_argument("--name", default="demo", help="name of the lab (default: demo)")
    up.add_argument("--centers", type=int, default=3, help="how many centers (default: 3)")
    up.add_argument("--no-hub", action="store_true", help="centers only")
    up.add_argument("--bare", action="store_true", help="etcd and kube-apiserver only")
    up.add_argument("--nodes", action="append", default=[], metavar="KIND=N", help=_NODES_HELP)
    up.add_argument("--timeout", type=float, default=180.0, help="seconds to wait (default: 180)")
    up.set_defaults(run=_up)
    down = verbs.add_parser("down", help="end labs and remove all they made")
    down.add_argument("--name", default="demo", help="name of the lab (default: demo)")
    down.add_argument("--all", action="store_true", help="every lab of this user")
    down.set_defaults(run=_down)
    listing = verbs.add_parser("list", help="the labs that are up")
    listing.set_defaults(run=_list)
    status = verbs.add_parser("status", help="clusters, processes and kubeconfigs of a lab")
    status.add_argument("--name", default="demo", help="name of the lab (default: demo)")
    status.add_argument("-o", "--output", choices=("text", "json"), default="text")
    status.set_defaults(run=_status)
    nodes = verbs.add_parser("nodes", help="add servers to a cluster, or show the kinds")
    nodes.add_argument("cluster", nargs="?", help="LAB/CLUSTER; without it, the kinds are shown")
    nodes.add_argument("nodes", nargs="*", metavar="KIND=N")
    nodes.set_defaults(run=_nodes)
    fault = verbs.add_parser("fault", help="pause, resume, kill or start a process of a cluster")
    fault.add_argument("action", choices=("pause", "resume", "kill", "start", "restart"))
    fault.add_argument("cluster", help="LAB/CLUSTER")
    fault.add_argument("component", choices=[str(component) for component in Component])
    fault.set_defaults(run=_fault)
    return parser


def _programs(_: argparse.Namespace) -> None:
    found = find_programs()
    for name, version in VERSIONS.items():
        print(f"{name:24} {version:8} {found.path(name)}")


def _up(options: argparse.Namespace) -> None:
    counted = [_counted(text) for text in options.nodes]
    if options.bare and counted:
        raise LabError("--bare makes clusters that cannot run nodes; leave out --nodes")
    kind = BARE if options.bare else FULL
    specs = [] if options.no_hub else [ClusterSpec("hub", BARE if options.bare else HUB)]
    specs += [ClusterSpec(name, kind) for name in center_names(options.centers)]
    if options.name in federation.names():
        raise LabError(f"lab {options.name!r} is up already; `python -m lab down` ends it")
    asyncio.run(_bring_up(options, specs, counted))
    _status(argparse.Namespace(name=options.name, output="text"))


async def _bring_up(
    options: argparse.Namespace, specs: list[ClusterSpec], counted: list[tuple[str, int]]
) -> None:
    progress = Progress()
    lab = await federation.join(
        options.name, specs, keep=True, progress=progress, seconds=options.timeout
    )
    try:
        for cluster in lab.clusters.values():
            if cluster.spec.components != FULL:
                continue
            async with await cluster.client() as client:
                for kind, count in counted:
                    await add_nodes(client, kind, count)
                    progress.say(f"lab: {cluster.name} has {count} {kind}")
    except BaseException:
        federation.down(options.name)
        raise


def center_names(count: int) -> list[str]:
    """Names for so many centers."""
    return [*_CENTERS[:count], *(f"center-{number}" for number in range(len(_CENTERS), count))]


def _counted(text: str) -> tuple[str, int]:
    kind, _, count = text.partition("=")
    if kind not in KINDS:
        raise LabError(f"no kind of server {kind!r}; there are {', '.join(KINDS)}")
    if not count.isdecimal():
        raise LabError(f"{text!r} should be KIND=NUMBER, such as ascend-910b=4")
    return kind, int(count)


def _down(options: argparse.Namespace) -> None:
    for name in federation.names() if options.all else [options.name]:
        federation.down(name)
        print(f"lab {name} is gone")
    federation.sweep()


def _list(_: argparse.Namespace) -> None:
    federation.sweep()
    for name in federation.names():
        print(f"{name:24} {', '.join(federation.opened(name).clusters)}")


def _status(options: argparse.Namespace) -> None:
    lab = federation.opened(options.name)
    found: dict[str, Any] = {}
    for name, cluster in lab.clusters.items():
        alive = cluster.processes()
        found[name] = {
            "server": cluster.server,
            "kubeconfig": str(cluster.kubeconfig),
            "processes": {
                str(part): alive[part].pid if part in alive else None
                for part in cluster.spec.components
            },
        }
    if options.output == "json":
        print(json.dumps({"name": lab.name, "folder": str(lab.folder), "clusters": found}))
        return
    for name, row in found.items():
        dead = [part for part, pid in row["processes"].items() if pid is None]
        state = f"down: {', '.join(dead)}" if dead else "running"
        print(f"{name:12} {state:10} {row['server']:24} {row['kubeconfig']}")


def _nodes(options: argparse.Namespace) -> None:
    if options.cluster is None:
        width = shutil.get_terminal_size().columns
        for kind, made in KINDS.items():
            holds = ", ".join(f"{name}: {count}" for name, count in made.resources.items())
            print(f"{kind:26} {holds or 'no accelerators'}"[:width])
        return
    cluster = _cluster(options.cluster)
    counted = [_counted(text) for text in options.nodes]

    async def add() -> None:
        async with await cluster.client() as client:
            for kind, count in counted:
                for name in await add_nodes(client, kind, count):
                    print(name)

    asyncio.run(add())


def _fault(options: argparse.Namespace) -> None:
    cluster = _cluster(options.cluster)
    component = Component(options.component)
    match options.action:
        case "pause":
            signals.pause(cluster, component)
        case "resume":
            signals.resume(cluster, component)
        case "kill":
            signals.kill(cluster, component)
        case "start":
            asyncio.run(signals.start(cluster, component))
        case "restart":
            asyncio.run(signals.restart(cluster, component))


def _cluster(text: str) -> Any:
    lab, _, name = text.partition("/")
    clusters = federation.opened(lab).clusters
    if name not in clusters:
        raise LabError(f"{text!r} should be LAB/CLUSTER; {lab} has {', '.join(clusters)}")
    return clusters[name]


if __name__ == "__main__":
    sys.exit(main())
