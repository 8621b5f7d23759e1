"""What a pull center needs on the hub: which objects, in which order, and why each.

Pure data: nothing is read or written here. Invariants: the accounts get the rules of
`centers/agentrole.py` and no others; until `approval_steps` an agent can do nothing but ask; what
lies in the mailbox goes with it.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.centers import agentrole, role
from huiju.centers.mailbox import mailbox_of
from huiju.centers.role import RoleRule
from huiju.cli.joining import SYSTEM, Side, Step, Wishes, center_spec
from huiju.hub.role import ACCOUNT as HUB_ACCOUNT
from huiju.kube import resources
from huiju.kube.resources import Resource

Fields = dict[str, Any]
QUOTA: Final = "huiju-mailbox"
"""Name of a mailbox's ResourceQuota."""
MOST: Final = {
    "count/centerinventories.huiju.dev": 384,
    "count/centerworks.huiju.dev": 50_000,
    "count/centercopies.huiju.dev": 2_000,
    "count/centerservings.huiju.dev": 2_000,
    "count/leases.coordination.k8s.io": 8,
    "pods": 0,
    "services": 0,
    "persistentvolumeclaims": 0,
}
"""Objects in a mailbox. A piece of inventory is kept below 200 kB, and 10,000 nodes of 40 labels
each make 280 pieces; none can be above the 1.5 MB of an object."""
CENTER_LABEL: Final = "huiju.dev/center"
REVOKED_AT: Final = "huiju.dev/revoked-at"
"""Annotation of a ComputeCenter whose agent was shut out."""


def wide_name(center: str) -> str:
    """Name of the ClusterRole by which the agent reads its own ComputeCenter."""
    return f"huiju-center-{center}"


def asking_steps(center: str, namespace: str = SYSTEM) -> tuple[Step, ...]:
    """The mailbox, and an account that can do no more than ask to be let in."""
    space = mailbox_of(center)
    return (
        Step(
            Side.HUB,
            resources.NAMESPACES,
            _body(resources.NAMESPACES, space, None, center),
            "The center's mailbox: what the hub wants of it, and what became of it.",
        ),
        Step(
            Side.HUB,
            resources.RESOURCE_QUOTAS,
            _body(resources.RESOURCE_QUOTAS, QUOTA, space, center)
            | {"spec": {"hard": {name: str(count) for name, count in MOST.items()}}},
            "So that no agent can fill the hub's store; raise it for a center of tens of thousands"
            " of nodes, it stays as you leave it.",
            keep=True,
        ),
        *_account(
            center,
            agentrole.ACCOUNT,
            "The agent acts as this account; delete it, and it is locked out at once.",
        ),
        *_granted(
            center,
            agentrole.ASKING_ROLE,
            agentrole.ASKING,
            agentrole.ACCOUNT,
            space,
            "What the agent may do before it is approved:",
        ),
        *_granted(
            center,
            agentrole.HUB_ROLE,
            agentrole.HUB_IN_MAILBOX,
            HUB_ACCOUNT,
            namespace,
            "What the hub may do in this mailbox:",
        ),
    )


def bootstrap_steps(center: str) -> tuple[Step, ...]:
    """The account of the short-lived token."""
    return (
        *_account(
            center,
            agentrole.BOOTSTRAP,
            "Its token is good for one exchange; then the agent deletes it.",
        ),
        *_granted(
            center,
            agentrole.BOOTSTRAP,
            agentrole.BOOTSTRAP_RULES,
            agentrole.BOOTSTRAP,
            mailbox_of(center),
            "What it may do:",
        ),
    )


def approval_steps(center: str, *, serves_data: bool = False) -> tuple[Step, ...]:
    """What lets the agent in; `serves_data` also to what it has to judge before it signs links."""
    space, wide = mailbox_of(center), wide_name(center)
    serving = agentrole.SERVING if serves_data else ()
    rules = (*agentrole.HUB_WIDE, agentrole.own_center(center), *serving)
    return (
        *_granted(
            center,
            agentrole.MAILBOX_ROLE,
            agentrole.MAILBOX,
            agentrole.ACCOUNT,
            space,
            "What the agent may do in its mailbox:",
        ),
        Step(
            Side.HUB,
            resources.CLUSTER_ROLES,
            _role(resources.CLUSTER_ROLES, wide, None, center, rules),
            "What it may read besides:",
            rules=rules,
        ),
        Step(
            Side.HUB,
            resources.CLUSTER_ROLE_BINDINGS,
            _binding(resources.CLUSTER_ROLE_BINDINGS, wide, None, center, agentrole.ACCOUNT, space),
            "Gives it that.",
        ),
    )


def pull_center(wishes: Wishes, *, approved: bool) -> Fields:
    """The ComputeCenter of a pull center."""
    return {
        "apiVersion": resources.COMPUTE_CENTERS.api_version,
        "kind": resources.COMPUTE_CENTERS.kind,
        "metadata": {"name": wishes.name},
        "spec": {
            "connection": {"pull": {"approved": "Approved" if approved else "Pending"}},
            **center_spec(wishes),
        },
    }


def _account(center: str, name: str, why: str) -> tuple[Step, ...]:
    body = _body(resources.SERVICE_ACCOUNTS, name, mailbox_of(center), center)
    body["automountServiceAccountToken"] = False
    return (Step(Side.HUB, resources.SERVICE_ACCOUNTS, body, why),)


def _granted(
    center: str, name: str, rules: tuple[RoleRule, ...], account: str, where: str, why: str
) -> tuple[Step, ...]:
    """A role in the mailbox, and its binding to an account of namespace `where`."""
    space = mailbox_of(center)
    return (
        Step(
            Side.HUB,
            resources.ROLES,
            _role(resources.ROLES, name, space, center, rules),
            why,
            rules=rules,
        ),
        Step(
            Side.HUB,
            resources.ROLE_BINDINGS,
            _binding(resources.ROLE_BINDINGS, name, space, center, account, where),
            "Gives it that.",
        ),
    )


def _body(res: Resource, name: str, namespace: str | None, center: str) -> Fields:
    meta: Fields = {"name": name, "labels": role.PART_OF | {CENTER_LABEL: center}}
    if namespace is not None:
        meta["namespace"] = namespace
    return {"apiVersion": res.api_version, "kind": res.kind, "metadata": meta}


def _role(
    res: Resource, name: str, namespace: str | None, center: str, rules: tuple[RoleRule, ...]
) -> Fields:
    return _body(res, name, namespace, center) | {"rules": [rule.manifest() for rule in rules]}


def _binding(
    res: Resource, name: str, namespace: str | None, center: str, account: str, where: str
) -> Fields:
    kind = "Role" if res.namespaced else "ClusterRole"
    return _body(res, name, namespace, center) | {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": where}],
    }
