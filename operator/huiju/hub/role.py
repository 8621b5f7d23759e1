"""What the hub's own account may do in the hub's cluster: every rule as data, with its reason.

Decides the least that the code needs; the chart and the permissions page are generated from here.
Invariants: no wildcard; no Secret can be listed or watched; outside Huiju's own namespace none can
be read at all until somebody who may grants `CARRY` in that namespace.
"""

from __future__ import annotations

from typing import Final

from huiju.centers.role import RoleRule

ACCOUNT: Final = "huiju-hub"
"""Name of the ServiceAccount, the roles and their bindings on the hub."""
CARRY_ROLE: Final = "huiju-carry"
"""The ClusterRole to bind in a namespace whose jobs may take ConfigMaps and Secrets with them."""
_HUIJU: Final = "huiju.dev"

CLUSTER: Final = (
    RoleRule(
        _HUIJU,
        ("computecenters", "computequeues"),
        ("list", "watch"),
        "Follows the centers and queues that platform engineers declare.",
    ),
    RoleRule(
        _HUIJU,
        ("computecenters/status", "computequeues/status"),
        ("patch",),
        "Shows what a center has and what a queue holds.",
    ),
    RoleRule(
        _HUIJU,
        ("crossregionjobs",),
        ("get", "list", "watch", "delete"),
        "Follows jobs, and removes finished ones after their `ttlAfterFinished`.",
    ),
    RoleRule(
        _HUIJU,
        ("crossregionjobs/status",),
        ("update",),
        "Writes decisions: placement, epoch, reason. Users' specs cannot be changed.",
    ),
    RoleRule(
        _HUIJU,
        ("datasetshares", "datasetgrants", "modelshares"),
        ("list", "watch"),
        "Follows what is shared, and who may use it.",
    ),
    RoleRule(
        _HUIJU,
        ("datasetreplicas",),
        ("list", "watch", "create", "patch", "delete"),
        "Makes a replica where a job or a copy rule needs one, and lets it go with the copy's last"
        " byte.",
    ),
    RoleRule(
        _HUIJU,
        (
            "datasetshares/status",
            "datasetgrants/status",
            "datasetreplicas/status",
            "modelshares/status",
        ),
        ("patch",),
        "Tells what a grant is worth and how far a copy is. Decisions of people cannot be changed.",
    ),
    RoleRule(
        "events.k8s.io",
        ("events",),
        ("create",),
        "Tells users what became of their jobs, in the jobs' own namespaces.",
    ),
    RoleRule(
        "",
        ("namespaces",),
        ("get",),
        "Knows the hub's cluster by its UID, which the labels of workloads carry.",
        names=("kube-system",),
    ),
    RoleRule(
        "authorization.k8s.io",
        ("subjectaccessreviews",),
        ("create",),
        "Asks the cluster whether the caller of the view API may see a job.",
    ),
    RoleRule(
        "apiregistration.k8s.io",
        ("apiservices",),
        ("get", "patch"),
        "Tells API servers the authority of the view API's certificate when it is renewed.",
        names=("v1alpha1.view.huiju.dev",),
    ),
)
"""In the whole cluster."""

OWN: Final = (
    RoleRule(
        "",
        ("secrets",),
        ("get", "create"),
        "Reads the kubeconfigs that ComputeCenters name; makes the Secrets of its certificate and"
        " of the key by which it knows its placements again.",
    ),
    RoleRule(
        "",
        ("secrets",),
        ("update",),
        "Renews its certificate.",
        names=("huiju-view-serving",),
    ),
    RoleRule(
        "coordination.k8s.io",
        ("leases",),
        ("create",),
        "Makes the Lease under which one hub leads.",
    ),
    RoleRule(
        "coordination.k8s.io",
        ("leases",),
        ("get", "patch"),
        "Holds that Lease.",
        names=("huiju-hub",),
    ),
    RoleRule(
        "",
        ("services",),
        ("get",),
        "Finds the Service of the view API.",
        names=("huiju-view",),
    ),
    RoleRule(
        "discovery.k8s.io",
        ("endpointslices",),
        ("create",),
        "Makes the slice by which that Service leads to the hub that leads.",
    ),
    RoleRule(
        "discovery.k8s.io",
        ("endpointslices",),
        ("get", "patch"),
        "Moves that slice when another hub begins to lead.",
        names=("huiju-view",),
    ),
)
"""In the hub's own namespace."""

CARRY: Final = (
    RoleRule(
        "",
        ("configmaps", "secrets"),
        ("get",),
        "Reads what `spec.carry` of a job names, in the job's own namespace, when it is placed.",
    ),
)
"""In each namespace that grants it."""

FRONT_PROXY_READER: Final = "extension-apiserver-authentication-reader"
"""Kubernetes' own Role in kube-system: by whose certificate API servers speak for users."""
