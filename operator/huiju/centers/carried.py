"""What travels with a job: ConfigMaps and Secrets, under names that carry the epoch.

Decides the copies' names and where a pod template refers to them. Invariants: the contents of a
Secret are in no repr and no message; a reference to what does not travel is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from huiju.centers.bundle import KubeDict
from huiju.centers.names import ORIGIN, Origin, carried_name

Kind = Literal["ConfigMap", "Secret"]
CONFIG_MAP: Final = "ConfigMap"
SECRET: Final = "Secret"  # noqa: S105  a kind, not a password


@dataclass(frozen=True, slots=True)
class CarriedObject:
    """A ConfigMap or Secret as it was read on the hub."""

    kind: Kind
    name: str
    contents: Mapping[str, Any] = field(repr=False)
    """`data`, `binaryData` and, of a Secret, `type`, as the API has them."""


@dataclass(frozen=True, slots=True)
class Carried:
    """Everything that travels with one job."""

    objects: tuple[CarriedObject, ...] = ()
    """Each once, also where a Secret is named for two uses."""
    pull_secrets: tuple[str, ...] = ()
    """Names among the Secrets that the pods pull their images with."""


NOTHING: Final = Carried()


class Names:
    """The copies' names in the center, by kind and name on the hub."""

    def __init__(self, carried: Carried, workload: str) -> None:
        self._names = {
            (one.kind, one.name): carried_name(workload, one.name) for one in carried.objects
        }

    def __bool__(self) -> bool:
        return bool(self._names)

    def of(self, kind: Kind, name: str) -> str:
        """The copy's name, or the given one where no such object travels."""
        return self._names.get((kind, name), name)


def copies(carried: Carried, names: Names, origin: Origin, namespace: str) -> Iterator[KubeDict]:
    """The objects to create in the center's namespace; immutable, since a job's are not edited."""
    for one in carried.objects:
        yield {
            "apiVersion": "v1",
            "kind": one.kind,
            "metadata": {
                "name": names.of(one.kind, one.name),
                "namespace": namespace,
                "labels": origin.labels(),
                "annotations": {ORIGIN: str(origin)},
            },
            "immutable": True,
            **one.contents,
        }


def refer_to_copies(pod_spec: KubeDict, carried: Carried, names: Names) -> None:
    """Let a pod spec (changed in place) refer to the copies, and pull its images with them."""
    if not names:
        return
    for group in ("initContainers", "containers"):
        for container in _dicts(pod_spec.get(group)):
            _rename_in_environment(container, names)
    for volume in _dicts(pod_spec.get("volumes")):
        _rename_in_volume(volume, names)
    given = _dicts(pod_spec.get("imagePullSecrets"))
    wanted = [names.of(SECRET, str(one.get("name", ""))) for one in given]
    wanted += [names.of(SECRET, name) for name in carried.pull_secrets]
    if wanted:
        pod_spec["imagePullSecrets"] = [{"name": name} for name in dict.fromkeys(wanted)]


def _rename_in_environment(container: KubeDict, names: Names) -> None:
    for variable in _dicts(container.get("env")):
        source = variable.get("valueFrom")
        if isinstance(source, dict):
            _rename(source.get("configMapKeyRef"), "name", CONFIG_MAP, names)
            _rename(source.get("secretKeyRef"), "name", SECRET, names)
    for source in _dicts(container.get("envFrom")):
        _rename(source.get("configMapRef"), "name", CONFIG_MAP, names)
        _rename(source.get("secretRef"), "name", SECRET, names)


def _rename_in_volume(volume: KubeDict, names: Names) -> None:
    _rename(volume.get("configMap"), "name", CONFIG_MAP, names)
    _rename(volume.get("secret"), "secretName", SECRET, names)
    projected = volume.get("projected")
    if isinstance(projected, dict):
        for source in _dicts(projected.get("sources")):
            _rename(source.get("configMap"), "name", CONFIG_MAP, names)
            _rename(source.get("secret"), "name", SECRET, names)
    # Storage drivers have their credentials under one of these fields.
    for source in volume.values():
        if isinstance(source, dict):
            _rename(source.get("secretRef"), "name", SECRET, names)
            _rename(source.get("nodePublishSecretRef"), "name", SECRET, names)
    _rename(volume.get("azureFile"), "secretName", SECRET, names)


def _rename(reference: object, key: str, kind: Kind, names: Names) -> None:
    if isinstance(reference, dict) and isinstance(reference.get(key), str):
        reference[key] = names.of(kind, reference[key])


def _dicts(value: object) -> Iterator[KubeDict]:
    """The objects in a list of a template that no server has checked yet."""
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))
