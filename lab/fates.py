"""What happens to pods and nodes of the lab, chosen by annotations or by a call.

Decides the annotations and which pods a fate concerns; `stages/*.yaml` say what each fate looks
like in a status. Invariant: a pod without annotations runs until it is deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

import yaml

from huiju.kube.client import Client
from huiju.kube.resources import NODES, PODS

PREFIX: Final = "lab.huiju.dev/"
RUN_FOR: Final = PREFIX + "run-for"
START_AFTER: Final = PREFIX + "start-after"
FATE: Final = PREFIX + "fate"
FATE_AFTER: Final = PREFIX + "fate-after"
FATE_INDEX: Final = PREFIX + "fate-index"
FATE_EPOCH: Final = PREFIX + "fate-epoch"
FATE_CLUSTER: Final = PREFIX + "fate-cluster"
EXIT_CODE: Final = PREFIX + "exit-code"
LOST: Final = PREFIX + "lost"
FROZEN: Final = PREFIX + "frozen"
PLAYED: Final = PREFIX + "played"
"""On a pod: a lab kubelet plays it with real processes, and kwok leaves it alone."""

PULLER: Final = "huiju.dev/replica-uid"
"""Label of a pod that carries a data set: `lab/pullers.py` plays it."""

_INDEX_LABEL: Final = "batch.kubernetes.io/job-completion-index"
_EPOCH_LABEL: Final = "huiju.dev/epoch"


class Fate(StrEnum):
    """What befalls a pod instead of a good end."""

    FAIL = "fail"
    """Its containers end with `exit-code` (1 if none is given)."""
    IMAGE_PULL = "image-pull"
    """Its image cannot be pulled: ImagePullBackOff for ever."""
    EVICT = "evict"
    """The node's kubelet evicts it once it runs."""
    ADMISSION = "admission"
    """The kubelet refuses it, as it does after losing a device (UnexpectedAdmissionError)."""
    STUCK = "stuck"
    """Its containers are being created for ever."""
    ZOMBIE = "zombie"
    """It runs, and does not go away when deleted, as on a node that is out of reach."""


def pod_annotations(
    *,
    run_for: str | None = None,
    start_after: str | None = None,
    fate: Fate | None = None,
    after: str | None = None,
    exit_code: int | None = None,
    index: int | None = None,
    epoch: int | None = None,
    cluster: str | None = None,
) -> dict[str, str]:
    """Annotations for a pod template; times as `1.5s`, `2m`.

    `fate` happens `after` the pod started (at once where none is given), to every pod or only to
    those of one completion `index`, of one dispatch `epoch`, in one `cluster`. Other pods, and all
    where there is no fate, succeed after `run_for`, or run for ever.
    """
    found = {
        RUN_FOR: run_for,
        START_AFTER: start_after,
        FATE: fate,
        FATE_AFTER: after,
        EXIT_CODE: exit_code,
        FATE_INDEX: index,
        FATE_EPOCH: epoch,
        FATE_CLUSTER: cluster,
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def stages(cluster: str) -> list[dict[str, Any]]:
    """The Stage objects of one cluster, ready for kwok's configuration."""
    found: list[dict[str, Any]] = []
    for file in sorted(files("lab").joinpath("stages").iterdir(), key=lambda file: file.name):
        if not file.name.endswith(".yaml"):
            continue
        text = file.read_text(encoding="utf-8").replace("@FATE@", _fate_expression(cluster))
        found += [_unplayed(document) for document in yaml.safe_load_all(text) if document]
    return found


def _unplayed(stage: dict[str, Any]) -> dict[str, Any]:
    """The stage, of a pod only where no lab kubelet plays it; those of pullers one always does."""
    spec = stage["spec"]
    if spec["resourceRef"]["kind"] == "Pod":
        for mine in (f'.metadata.annotations["{PLAYED}"]', f'.metadata.labels["{PULLER}"]'):
            spec["selector"]["matchExpressions"].append({"key": mine, "operator": "DoesNotExist"})
    return stage


def _fate_expression(cluster: str) -> str:
    """A jq expression: the fate of a pod that it concerns, else null."""

    def fits(annotation: str, actual: str) -> str:
        given = f'.metadata.annotations["{annotation}"]'
        return f"({given} == null or {given} == {actual})"

    conditions = (
        fits(FATE_INDEX, f'.metadata.labels["{_INDEX_LABEL}"]'),
        fits(FATE_EPOCH, f'.metadata.labels["{_EPOCH_LABEL}"]'),
        fits(FATE_CLUSTER, f'"{cluster}"'),
    )
    return f'if {" and ".join(conditions)} then .metadata.annotations["{FATE}"] else null end'


# --- nodes ------------------------------------------------------------------------------------


async def lose_node(client: Client, node: str) -> None:
    """Let a node fall silent: Ready becomes Unknown and its pods stop where they are."""
    pods = await client.list_all(PODS, fields=f"spec.nodeName={node}")
    for pod in pods.items:
        meta = pod["metadata"]
        await client.patch(PODS, meta["name"], _annotate(FROZEN, "true"), meta["namespace"])
    await client.patch(NODES, node, _annotate(LOST, "true"))


async def find_node(client: Client, node: str) -> None:
    """Bring a lost node back, with the pods that are still on it."""
    await client.patch(NODES, node, _annotate(LOST, None))
    pods = await client.list_all(PODS, fields=f"spec.nodeName={node}")
    for pod in pods.items:
        meta = pod["metadata"]
        await client.patch(PODS, meta["name"], _annotate(FROZEN, None), meta["namespace"])


async def break_devices(client: Client, node: str, resource: str, broken: int) -> None:
    """Mark so many devices of a node unhealthy: allocatable falls, capacity stays."""
    found = await client.get(NODES, node)
    whole = int(found["status"]["capacity"][resource])
    await client.patch_status(
        NODES, node, None, {"allocatable": {resource: str(max(0, whole - broken))}}
    )


def _annotate(name: str, value: str | None) -> Mapping[str, Any]:
    return {"metadata": {"annotations": {name: value}}}
