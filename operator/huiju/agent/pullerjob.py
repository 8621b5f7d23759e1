"""The puller of one transfer as objects of the center: a Job, and the Secret that it is told by.

Pure. Decides what the puller's pod is and may do. Invariants: it has no token of the cluster, runs
as no root, and sees the center's store and its own Secret alone; nothing of a link or an order is
in an argument; whatever folder an order names lies below that of copies in the store.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from huiju.api.center import DataStore, LinkWindow
from huiju.api.meta import GROUP
from huiju.api.transfer import CenterCopySpec, LinkAnswer
from huiju.centers.agentrole import PULLER
from huiju.data.naming import STORE_FOLDER
from huiju.data.pull.order import CONTROL, ORDER, Control, Mode, Order

LABEL_REPLICA: Final = f"{GROUP}/replica-uid"
"""Label of all that was made for a transfer."""
TOLD: Final = f"{GROUP}/told"
"""Annotation of a puller's pod; a new value makes its kubelet look at the Secret at once."""
CONTAINER: Final = "pull"
_STORE: Final = "/store"
_ORDER: Final = "/order"
_FOLDER: Final = re.compile(rf"{STORE_FOLDER}/[0-9a-zA-Z-]{{1,64}}/[0-9a-f]{{32}}")
_RETRIES: Final = 6
"""Pods that may end by anything but the puller's own word, as by the loss of a node."""
_FINAL_CODES: Final = [1, 2, 3]
Fields = dict[str, Any]


def job_name(uid: str, epoch: int, mode: str) -> str:
    """Name of the Job and of its Secret."""
    return f"{PULLER}{uid}-{epoch}{mode[0].lower()}{mode[2]}"[:63]


def folder_is_ours(folder: str) -> bool:
    """Whether an order's folder is one that copies lie in."""
    return _FOLDER.fullmatch(folder) is not None


def order_of(uid: str, spec: CenterCopySpec) -> bytes:
    """The puller's order."""
    order = Order(
        replica=uid,
        epoch=spec.epoch,
        digest=spec.digest,
        target=f"{_STORE}/{spec.folder}",
        mode=Mode(spec.mode),
        include=tuple(spec.include),
        exclude=tuple(spec.exclude),
        signing_key=spec.signing_key or "",
    )
    return msgspec.json.encode(order)


def control_of(spec: CenterCopySpec) -> bytes:
    """The terms that hold now."""

    def hours(window: LinkWindow) -> tuple[int, int]:
        return window.from_hour, window.to_hour

    return msgspec.json.encode(
        Control(rate=spec.rate, windows=tuple(map(hours, spec.windows)), zone=spec.zone)
    )


def told(uid: str, spec: CenterCopySpec) -> dict[str, bytes]:
    """The files of the puller's folder: of answers the newest alone, which it reads once."""
    found = {ORDER: order_of(uid, spec), CONTROL: control_of(spec)}
    answer = spec.answer
    if answer is not None:
        found |= _answered(answer)
    return found


def _answered(answer: LinkAnswer) -> dict[str, bytes]:
    if answer.sealed:
        return {f"links-{answer.seq}": base64.b64decode(answer.sealed)}
    words = {"reason": answer.reason or "", "message": answer.message}
    return {f"refused-{answer.seq}": json.dumps(words, ensure_ascii=False).encode()}


def secret_data(files: Mapping[str, bytes]) -> dict[str, str]:
    """Files as a Secret has them."""
    return {name: base64.b64encode(content).decode() for name, content in files.items()}


def secret_body(uid: str, name: str, namespace: str, files: Mapping[str, bytes]) -> Fields:
    """The Secret that the puller is told by."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {LABEL_REPLICA: uid}},
        "data": secret_data(files),
    }


def job_body(
    uid: str, name: str, namespace: str, store: DataStore, image: str, user: int
) -> Fields:
    """The Job; its pods take up what an earlier one began."""
    labels = {LABEL_REPLICA: uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "backoffLimit": _RETRIES,
            "podFailurePolicy": {
                "rules": [
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": CONTAINER,
                            "operator": "In",
                            "values": _FINAL_CODES,
                        },
                    },
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
                ]
            },
            "template": {"metadata": {"labels": labels}, "spec": _pod(name, store, image, user)},
        },
    }


def _pod(name: str, store: DataStore, image: str, user: int) -> Fields:
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            # The order's Secret is root's and this group's; the store's owners stay what they are.
            "fsGroup": user,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "args": ["pull", "--folder", _ORDER],
                "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
                "resources": {
                    "requests": {"cpu": "500m", "memory": "256Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [
                    {"name": "order", "mountPath": _ORDER, "readOnly": True},
                    {"name": "store", "mountPath": _STORE},
                ],
            }
        ],
        "volumes": [
            {"name": "order", "secret": {"secretName": name, "defaultMode": 0o440}},
            {"name": "store", **_store(store)},
        ],
    }


def _store(store: DataStore) -> Fields:
    if store.nfs is not None:
        return {"nfs": {"server": store.nfs.server, "path": store.nfs.path}}
    return {"hostPath": {"path": store.path, "type": "Directory"}}
