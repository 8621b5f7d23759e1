"""A ComputeCenter's status: made from what the runtime knows, written only when it changed.

Decides the conditions Reachable, InventoryFresh, Schedulable and Ready. Unreachable is Unknown,
never False. Invariant: at most one write per center and `center_status_interval`.
"""

from __future__ import annotations

from typing import Any

from huiju.api.reasons import Reason
from huiju.hub.center import CenterRuntime
from huiju.hub.clock import stamp

Fields = dict[str, Any]
Made = tuple[str, str, Reason, str]
"""A condition's type, status, reason and message."""


def conditions(
    site: CenterRuntime, mass_orphans: str, generation: int, before: list[Fields], now: float
) -> list[Fields]:
    """The four conditions; each keeps its transition time while its status stands."""
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
    return _stamped([ready, *made], generation, before, now)


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
