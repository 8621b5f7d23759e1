"""A ComputeCenter's status: made from what the runtime knows, written only when it changed.

Decides the conditions Reachable, InventoryFresh, Schedulable, Leased, Credible, Sound and Ready.
Unreachable is Unknown, never False. Invariant: at most one write per center and
`center_status_interval`.
"""

from __future__ import annotations

from typing import Any

from huiju.api.durations import format_duration
from huiju.api.reasons import Reason
from huiju.hub.center import CenterRuntime
from huiju.hub.clock import stamp
from huiju.kube.clock import boottime

Fields = dict[str, Any]
Made = tuple[str, str, Reason, str]
"""A condition's type, status, reason and message."""


def conditions(
    site: CenterRuntime, mass_orphans: str, generation: int, before: list[Fields], now: float
) -> list[Fields]:
    """All conditions; each keeps its transition time while its status stands."""
    reachable = site.standing.reachable
    made = [
        ("Reachable", _word(reachable), site.standing.reason, site.standing.message),
        _fresh(site),
        _schedulable(site, mass_orphans),
    ]
    worst = next((c for c in made if c[1] != "True"), None)
    ready = ("Ready", "True", Reason.READY, "The center takes jobs.")
    if worst is not None:
        ready = ("Ready", worst[1], worst[2], worst[3])
    # A center without a lease takes jobs all the same; they run there without a guard.
    lease = ("Leased", *leased(site, boottime()))
    # One that says what cannot be true hurts itself alone: the rest that it says is gone by.
    told = [ready, *made, lease, _credible(site, now), _sound(site, now)]
    if site.unread:
        told.append((RECALLED, "False", Reason.HUB_RESTORED, _UNREAD))
    return _stamped(told, generation, before, now)


RECALLED = "Recalled"
"""Only there, and False, while a restored hub has not read the center."""
_UNREAD = (
    "The hub was restored from a backup and has not read this center since: what runs here may be"
    " run a second time if anything is placed elsewhere, so nothing is. Delete the ComputeCenter if"
    " it does not return."
)


def unread(status: Fields) -> bool:
    """Whether this status says that a restored hub has not read the center."""
    told = status.get("conditions") or []
    return any(c.get("type") == RECALLED and c.get("status") == "False" for c in told)


def answered(status: Fields) -> bool:
    """Whether the center answered when this status was written."""
    told = status.get("conditions") or []
    return any(c.get("type") == "Reachable" and c.get("status") == "True" for c in told)


def _credible(site: CenterRuntime, now: float) -> Made:
    doubt = site.doubt(now)
    if doubt:
        return "Credible", "False", Reason.CLAIM_REFUSED, doubt
    return "Credible", "True", Reason.CREDIBLE, "What the center says makes sense."


def _sound(site: CenterRuntime, now: float) -> Made:
    aside = site.faults.set_aside(now, site.node_count)
    if not aside:
        return "Sound", "True", Reason.NODES_SOUND, "No node is set aside after hardware faults."
    told = ", ".join(f"{node} until {stamp(until)}" for node, until in sorted(aside.items())[:8])
    more = f" and {len(aside) - 8} more" if len(aside) > 8 else ""
    message = (
        f"Set aside after hardware faults under several jobs: {told}{more}. Once they are mended,"
        f" `kubectl huiju repaired {site.name}` has them used again."
    )
    return "Sound", "False", Reason.HARDWARE_FAULT, message


def leased(site: CenterRuntime, now: float) -> tuple[str, Reason, str]:
    """Status, reason and message of the condition Leased; `now` is on the boot-time clock."""
    fence = site.lease.fence
    span = format_duration(fence.profile.lease)
    if site.lost:
        message = "No word is given to a lost center; guarded jobs stop there by themselves."
        return "Unknown", Reason.CENTER_UNREACHABLE, message
    if fence.trouble:
        return "False", Reason.LEASE_NOT_RENEWED, f"The lease is not renewed: {fence.trouble}"
    if not fence.asks(now) and not fence.remaining(now):
        message = "No sentinel asks; jobs with failover run here unguarded, as docs/safety.md says."
        return "False", Reason.NO_SENTINEL, message
    if not fence.is_open and site.version:
        message = "What the center holds is read before it is renewed."
        if site.synced:
            message = "Workloads of epochs that no longer count are stopped before it is renewed."
        return "False", Reason.LEASE_WITHHELD, message
    return "True", Reason.LEASED, f"Renewed for {span} at a time."


def _stamped(made: list[Made], generation: int, before: list[Fields], now: float) -> list[Fields]:
    since = {c.get("type"): c for c in before}
    result = []
    for type_, status, reason, message in made:
        old = since.get(type_) or {}
        flipped = old.get("status") != status
        result.append(
            {
                "type": type_,
                "status": status,
                "reason": str(reason),
                "message": message,
                "observedGeneration": generation,
                "lastTransitionTime": stamp(now) if flipped else old["lastTransitionTime"],
            }
        )
    return result


def _word(value: bool | None) -> str:
    match value:
        case True:
            return "True"
        case False:
            return "False"
        case None:
            return "Unknown"


def refused(message: str, generation: int, before: Fields, now: float) -> Fields:
    """The status of a center whose spec cannot be used, so that nothing else is known of it."""
    made = [(type_, "False", Reason.INVALID_SPEC, message) for type_ in ("Ready", "Schedulable")]
    return {
        "observedGeneration": generation,
        "conditions": _stamped(made, generation, before.get("conditions") or [], now),
    }


def _fresh(site: CenterRuntime) -> tuple[str, str, Reason, str]:
    if site.synced and not site.lost and site.standing.reachable:
        return "InventoryFresh", "True", Reason.INVENTORY_FRESH, "Nodes and pods are followed."
    if site.sensor is None:
        return "InventoryFresh", "Unknown", Reason.CONNECTING, "The inventory was not read yet."
    return (
        "InventoryFresh",
        "Unknown",
        Reason.INVENTORY_STALE,
        "What is shown may be old: the center does not answer.",
    )


def _schedulable(site: CenterRuntime, mass_orphans: str) -> tuple[str, str, Reason, str]:
    if mass_orphans:
        return "Schedulable", "False", Reason.MASS_ORPHANS, mass_orphans
    if site.spec_problem:
        return "Schedulable", "False", Reason.INVALID_SPEC, site.spec_problem
    if site.spec.cordoned:
        message = "Cordoned: no new job is placed here (kubectl huiju uncordon)."
        return "Schedulable", "False", Reason.CENTER_CORDONED, message
    if not site.synced:
        return (
            "Schedulable",
            "Unknown",
            Reason.CENTER_NOT_READY,
            "The hub has not yet read what the center holds.",
        )
    return "Schedulable", "True", Reason.READY, "New jobs may be placed here."


def status_of(
    site: CenterRuntime, mass_orphans: str, generation: int, before: Fields, now: float
) -> Fields:
    """The whole status; `before` is the last one written."""
    fields: Fields = {
        "observedGeneration": generation,
        "conditions": conditions(
            site, mass_orphans, generation, before.get("conditions") or [], now
        ),
    }
    if site.identity:
        fields["identity"] = {"uid": site.identity}
    if site.version or before.get("kubernetesVersion"):
        fields["kubernetesVersion"] = site.version or before["kubernetesVersion"]
    if site.lost:
        fields["lostSince"] = stamp(site.lost_since)
    faulty = site.faults.fields(now, site.node_count)
    if faulty:
        fields["faultyNodes"] = faulty
    fields["lease"] = site.lease.fields(lost=site.lost, now=boottime(), wall=now)
    if site.sensor is not None and site.synced:
        fields.update(site.sensor.inventory.summary())
    else:
        for name in (
            "nodes",
            "summary",
            "accelerators",
            "customResources",
            "buckets",
            "bucketsOmitted",
        ):
            if name in before:
                fields[name] = before[name]
    return fields
