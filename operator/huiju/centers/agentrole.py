"""What the agent of a pull center may do, on the hub and in its own center, as data with reasons.

Decides the least that the agent's code needs; `kubectl huiju join --pull`, the chart of a center
and the permissions page are made from here. Invariants: on the hub nothing outside the center's own
mailbox can be read or written but the center's own ComputeCenter and the hub's identity, both read
only; before its approval an agent can do nothing but ask and renew its credential.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from huiju.centers.lease import SENTINEL
from huiju.centers.role import RULES, RoleRule

ACCOUNT: Final = "huiju-agent"
"""Name of the agent's account, on the hub (in the mailbox) and in the center."""
BOOTSTRAP: Final = "huiju-bootstrap"
"""The account in the mailbox whose token is good for one exchange."""
ASKING_ROLE: Final = "huiju-agent-asking"
MAILBOX_ROLE: Final = "huiju-agent"
HUB_ROLE: Final = "huiju-mailbox"
PRESENCE: Final = "huiju-agent"
"""The Lease by which an agent tells that it is alive; the same name in mailbox and center."""
CREDENTIAL: Final = "huiju-agent-credential"
"""The Secret in the center that holds the agent's own credential for the hub."""
GATEWAY: Final = "huiju-gateway"
"""The Secret in the center by which the agent tells the gateway what it may hand out."""
PULLER: Final = "huiju-copy-"
"""Begins the names of the Jobs that carry data sets, and of the Secrets that they are told by."""
POLICY: Final = "huiju-policy"
"""The ConfigMap in the center that holds the owner's policy."""
_HUIJU: Final = "huiju.dev"
_LEASES: Final = "coordination.k8s.io"

BOOTSTRAP_RULES: Final = (
    RoleRule(
        "",
        ("serviceaccounts/token",),
        ("create",),
        "Exchanges the short-lived token for the agent's own.",
        names=(ACCOUNT,),
    ),
)
"""Of the bootstrap account, in the mailbox."""

ASKING: Final = (
    RoleRule(
        "",
        ("serviceaccounts/token",),
        ("create",),
        "Renews its own credential before it ends.",
        names=(ACCOUNT,),
    ),
    RoleRule(
        "",
        ("serviceaccounts",),
        ("delete",),
        "Makes the bootstrap token worthless once it was exchanged.",
        names=(BOOTSTRAP,),
    ),
    RoleRule(_LEASES, ("leases",), ("create",), "Asks to be let in, and tells that it is alive."),
    RoleRule(
        _LEASES,
        ("leases",),
        ("patch",),
        "Tells that it is alive.",
        names=(PRESENCE,),
    ),
)
"""Of the agent's account, in the mailbox, from the start."""

MAILBOX: Final = (
    RoleRule(
        _HUIJU,
        ("centerworks",),
        ("get", "list", "watch"),
        "Reads what the hub wants of the center.",
    ),
    RoleRule(_HUIJU, ("centerworks/status",), ("patch",), "Reports what became of it."),
    RoleRule(
        _LEASES,
        ("leases",),
        ("list", "watch", "patch"),
        "Carries the sentinel's asks for the center's lease to the hub, and the answers back.",
        names=(SENTINEL,),
    ),
    RoleRule(
        _HUIJU,
        ("centerinventories",),
        ("list", "create", "patch", "delete"),
        "Tells what the center has and what is free.",
    ),
    RoleRule(
        "",
        ("secrets", "configmaps"),
        ("get",),
        "Fetches what travels with a job, by the name that its CenterWork gives.",
    ),
    RoleRule(
        _HUIJU,
        ("centercopies", "centerservings"),
        ("list", "watch"),
        "Reads which copies of data sets the center is to make, and who asks for its own data.",
    ),
    RoleRule(
        _HUIJU,
        ("centercopies/status", "centerservings/status"),
        ("patch",),
        "Reports how far copies are, and hands out sealed links.",
    ),
)
"""Of the agent's account, in the mailbox, once approved."""

HUB_WIDE: Final = (
    RoleRule(
        "",
        ("namespaces",),
        ("get",),
        "Knows the hub by its UID, which the labels of workloads carry.",
        names=("kube-system",),
    ),
)
"""Of the agent's account on the whole hub, once approved; and its own ComputeCenter, read only."""

SERVING: Final = (
    RoleRule(
        _HUIJU,
        ("datasetshares", "datasetgrants", "computecenters"),
        ("get",),
        "Judges by itself, at each signing, the share, the grants and the center that a request"
        " names; it can list none of them.",
    ),
    RoleRule(
        _HUIJU,
        ("datasetreplicas", "crossregionjobs"),
        ("get",),
        "Sees that a person ordered a copy, or that a job of the share's own namespace reads it,"
        " before anything goes out without a grant; it can list none of them.",
    ),
)
"""Of the agent's account on the whole hub, where the center is the source of data sets."""


def own_center(center: str) -> RoleRule:
    """The right to read the center's own ComputeCenter."""
    return RoleRule(
        _HUIJU,
        ("computecenters",),
        ("list", "watch"),
        "Reads what the platform engineer says of this center's accelerators.",
        names=(center,),
    )


HUB_IN_MAILBOX: Final = (
    RoleRule(
        _HUIJU,
        ("centerworks",),
        ("get", "list", "watch", "create", "patch", "delete"),
        "Writes what it wants of the center, and reads what became of it.",
    ),
    RoleRule(
        _HUIJU,
        ("centerinventories",),
        ("list", "watch"),
        "Reads what the center has and what is free.",
    ),
    RoleRule(_LEASES, ("leases",), ("list", "watch"), "Sees whether the agent is alive."),
    RoleRule(
        _LEASES,
        ("leases",),
        ("patch",),
        "Answers the center's ask for the lease under which guarded jobs run.",
        names=(SENTINEL,),
    ),
    RoleRule(
        "",
        ("secrets", "configmaps"),
        ("create", "delete"),
        "Lays down what travels with a job, and takes it away again; reads nothing back.",
    ),
    RoleRule(
        _HUIJU,
        ("centercopies", "centerservings"),
        ("list", "watch", "create", "patch", "delete"),
        "Orders copies of data sets, asks for links, and carries the sealed answers.",
    ),
)
"""Of the hub's account, in each mailbox."""

_LOOKS: Final = frozenset({"get", "list", "watch"})
_HUBS_OWN: Final = (("pods/log",), ("leases",))
"""What only a hub that reaches the center needs; of Leases the agent has its own rules."""


def _looking() -> Iterator[RoleRule]:
    """What senses and follows; a Secret is read only where the agent also writes."""
    for rule in RULES:
        if "secrets" not in rule.resources and rule.resources not in _HUBS_OWN:
            yield replace(rule, verbs=tuple(verb for verb in rule.verbs if verb in _LOOKS))


def _working() -> Iterator[RoleRule]:
    """What makes, stops and removes workloads and what they need."""
    for rule in RULES:
        if "secrets" in rule.resources:
            yield rule
        elif not _LOOKS.issuperset(rule.verbs) and rule.resources not in _HUBS_OWN:
            yield replace(rule, verbs=tuple(verb for verb in rule.verbs if verb not in _LOOKS))


CENTER_LOOKING: Final = tuple(_looking())
"""Of the agent's account in the whole center."""

WORK_ROLE: Final = "huiju-agent-work"
CENTER_WORKING: Final = tuple(_working())
"""Of the agent's account in the whole center, or only where its owner binds it."""

CENTER_OWN: Final = (
    RoleRule(_LEASES, ("leases",), ("create",), "Makes the Lease under which one agent works."),
    RoleRule(_LEASES, ("leases",), ("get", "patch"), "Holds that Lease.", names=(PRESENCE,)),
    RoleRule(
        _LEASES,
        ("leases",),
        ("list", "watch", "patch"),
        "Carries the sentinel's asks for the center's lease to the hub, and the answers back.",
        names=(SENTINEL,),
    ),
    RoleRule("", ("secrets",), ("create",), "Keeps its own credential for the hub."),
    RoleRule(
        "",
        ("secrets",),
        ("get", "patch"),
        "Renews that credential.",
        names=(CREDENTIAL,),
    ),
    RoleRule(
        "",
        ("configmaps",),
        ("get", "list", "watch"),
        "Follows the owner's policy, which it cannot change.",
        names=(POLICY,),
    ),
)
"""Of the agent's account in its own namespace in the center."""

DATA_ROLE: Final = "huiju-agent-data"
CENTER_DATA: Final = (
    RoleRule(
        "batch",
        ("jobs",),
        ("list", "watch", "create", "delete"),
        "Runs pullers, which carry data sets into the center's store.",
    ),
    RoleRule(
        "",
        ("pods",),
        ("list", "watch", "patch"),
        "Finds the pods of pullers; a note on one has its kubelet bring what is new in its Secret.",
    ),
    RoleRule("", ("pods/log",), ("get",), "Reads what pullers say of their progress."),
    RoleRule(
        "",
        ("secrets",),
        ("get", "patch", "delete"),
        "Tells pullers what to do, and reads the keys of the center's own data, which lie in this"
        " namespace alone.",
    ),
)
"""Of the agent's account in its own namespace, where the center holds copies or has data."""
