"""The shape that a pod template must have for a workload to be made of it.

Decides only what rendering touches: objects where it looks for objects, lists where it looks for
lists, and the fields that are not the user's to set. Everything else is left to the API server
that runs the pods. Invariant: a template that passes is rendered without a surprise.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from huiju.api.reasons import Reason
from huiju.centers.bundle import KubeDict
from huiju.centers.refusals import RenderRefused

Objects = list[dict[str, Any]]
Strings = dict[str, str]


class _Resources(msgspec.Struct, rename="camel"):
    requests: dict[str, Any] | None = None
    limits: dict[str, Any] | None = None


class _Container(msgspec.Struct, rename="camel"):
    name: str
    image: str | None = None
    env: Objects | None = None
    env_from: Objects | None = None
    resources: _Resources | None = None
    volume_mounts: Objects | None = None


class _NodeSelector(msgspec.Struct, rename="camel"):
    node_selector_terms: Objects | None = None


class _NodeAffinity(msgspec.Struct, rename="camel"):
    required_during_scheduling_ignored_during_execution: _NodeSelector | None = None
    preferred_during_scheduling_ignored_during_execution: Objects | None = None


class _Affinity(msgspec.Struct, rename="camel"):
    node_affinity: _NodeAffinity | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: Annotated[list[_Container], msgspec.Meta(min_length=1)]
    init_containers: list[_Container] | None = None
    volumes: Objects | None = None
    affinity: _Affinity | None = None
    node_selector: Strings | None = None
    image_pull_secrets: Objects | None = None


class _Meta(msgspec.Struct, rename="camel"):
    labels: Strings | None = None
    annotations: Strings | None = None


class _Template(msgspec.Struct, rename="camel"):
    spec: _PodSpec
    metadata: _Meta | None = None


_NOT_THE_USERS: Final = {
    "nodeName": "the center's scheduler chooses nodes; use nodeSelector or affinity",
    "priorityClassName": "the center's owner chooses it; spec.priority orders the queue",
    "priority": "the center's owner chooses it; spec.priority orders the queue",
    "hostname": "the workers' names are made by the workload",
    "subdomain": "the workers' names are made by the workload",
    "schedulingGates": "nothing in the center would ever open them",
    "ephemeralContainers": "they are only for running pods",
}


def check_shape(template: KubeDict) -> None:
    """Refuse a pod template that no workload can be made of.

    Raises:
        RenderRefused: InvalidTemplate; the message names the field and the cure.
    """
    try:
        msgspec.convert(template, _Template)
    except msgspec.ValidationError as error:
        raise RenderRefused(Reason.INVALID_TEMPLATE, f"spec.template: {error}") from None
    spec = template["spec"]
    for field, why in _NOT_THE_USERS.items():
        if spec.get(field):
            raise RenderRefused(
                Reason.INVALID_TEMPLATE, f"spec.template.spec.{field}: take it out: {why}"
            )
    if spec.get("restartPolicy", "Never") != "Never":
        raise RenderRefused(
            Reason.INVALID_TEMPLATE,
            "spec.template.spec.restartPolicy: must be Never or left out:"
            " spec.retry.maxAttempts says how often a job is tried",
        )
