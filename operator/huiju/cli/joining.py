"""What joining a center means: which objects, where, in which order, and why each.

Pure data: nothing is read or written here. Invariants: the account gets the rules of
`centers/role.py` and no others; a repeated join changes only what the flags name.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from huiju.centers import role
from huiju.centers.role import RoleRule
from huiju.cli.probe import Deed
from huiju.kube import resources
from huiju.kube.resources import Resource

if TYPE_CHECKING:
    from huiju.kube.credentials import Credentials

Fields = dict[str, Any]
SYSTEM: Final = "huiju-system"
TOKEN_SECRET: Final = f"{role.ACCOUNT}-token"
KEY: Final = "kubeconfig"


class Side(StrEnum):
    """Which cluster a step writes to."""

    CENTER = "center"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class Step:
    """One object to have, and why."""

    side: Side
    res: Resource
    body: Fields
    why: str
    keep: bool = False
    """Whether an object that is there already stays as it is."""
    rules: tuple[RoleRule, ...] = ()
    """What a role allows, each rule with its reason."""

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        """The object's namespace, if its kind has one."""
        return self.body["metadata"].get("namespace") if self.res.namespaced else None

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.res.kind} {where}"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of a center; None and empty leave a field as it is."""

    name: str
    region: str | None = None
    residency: tuple[str, ...] = ()
    time_zone: str | None = None
    max_share_percent: int | None = None
    namespaces: tuple[str, ...] = ()


def account_steps(namespace: str = SYSTEM, *, token_secret: bool = True) -> tuple[Step, ...]:
    """What the center gets: an account with few rights, and a class for federated pods."""
    steps = [
        _namespace(Side.CENTER, namespace, "Holds the hub's account, apart from everything else."),
        Step(
            Side.CENTER,
            resources.SERVICE_ACCOUNTS,
            role.service_account(namespace),
            "The hub acts as this account; delete it, and the hub is locked out at once.",
        ),
        Step(
            Side.CENTER,
            resources.CLUSTER_ROLES,
            role.cluster_role(),
            "What the account may do, and nothing else:",
            rules=role.RULES,
        ),
        Step(
            Side.CENTER,
            resources.CLUSTER_ROLE_BINDINGS,
            role.cluster_role_binding(namespace),
            "Gives the account that role.",
        ),
        Step(
            Side.CENTER,
            resources.PRIORITY_CLASSES,
            role.priority_class(),
            "Federated pods run below the center's own and push nobody out.",
            keep=True,
        ),
    ]
    if token_secret:
        steps.append(
            Step(
                Side.CENTER,
                resources.SECRETS,
                _token_secret(namespace),
                "The account's token, valid until this Secret is deleted.",
            )
        )
    return tuple(steps)


def hub_steps(wishes: Wishes, kubeconfig: str, namespace: str = SYSTEM) -> tuple[Step, ...]:
    """What the hub gets: the credential, and the center that uses it."""
    return (
        _namespace(Side.HUB, namespace, "Holds the hub's own objects."),
        Step(
            Side.HUB,
            resources.SECRETS,
            _kubeconfig_secret(wishes.name, kubeconfig, namespace),
            "The kubeconfig that the hub reaches the center with; data only, no programs or files.",
        ),
        Step(
            Side.HUB,
            resources.COMPUTE_CENTERS,
            center(wishes, namespace),
            "Makes the cluster a center: the hub senses it and places jobs there.",
        ),
    )


def secret_name(center: str) -> str:
    """Name of the Secret on the hub that holds a center's kubeconfig."""
    return f"center-{center}"


def center(wishes: Wishes, namespace: str) -> Fields:
    """The ComputeCenter, with the fields that the command line speaks of."""
    ref = {"name": secret_name(wishes.name), "namespace": namespace, "key": KEY}
    return {
        "apiVersion": resources.COMPUTE_CENTERS.api_version,
        "kind": resources.COMPUTE_CENTERS.kind,
        "metadata": {"name": wishes.name},
        "spec": {"connection": {"push": {"kubeconfigSecret": ref}}, **center_spec(wishes)},
    }


def center_spec(wishes: Wishes) -> Fields:
    """The fields of a ComputeCenter that the command line speaks of, the connection apart."""
    sharing: Fields = {"priorityClassName": role.PRIORITY_CLASS}
    if wishes.max_share_percent is not None:
        sharing["maxSharePercent"] = wishes.max_share_percent
    if wishes.namespaces:
        sharing["namespaces"] = list(wishes.namespaces)
    spec: Fields = {"sharing": sharing}
    if wishes.region:
        spec["region"] = wishes.region
    if wishes.residency:
        spec["residency"] = list(wishes.residency)
    if wishes.time_zone:
        spec["timeZone"] = wishes.time_zone
    return spec


def kubeconfig_text(name: str, credentials: Credentials, server: str | None, token: str) -> str:
    """A kubeconfig with this token and the center's address and CA; nothing else of the caller's.

    `server` replaces the address where the hub reaches the center by another one.
    """
    import yaml

    cluster: Fields = {"server": server or credentials.server}
    if credentials.ca_pem is not None:
        cluster["certificate-authority-data"] = base64.b64encode(credentials.ca_pem).decode()
    if credentials.tls_server_name:
        cluster["tls-server-name"] = credentials.tls_server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": role.ACCOUNT, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": role.ACCOUNT}}],
        "current-context": name,
    }
    return str(yaml.safe_dump(config, sort_keys=False))


def wanted_access() -> list[Deed]:
    """Every deed that the role allows."""
    found = []
    for rule in role.RULES:
        for resource, name, verb in product(rule.resources, rule.names or ("",), rule.verbs):
            plural, _, subresource = resource.partition("/")
            found.append(Deed(verb, rule.group, plural, subresource, name))
    return found


def _namespace(side: Side, name: str, why: str) -> Step:
    body: Fields = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": dict(role.PART_OF)},
    }
    return Step(side, resources.NAMESPACES, body, why, keep=True)


def _token_secret(namespace: str) -> Fields:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": TOKEN_SECRET,
            "namespace": namespace,
            "labels": dict(role.PART_OF),
            "annotations": {"kubernetes.io/service-account.name": role.ACCOUNT},
        },
    }


def _kubeconfig_secret(center: str, kubeconfig: str, namespace: str) -> Fields:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": secret_name(center),
            "namespace": namespace,
            "labels": role.PART_OF | {"huiju.dev/center": center},
        },
        "data": {KEY: base64.b64encode(kubeconfig.encode()).decode()},
    }
