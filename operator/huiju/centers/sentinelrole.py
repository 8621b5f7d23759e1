"""What the sentinel's account may do in its center, as data with reasons.

Decides the least that the sentinel's code needs; the chart of a center and the permissions page are
made from here. Invariants: nothing can be created or deleted but the one Lease made; outside its
own namespace it can read and suspend Jobs and nothing else.
"""

from __future__ import annotations

from typing import Final

from huiju.centers.lease import SENTINEL
from huiju.centers.role import RoleRule

ACCOUNT: Final = SENTINEL
_LEASES: Final = "coordination.k8s.io"

OWN: Final = (
    RoleRule(_LEASES, ("leases",), ("create",), "Makes the Lease on which it asks."),
    RoleRule(
        _LEASES,
        ("leases",),
        ("list", "watch", "patch"),
        "Asks there, and hears the answers.",
        names=(SENTINEL,),
    ),
)
"""In its own namespace."""

CENTER: Final = (
    RoleRule(
        "batch",
        ("jobs",),
        ("list", "watch", "patch"),
        "Suspends workloads of jobs with failover that carry no guard, once the lease ran out.",
    ),
)
"""In the whole center."""
