"""`huiju`: the programs that run in a cluster; composition only, no decisions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from huiju import __version__

if TYPE_CHECKING:
    import argparse

    from huiju.hub.hub import Hub
    from huiju.hub.run import Extra
    from huiju.hub.settings import HubSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run a program by name; returns its exit code (2 for a wrong command line)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["guard"]:
        # Before any import that it does not need: one of these runs in every guarded pod.
        from huiju.guard.program import main as guard

        return guard()
    if words == ["prepare"]:
        from huiju.guard.prepare import main as prepare

        return prepare()
    import argparse

    parser = argparse.ArgumentParser(
        prog="huiju", description="Huiju joins AI computing centers into one network."
    )
    parser.add_argument("--version", action="version", version=f"huiju {__version__}")
    programs = parser.add_subparsers(dest="program", required=True, metavar="PROGRAM")
    hub = programs.add_parser("hub", help="run the hub: queue, place, dispatch and follow jobs")
    _hub_arguments(hub)
    programs.add_parser(
        "guard", help="run beside a job's containers in its pod; see docs/failover.md"
    )
    programs.add_parser(
        "prepare", help="run before a job's containers in its pod; see docs/failover.md"
    )
    simulate = programs.add_parser("simulate", help="run recorded jobs under several policies")
    if "simulate" in words:
        # Others need not wait for these imports.
        from huiju.simulation.command import configure

        configure(simulate)
    agent = programs.add_parser(
        "agent", help="run the agent of a pull center: sense it, run its work, report to the hub"
    )
    _agent_arguments(agent)
    sentinel = programs.add_parser(
        "sentinel", help="run in a center: ask for its lease, and tell guards how long it holds"
    )
    _sentinel_arguments(sentinel)
    policy = programs.add_parser(
        "policy", help="say what a center's owner lets in, and what would be refused of jobs"
    )
    _policy_arguments(policy)
    gateway = programs.add_parser(
        "gateway", help="hand out the files of granted data sets from folders and web servers"
    )
    _gateway_arguments(gateway)
    pull = programs.add_parser("pull", help="carry out one transfer of a data set into a store")
    _pull_arguments(pull)
    arguments = parser.parse_args(words)
    match arguments.program:
        case "hub":
            return _hub(arguments)
        case "agent":
            return _agent(arguments)
        case "policy":
            return _policy(arguments)
        case "sentinel":
            return _sentinel(arguments)
        case "pull":
            return _pull(arguments)
        case "gateway":
            return _gateway(arguments)
        case "simulate":
            return _simulate(arguments)
        case _:
            parser.error(f"unknown program {arguments.program!r}")


def _hub_arguments(parser: argparse.ArgumentParser) -> None:
    from pathlib import Path

    parser.add_argument("--kubeconfig", help="kubeconfig of the hub; default as kubectl")
    parser.add_argument("--context", help="context in the kubeconfig")
    parser.add_argument("--namespace", default="huiju-system", help="Huiju's own namespace")
    parser.add_argument("--bind", default="127.0.0.1", help="address of health and metrics")
    parser.add_argument("--health-port", type=int, default=8081, help="port of health and metrics")
    parser.add_argument("--view-bind", default="127.0.0.1", help="address of the view API")
    parser.add_argument("--view-port", type=int, default=0, help="port of the view API, 0 for none")
    parser.add_argument(
        "--view-advertise",
        default="",
        metavar="ADDRESS",
        help="this pod's address: the Service huiju-view leads to it while this hub leads",
    )
    parser.add_argument(
        "--guard-image",
        default="",
        metavar="IMAGE",
        help="image of Huiju as centers pull it, for the guard in the pods of jobs with automatic"
        " failover; without it such jobs wait",
    )
    parser.add_argument(
        "--no-failover",
        action="store_true",
        help="let no job leave a lost center, whatever it says itself",
    )
    parser.add_argument(
        "--failovers-per-minute",
        type=_positive,
        default=120,
        metavar="JOBS",
        help="jobs that may leave lost centers in a minute, all together (120)",
    )
    parser.add_argument(
        "--audit-log",
        type=Path,
        metavar="FILE",
        help="add a line to this file for each thing done with data; see `kubectl huiju audit`",
    )
    parser.add_argument("--no-leader-election", action="store_true", help="run without a Lease")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")


def _positive(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number above 0")
    return number


def _agent_arguments(parser: argparse.ArgumentParser) -> None:
    from pathlib import Path

    parser.add_argument("--center", required=True, help="name of the ComputeCenter on the hub")
    known = parser.add_mutually_exclusive_group(required=True)
    known.add_argument(
        "--bootstrap-kubeconfig",
        type=Path,
        metavar="FILE",
        help="what `kubectl huiju join CENTER --pull` made: exchanged once for a credential of the"
        " agent's own, which it keeps in the center and renews",
    )
    known.add_argument(
        "--hub-kubeconfig",
        type=Path,
        metavar="FILE",
        help="a kubeconfig of the hub that somebody else renews; data only, read again and again",
    )
    parser.add_argument("--center-kubeconfig", help="kubeconfig of the center; default as kubectl")
    parser.add_argument(
        "--namespace", default="huiju-system", help="the agent's own, in the center"
    )
    parser.add_argument(
        "--data",
        action="store_true",
        help="move data sets: hand out links to the center's own, and carry copies into its store",
    )
    parser.add_argument(
        "--data-only",
        action="store_true",
        help="nothing but that: for a center that the hub itself reaches by push",
    )
    parser.add_argument(
        "--data-store",
        default="",
        metavar="PLACE",
        help="where copies may lie: a folder that all nodes have, or SERVER:FOLDER of NFS; the"
        " same as spec.dataStore of the ComputeCenter",
    )
    parser.add_argument(
        "--pull-image", default="", metavar="IMAGE", help="Huiju's image, for the pods that copy"
    )
    parser.add_argument(
        "--gateway-url",
        default="",
        metavar="URL",
        help="where consumers reach `huiju gateway` of this center, for folders and web servers",
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address of health and metrics")
    parser.add_argument("--health-port", type=int, default=8082, help="port of health and metrics")
    parser.add_argument("--no-leader-election", action="store_true", help="run without a Lease")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")


def _sentinel_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kubeconfig", help="kubeconfig of the center; default as kubectl")
    parser.add_argument("--namespace", default="huiju-system", help="the sentinel's own")
    parser.add_argument(
        "--identity", default="huiju-sentinel", help="who asks, as the Lease shows it"
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address of all that it serves")
    parser.add_argument("--lease-port", type=int, default=8083, help="port that guards ask")
    parser.add_argument("--health-port", type=int, default=8084, help="port of health and metrics")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")


def _sentinel(arguments: argparse.Namespace) -> int:
    import asyncio

    import uvloop

    from huiju.kube.errors import KubeconfigRefused
    from huiju.kube.kubeconfig import from_kubeconfig
    from huiju.sentinel.run import run_sentinel
    from huiju.sentinel.settings import SentinelSettings
    from huiju.telemetry.logs import configure

    configure(arguments.log_format, arguments.log_level)
    settings = SentinelSettings(
        namespace=arguments.namespace,
        identity=arguments.identity,
        bind=arguments.bind,
        lease_port=arguments.lease_port,
        health_port=arguments.health_port,
    )
    try:
        center = from_kubeconfig(arguments.kubeconfig)
    except KubeconfigRefused as refusal:
        print(f"huiju sentinel: {refusal}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_sentinel(center, settings))


def _agent(arguments: argparse.Namespace) -> int:
    import asyncio

    import uvloop

    from huiju.agent.credentials import FileIdentity, HubIdentity, OwnIdentity
    from huiju.agent.run import run_agent
    from huiju.agent.settings import AgentSettings
    from huiju.kube.client import Client
    from huiju.kube.errors import KubeconfigRefused
    from huiju.kube.kubeconfig import from_kubeconfig
    from huiju.telemetry.logs import configure

    configure(arguments.log_format, arguments.log_level)
    settings = AgentSettings(
        center=arguments.center,
        namespace=arguments.namespace,
        leader_election=not arguments.no_leader_election,
        data=arguments.data or arguments.data_only,
        data_only=arguments.data_only,
        data_store=arguments.data_store,
        pull_image=arguments.pull_image,
        gateway_url=arguments.gateway_url,
        bind=arguments.bind,
        health_port=arguments.health_port,
    )
    if settings.data_store and not settings.pull_image:
        print("huiju agent: --data-store needs --pull-image", file=sys.stderr)
        return 2

    def identity(center: Client) -> HubIdentity:
        if arguments.hub_kubeconfig is not None:
            return FileIdentity(arguments.hub_kubeconfig)
        return OwnIdentity(center, settings, arguments.bootstrap_kubeconfig)

    try:
        center = from_kubeconfig(arguments.center_kubeconfig)
    except KubeconfigRefused as refusal:
        print(f"huiju agent: {refusal}", file=sys.stderr)
        return 2
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_agent(identity, center, settings))


def _policy_arguments(parser: argparse.ArgumentParser) -> None:
    from pathlib import Path

    parser.add_argument("--center-kubeconfig", help="kubeconfig of the center; default as kubectl")
    parser.add_argument(
        "--namespace", default="huiju-system", help="the agent's own, in the center"
    )
    parser.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="judge by this ConfigMap huiju-policy, not by the one in the center",
    )
    parser.add_argument(
        "-f",
        "--filename",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="jobs that might come; again for more",
    )
    parser.add_argument(
        "--hub-id",
        default="00000000",
        metavar="ID",
        help="the hub's id as its namespaces here carry it, if centerNamespaces name them",
    )
    parser.add_argument(
        "--guard-image",
        default="",
        metavar="IMAGE",
        help="Huiju's image as the center pulls it: it is in pods with automatic failover,"
        " spec.progress or checkpoints",
    )
    parser.add_argument(
        "--priority-class",
        default="",
        metavar="NAME",
        help="spec.sharing.priorityClassName of the ComputeCenter on the hub",
    )


def _policy(arguments: argparse.Namespace) -> int:
    import asyncio

    from huiju.agent.policycheck import Question, explain_policy
    from huiju.kube.client import Client
    from huiju.kube.errors import KubeconfigRefused
    from huiju.kube.kubeconfig import from_kubeconfig

    asked = Question(
        namespace=arguments.namespace,
        policy=arguments.policy,
        jobs=tuple(arguments.filename),
        hub_id=arguments.hub_id,
        guard_image=arguments.guard_image,
        priority_class=arguments.priority_class,
    )
    try:
        center = from_kubeconfig(arguments.center_kubeconfig)
    except KubeconfigRefused as refusal:
        print(f"huiju policy: {refusal}", file=sys.stderr)
        return 2

    async def answer() -> int:
        async with Client(center, name="center") as client:
            return await explain_policy(client, asked, print)

    return asyncio.run(answer())


def _gateway_arguments(parser: argparse.ArgumentParser) -> None:
    from pathlib import Path

    parser.add_argument(
        "--state", type=Path, required=True, metavar="FOLDER", help="what it may hand out"
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address that it listens on")
    parser.add_argument("--port", type=int, default=8090, help="port, 0 for any")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="certificate, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its key, PEM")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    parser.add_argument("--log-level", choices=("debug", "info", "warning"), default="info")


def _pull_arguments(parser: argparse.ArgumentParser) -> None:
    from pathlib import Path

    parser.add_argument(
        "--folder",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where order, terms and sealed links are put; see docs/data-plane.md",
    )


def _pull(arguments: argparse.Namespace) -> int:
    import asyncio

    import uvloop

    from huiju.data.pull.run import run_puller

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_puller(arguments.folder))


def _gateway(arguments: argparse.Namespace) -> int:
    import asyncio

    import uvloop

    from huiju.data.gatewayrun import GatewaySettings, run_gateway
    from huiju.telemetry.logs import configure

    configure(arguments.log_format, arguments.log_level)
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        print("huiju gateway: --tls-cert and --tls-key go together", file=sys.stderr)
        return 2
    settings = GatewaySettings(
        arguments.state,
        arguments.bind,
        arguments.port,
        arguments.tls_cert,
        arguments.tls_key,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_gateway(settings))


def _hub(arguments: argparse.Namespace) -> int:
    import asyncio
    import gc

    import uvloop

    from huiju.hub.run import run_hub
    from huiju.hub.settings import HubSettings, LeaseSettings
    from huiju.kube.credentials import Credentials
    from huiju.kube.errors import KubeconfigRefused
    from huiju.kube.kubeconfig import from_kubeconfig
    from huiju.telemetry.logs import configure

    configure(arguments.log_format, arguments.log_level)
    settings = HubSettings(
        namespace=arguments.namespace,
        leader_election=not arguments.no_leader_election,
        lease=LeaseSettings(namespace=arguments.namespace),
        bind=arguments.bind,
        health_port=arguments.health_port,
        view_bind=arguments.view_bind,
        view_port=arguments.view_port,
        view_advertise=arguments.view_advertise,
        guard_image=arguments.guard_image,
        failover=not arguments.no_failover,
        failovers_per_minute=arguments.failovers_per_minute,
        audit_file=arguments.audit_log,
    )

    def credentials() -> Credentials:
        return from_kubeconfig(arguments.kubeconfig, arguments.context)

    try:
        credentials()
    except KubeconfigRefused as refusal:
        print(f"huiju hub: {refusal}", file=sys.stderr)
        return 2
    # Nearly all that a hub allocates is free of cycles: looking for them often finds none.
    gc.set_threshold(50_000, 20, 100)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run_hub(credentials, settings, _extras(settings)))


def _extras(settings: HubSettings) -> list[Extra]:
    if not settings.view_port:
        return []

    async def view(hub: Hub) -> None:
        from huiju.hub.view import View
        from huiju.web.server import ViewSettings, serve_view

        await serve_view(
            View(hub),
            hub.client,
            ViewSettings(
                bind=settings.view_bind,
                port=settings.view_port,
                namespace=settings.namespace,
                advertise=settings.view_advertise,
            ),
        )

    return [view]


def _simulate(arguments: argparse.Namespace) -> int:
    from huiju.simulation.command import simulate

    return simulate(arguments, _centers_of_hub)


def _centers_of_hub(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The hub's ComputeCenters; raises OSError saying what to do about it."""
    from huiju.cli.api import Api
    from huiju.cli.failures import explain
    from huiju.kube.errors import KubeError
    from huiju.kube.kubeconfig import from_kubeconfig
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        api = Api(from_kubeconfig(arguments.kubeconfig, arguments.context))
        return api.list(COMPUTE_CENTERS)[0]
    except KubeError as error:
        raise OSError(explain(error)) from error


if __name__ == "__main__":
    sys.exit(main())
