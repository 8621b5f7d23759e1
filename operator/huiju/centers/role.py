"""What a hub's account may do in a center: every rule as data, each with the reason for it.

Decides the least that sensing, dispatching and following need; `kubectl huiju join` creates it and
the center's owner reads it. Invariants: no wildcard; nothing of RBAC, nodes or quotas can be
changed; Secrets can be neither listed nor watched, only read by a name that is already known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from huiju.centers.lease import SENTINEL

ACCOUNT: Final = "huiju-hub"
"""Name of the ServiceAccount, the ClusterRole and its binding in a center."""
PRIORITY_CLASS: Final = "huiju-federated"
PRIORITY: Final = -1000
"""Below every pod that states no priority (0), so that the owner's own pods come first."""
PART_OF: Final = {"app.kubernetes.io/part-of": "huiju"}


@dataclass(frozen=True, slots=True)
class RoleRule:
    """One line of the role: verbs on resources of one API group, and why the hub needs them."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    """The only objects that it is about; empty for all."""

    def manifest(self) -> dict[str, Any]:
        """The rule as RBAC writes it."""
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": list(self.resources)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule | {"verbs": list(self.verbs)}


RULES: Final = (
    RoleRule(
        "",
        ("nodes",),
        ("list", "watch"),
        "Counts accelerators node by node, and sees which nodes are Ready.",
    ),
    RoleRule(
        "",
        ("pods",),
        ("list", "watch"),
        "Subtracts what every pod holds, the owner's too, so that no card is promised twice.",
    ),
    RoleRule(
        "",
        ("pods/log",),
        ("get",),
        "Shows users the output of their own jobs; the hub asks for no other pod.",
    ),
    RoleRule(
        "",
        ("namespaces",),
        ("get", "create"),
        "Knows the cluster again by its kube-system UID, and makes the namespaces jobs run in.",
    ),
    RoleRule(
        "batch",
        ("jobs",),
        ("get", "list", "watch", "create", "patch", "delete"),
        "Creates, suspends, follows and removes the workloads of federated jobs.",
    ),
    RoleRule(
        "",
        ("services", "configmaps", "secrets"),
        ("get", "create", "delete"),
        "Workers find each other by a headless Service; what a job carries travels with it. Read"
        " by name only, to tell the hub's own object from a foreign one; of kube-system, what"
        " Ascend's device plugin reports of a node (mindx-dl-deviceinfo-NODE).",
    ),
    RoleRule(
        "",
        ("events",),
        ("list",),
        "Tells users in the center's own words why a pod of theirs could not be made or started.",
    ),
    RoleRule(
        "coordination.k8s.io",
        ("leases",),
        ("list", "watch", "patch"),
        "Answers the ask of the center's sentinel for the lease under which guarded jobs run.",
        names=(SENTINEL,),
    ),
    RoleRule(
        "resource.k8s.io",
        ("resourceslices", "resourceclaims", "deviceclasses"),
        ("list", "watch"),
        "Counts devices where drivers offer them by dynamic resource allocation.",
    ),
)


def cluster_role() -> dict[str, Any]:
    """The ClusterRole; the reason of each rule is kept in an annotation."""
    reasons = "\n".join(f"{', '.join(rule.resources)}: {rule.why}" for rule in RULES)
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {
            "name": ACCOUNT,
            "labels": dict(PART_OF),
            "annotations": {"huiju.dev/why": reasons},
        },
        "rules": [rule.manifest() for rule in RULES],
    }


def cluster_role_binding(namespace: str) -> dict[str, Any]:
    """Gives the role to the account in `namespace`."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ACCOUNT, "labels": dict(PART_OF)},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": ACCOUNT,
        },
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }


def service_account(namespace: str) -> dict[str, Any]:
    """The account that the hub acts as."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": namespace, "labels": dict(PART_OF)},
        "automountServiceAccountToken": False,
    }


def priority_class() -> dict[str, Any]:
    """The class of federated pods: they give way to the owner's pods and push nobody out."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": PRIORITY_CLASS, "labels": dict(PART_OF)},
        "value": PRIORITY,
        "globalDefault": False,
        "preemptionPolicy": "Never",
        "description": "Jobs of the computing network; the center's own pods come first.",
    }
