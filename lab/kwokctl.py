"""How one cluster is described to `kwokctl`, and how that is run.

Decides flags and ports. Invariant: every port is ours, every listener is on 127.0.0.1, and nothing
outside the cluster's folder is written, the user's kubeconfig least of all.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import yaml

from lab.fates import stages
from lab.programs import ETCD, KUBERNETES, KWOK, Programs

HOST: Final = "127.0.0.1"
PORTS: Final = 6
ADMIN: Final = "kwok-admin"
"""Common name of the one client certificate of a cluster; the aggregator uses it too."""


class Component(StrEnum):
    """The processes of a cluster."""

    ETCD = "etcd"
    APISERVER = "kube-apiserver"
    CONTROLLER_MANAGER = "kube-controller-manager"
    SCHEDULER = "kube-scheduler"
    KWOK = "kwok-controller"


BARE: Final = (Component.ETCD, Component.APISERVER)
"""Nothing schedules, runs or collects anything; cheap."""
HUB: Final = (*BARE, Component.CONTROLLER_MANAGER)
"""Objects live and die as they should, but no pod runs."""
FULL: Final = tuple(Component)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """What a cluster should be."""

    name: str
    components: tuple[Component, ...] = FULL
    """Its processes, in the order in which they can start."""
    durable: bool = False
    """Whether etcd waits for the disk; only a crash of the machine could tell."""
    extra_args: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """More flags (without dashes) by component."""
    gogc: int = 200
    """Per cent by which an API server's heap may grow before it is collected. More than Go's own
    100, since memory is cheaper here than a core that every other process wants too."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one cluster."""

    etcd: int
    etcd_peer: int
    apiserver: int
    controller_manager: int
    scheduler: int
    kwok: int


def configuration(spec: ClusterSpec, ports: Ports, programs: Programs, folder: Path) -> str:
    """The YAML documents that kwokctl reads: the cluster, then what its nodes and pods do."""
    options: dict[str, Any] = {
        "runtime": "binary",
        "bindAddress": HOST,
        "quietPull": True,
        "securePort": True,
        "kubeAuthorization": True,
        "kubeAdmission": True,
        "kubeVersion": f"v{KUBERNETES}",
        "etcdVersion": ETCD,
        "kwokVersion": f"v{KWOK}",
        "etcdPort": ports.etcd,
        "etcdPeerPort": ports.etcd_peer,
        "kubeApiserverPort": ports.apiserver,
        "kubeControllerManagerPort": ports.controller_manager,
        "kubeSchedulerPort": ports.scheduler,
        "kwokControllerPort": ports.kwok,
        "etcdBinary": str(programs.path("etcd")),
        "kubeApiserverBinary": str(programs.path("kube-apiserver")),
        "kubeControllerManagerBinary": str(programs.path("kube-controller-manager")),
        "kubeSchedulerBinary": str(programs.path("kube-scheduler")),
        "kubectlBinary": str(programs.path("kubectl")),
        "kwokControllerBinary": str(programs.path("kwok")),
        "disable": [str(part) for part in Component if part not in spec.components],
    }
    cluster = {
        "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
        "kind": "KwokctlConfiguration",
        "metadata": {"name": spec.name},
        "options": options,
        "componentsPatches": _patches(spec, folder),
    }
    return yaml.safe_dump_all([cluster, *stages(spec.name), _logs(folder)], sort_keys=False)


def _logs(folder: Path) -> dict[str, Any]:
    """What every container prints: one file, since nothing really runs."""
    file = folder / "worker.log"
    stamp = "2026-01-01T00:00:{:02d}.000000000Z stdout F "
    said = ("rendezvous complete", *(f"step {n}: loss {5 / n:.3f}" for n in range(1, 41)), "done")
    file.write_text("".join(f"{stamp.format(n)}{line}\n" for n, line in enumerate(said)))
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "workers"},
        "spec": {"logs": [{"logsFile": str(file)}]},
    }


def _patches(spec: ClusterSpec, folder: Path) -> list[dict[str, Any]]:
    """Flags that kwokctl does not set itself, the caller's own last."""
    authority = str(folder / "pki" / "ca.crt")
    flags: dict[str, dict[str, str]] = {
        Component.APISERVER: {
            "requestheader-client-ca-file": authority,
            "requestheader-allowed-names": ADMIN,
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        },
        # One of each runs, so an election would only make a restart wait for the old lease.
        Component.CONTROLLER_MANAGER: {"leader-elect": "false"},
        Component.SCHEDULER: {"leader-elect": "false"},
    }
    if not spec.durable:
        flags[Component.ETCD] = {"unsafe-no-fsync": "true"}
    if Component.CONTROLLER_MANAGER not in spec.components:
        # Nobody makes the accounts that pods are checked for.
        flags[Component.APISERVER]["disable-admission-plugins"] = "ServiceAccount"
    for name, more in spec.extra_args.items():
        flags.setdefault(Component(name), {}).update(more)
    return [
        {
            "name": str(name),
            # Appended, and the last one given holds: `override` would only replace flags that
            # kwokctl sets itself, and silently drop all others.
            "extraArgs": [{"key": key, "value": value} for key, value in found.items()],
            "extraEnvs": (
                [{"name": "GOGC", "value": str(spec.gogc)}] if name == Component.APISERVER else []
            ),
        }
        for name, found in flags.items()
        if name in spec.components
    ]


async def kwokctl(
    programs: Programs, home: Path, kubeconfig: Path, *arguments: str, seconds: float
) -> str:
    """Run kwokctl with its state in `home`; returns what it said, however it ended.

    Its exit status tells nothing: it is 0 even where the cluster never came up.
    """
    environment = os.environ | {
        "KWOK_WORKDIR": str(home),
        "KUBECONFIG": str(kubeconfig),
        "NO_COLOR": "1",
    }
    process = await asyncio.create_subprocess_exec(
        programs.path("kwokctl"),
        *arguments,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(seconds):
            said, _ = await process.communicate()
    except TimeoutError:
        return f"kwokctl did not end in {seconds:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return said.decode(errors="replace")
