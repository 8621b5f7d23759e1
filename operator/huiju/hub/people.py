"""What people may be given in the hub's cluster: every role as data, with what it is for.

Decides which rights belong together; who gets them is the platform engineer's to say. The chart and
the permissions page are generated from here. Invariants: no wildcard; what a role of a namespace
allows tells nothing of other namespaces; what tells of all namespaces is for platform engineers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from huiju.centers.role import RoleRule

_HUIJU: Final = "huiju.dev"
_VIEW: Final = "view.huiju.dev"
_READ: Final = ("get", "list", "watch")
_WRITE: Final = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True, slots=True)
class PeopleRole:
    """A ClusterRole for people."""

    name: str
    whom: str
    rules: tuple[RoleRule, ...]
    into: tuple[str, ...] = ()
    """Kubernetes' own roles that it becomes a part of."""


_SEE: Final = (
    RoleRule(_HUIJU, ("crossregionjobs", "crossregionjobs/status"), _READ, "See jobs."),
    RoleRule(
        _VIEW,
        ("crossregionjobs/why", "crossregionjobs/log", "crossregionjobs/logs"),
        ("get",),
        "Ask why a job waits, and read what its workers print: `why`, `logs`.",
    ),
)
_SEE_DATA: Final = (
    RoleRule(
        _HUIJU,
        (
            "datasetshares",
            "datasetshares/status",
            "datasetgrants",
            "datasetgrants/status",
            "datasetreplicas",
            "datasetreplicas/status",
            "modelshares",
            "modelshares/status",
        ),
        _READ,
        "See the data sets of the namespace, their copies, and the agreements that it has.",
    ),
    RoleRule(
        _VIEW,
        ("datasets",),
        ("get", "list"),
        "Search the data sets that the namespace may ask for: `datasets`.",
    ),
)
_ASK_FOR_DATA: Final = (
    RoleRule(
        _HUIJU,
        ("datasetgrants",),
        ("create", "delete"),
        "Ask for the use of a data set, and give it up: `dataset grant`. The API server takes only"
        " the caller's own name as the one who asks.",
    ),
)
_DO: Final = (
    RoleRule(_HUIJU, ("crossregionjobs",), _WRITE, "Submit, change, cancel and delete jobs."),
    RoleRule(
        _VIEW,
        ("whatif",),
        ("create",),
        "Ask where and when a job would run, in a namespace of theirs: `whatif`. Stores nothing.",
    ),
)
_NETWORK: Final = (
    RoleRule(
        _HUIJU,
        ("computecenters", "computequeues", "computecenters/status", "computequeues/status"),
        _READ,
        "See centers and queues: `centers`, `queues`.",
    ),
)

PEOPLE: Final = (
    PeopleRole(
        "huiju-jobs-view", "whoever may look on", (*_SEE, *_SEE_DATA), ("view", "edit", "admin")
    ),
    PeopleRole(
        "huiju-jobs-edit",
        "users",
        (*_SEE, *_SEE_DATA, *_DO, *_ASK_FOR_DATA),
        ("edit", "admin"),
    ),
    PeopleRole(
        "huiju-data-owner",
        "owners of data sets, in the namespace of these",
        (
            *_SEE_DATA,
            RoleRule(
                _HUIJU,
                ("datasetshares", "modelshares"),
                _WRITE,
                "Publish and share data sets, and say which of them are models.",
            ),
            RoleRule(
                _HUIJU,
                ("datasetshares",),
                ("approve",),
                "Decide on grants of the namespace's data sets; the API server asks for this verb"
                " when a decision is written.",
            ),
            RoleRule(
                _HUIJU,
                ("datasetreplicas",),
                ("create", "patch", "delete"),
                "Order copies, have them verified once more, and remove them:"
                " `dataset replicate|verify|rm`.",
            ),
        ),
    ),
    PeopleRole(
        "huiju-data-decide",
        "owners of data sets, in the whole cluster",
        (
            RoleRule(
                _HUIJU,
                ("datasetgrants",),
                ("get", "patch"),
                "Write decisions into the grants of other namespaces: `dataset approve|revoke`. All"
                " else in a grant never changes, and the API server refuses decisions on data sets"
                " for which the caller has not the verb approve.",
            ),
        ),
    ),
    PeopleRole("huiju-federation-view", "users and whoever may look on", _NETWORK),
    PeopleRole(
        "huiju-federation-edit",
        "platform engineers",
        (
            *_NETWORK,
            RoleRule(
                _HUIJU,
                ("computecenters", "computequeues"),
                _WRITE,
                "Declare, cordon and remove centers; declare queues.",
            ),
            RoleRule(
                _HUIJU,
                ("crossregionjobs",),
                (*_READ, "patch"),
                "Find the jobs of a center, and tell them to leave it: `drain`.",
            ),
            RoleRule(
                _VIEW,
                ("computecenters/cordon",),
                ("get",),
                "Ask what cordoning a center would do: `whatif --cordon`. Names jobs of all"
                " namespaces.",
            ),
        ),
    ),
)
