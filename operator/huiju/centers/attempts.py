"""Where the attempts of a job leave checkpoints and outputs, each under its epoch's name.

Pure. Decides the folders, the variables that tell a container of them, and the step that finds the
checkpoint to go on from. Invariants: no two epochs share a folder, nor two jobs that use one
volume; a folder that would go with its pod is refused; the step can read what the main container
can, and write nowhere but into the pod's own link.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from huiju.api.reasons import Reason
from huiju.centers.bundle import KubeDict
from huiju.centers.guarding import RESOURCES, SECURITY
from huiju.centers.jobview import JobView
from huiju.centers.mountpoints import mount_of
from huiju.centers.names import attempts_folder
from huiju.centers.refusals import RenderRefused
from huiju.guard import terms

_VOLUME: Final = "huiju-attempt"
_MOUNT: Final = "/huiju"
_RESUME: Final = f"{_MOUNT}/resume"
_FLEETING: Final = ("emptyDir", "ephemeral", "configMap", "secret", "downwardAPI", "projected")
CHECKPOINTS: Final = "HUIJU_CHECKPOINT_DIR"
OUTPUTS: Final = "HUIJU_OUTPUT_DIR"
RESUME_FROM: Final = "HUIJU_RESUME_FROM"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt is told; paths as the main container sees them, empty for none."""

    epoch: int
    attempts: str = ""
    """Folder of the checkpoints of all attempts."""
    marker: str = ""
    outputs: str = ""
    """Folder of the outputs of all attempts."""


def attempt_of(job: JobView, epoch: int) -> Attempt:
    """The folders of this job at this epoch."""
    own = attempts_folder(job.metadata.name, job.metadata.uid)
    saved, written = job.spec.checkpoint, job.spec.output
    directory = saved.directory if saved is not None else ""
    return Attempt(
        epoch=epoch,
        attempts=f"{directory}/{own}" if directory else "",
        marker=saved.marker if saved is not None else "",
        outputs=f"{written.directory}/{own}" if written is not None else "",
    )


def attempt_environment(attempt: Attempt) -> list[KubeDict]:
    """The variables; whoever writes makes the folder first."""
    found: list[KubeDict] = []
    if attempt.attempts:
        found.append(_text(CHECKPOINTS, f"{attempt.attempts}/e{attempt.epoch}"))
        found.append({"name": RESUME_FROM, "value": _RESUME})
    if attempt.outputs:
        found.append(_text(OUTPUTS, f"{attempt.outputs}/e{attempt.epoch}"))
    return found


def check_directories(job: JobView) -> None:
    """Refuse directories that would not outlive their pod.

    Raises:
        RenderRefused: the message names the field and the cure.
    """
    saved, written = job.spec.checkpoint, job.spec.output
    spec = job.spec.template["spec"]
    if saved is not None and saved.directory:
        _check(spec, saved.directory, "spec.checkpoint.directory")
    if written is not None:
        _check(spec, written.directory, "spec.output.directory")


def _check(spec: KubeDict, directory: str, field: str) -> None:
    trouble = next(_troubles(spec, directory), None)
    if trouble is not None:
        raise RenderRefused(Reason.INVALID_SPEC, f"{field}: {directory} {trouble}")


def _troubles(spec: KubeDict, directory: str) -> Iterator[str]:
    mount = mount_of(spec["containers"][0], directory)
    if mount is None:
        yield (
            "lies in no volume of the template's first container, so it would go with the pod:"
            " mount one there that outlives pods"
        )
        return
    if mount.get("readOnly"):
        yield "lies in a volume that is mounted read-only: take readOnly out of the mount"
    if mount.get("subPathExpr"):
        yield "lies in a mount with subPathExpr: use subPath, and epochs are told apart anyway"
    volumes: list[KubeDict] = spec.get("volumes") or []
    volume = next((one for one in volumes if one.get("name") == mount.get("name")), None) or {}
    kind = next((kind for kind in _FLEETING if volume.get(kind) is not None), None)
    if kind is not None:
        yield f"lies in a volume of kind {kind}, which goes with the pod: use one that outlives it"


def add_preparation(spec: KubeDict, attempt: Attempt, image: str, *, guarded: bool) -> None:
    """Add the step before the main containers (`spec` changed in place) where there is one to do.

    A guarded pod with steps of the user's needs it too: they may outlast the lease.

    Raises:
        RenderRefused: nobody told what image it is in.
    """
    own_steps = bool(spec.get("initContainers"))
    if not attempt.attempts and not (guarded and own_steps):
        return
    if not image:
        raise RenderRefused(
            Reason.INVALID_SPEC,
            "spec.checkpoint.directory: the hub knows no image of the step that finds checkpoints:"
            " its operator starts it with --guard-image",
        )
    step: KubeDict = {
        "name": terms.PREPARE,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": ["prepare"],
        "env": list(_told(attempt, guarded=guarded)),
        "resources": {"requests": dict(RESOURCES), "limits": dict(RESOURCES)},
        "securityContext": _security(spec),
    }
    if attempt.attempts:
        _share(spec, step, attempt)
    spec["initContainers"] = [*(spec.get("initContainers") or ()), step]


def _told(attempt: Attempt, *, guarded: bool) -> Iterator[KubeDict]:
    if guarded:
        source = {"fieldRef": {"fieldPath": "status.podIP"}}
        yield {"name": terms.POD_IP, "valueFrom": source}
        yield {
            "name": terms.GATE,
            "value": f"http://$({terms.POD_IP}):{terms.PORT}{terms.STARTED_PATH}",
        }
    if attempt.attempts:
        yield _text(terms.ATTEMPTS, attempt.attempts)
        yield _text(terms.MARKER, attempt.marker)
        yield {"name": terms.RESUME, "value": _RESUME}


def _share(spec: KubeDict, step: KubeDict, attempt: Attempt) -> None:
    """Let the step see the checkpoints, and the main containers its link."""
    mount = mount_of(spec["containers"][0], attempt.attempts) or {}
    link = {"name": _VOLUME, "mountPath": _MOUNT}
    step["volumeMounts"] = [{**mount, "readOnly": True}, link]
    for container in spec["containers"]:
        own = container.get("volumeMounts") or ()
        container["volumeMounts"] = [*own, {**link, "readOnly": True}]
    volume = {"name": _VOLUME, "emptyDir": {"sizeLimit": "1Mi"}}
    spec["volumes"] = [*(spec.get("volumes") or ()), volume]


def _security(spec: KubeDict) -> KubeDict:
    """As nobody, unless the template names the user that checkpoints belong to."""
    pod = spec.get("securityContext") or {}
    main = spec["containers"][0].get("securityContext") or {}
    made = {**SECURITY, "capabilities": {"drop": ["ALL"]}}
    user = main.get("runAsUser", pod.get("runAsUser"))
    group = main.get("runAsGroup", pod.get("runAsGroup"))
    if user is not None:
        made |= {"runAsUser": user, "runAsNonRoot": user != 0}
    if group is not None:
        made["runAsGroup"] = group
    return made


def _text(name: str, value: str) -> KubeDict:
    """A variable whose value is taken as it stands: Kubernetes expands nothing in it."""
    return {"name": name, "value": value.replace("$(", "$$(")}
