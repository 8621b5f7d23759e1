"""What people are told of a job's data: where it is, how far it is on its way, what that takes.

Decides nothing. Invariant: a job's users are told of copies that their job may use, and of nothing
else of the share.
"""

from __future__ import annotations

from typing import Any

from huiju.data.access import Refused
from huiju.hub.clock import stamp
from huiju.hub.datasets.links import Links
from huiju.hub.datasets.needs import Bound, Needs
from huiju.hub.objects import JobObject
from huiju.hub.sites import Sites
from huiju.scheduling.model import DataNeed

Fields = dict[str, Any]


def data_fields(
    needs: Needs, links: Links, sites: Sites, job: JobObject, now: float
) -> list[Fields]:
    """One entry for each data set of the job; empty where what it means is not known."""
    bound = needs.bind(job)
    if isinstance(bound, Refused) or not bound:
        return []
    held = job.status.placement or job.status.staging
    found = []
    for each, need in zip(bound, needs.of(job), strict=True):
        entry: Fields = {
            "dataset": each.share.key,
            "version": each.version.name,
            "mountPath": each.entry.mount_path,
            "bytes": need.bytes,
            "copies": sorted(need.copies),
        }
        if held is not None:
            entry["copy"] = _copy(needs, each, held.center)
        else:
            entry["estimates"] = _estimates(links, sites, need, now)
        found.append(entry)
    return found


def _copy(needs: Needs, bound: Bound, center: str) -> Fields:
    here = next((r for r in needs.copies(bound) if r.spec.center == center), None)
    if here is None:
        return {"center": center, "phase": "Pending"}
    status = here.status
    said = (status.get("conditions") or [{}])[0]
    fields = {
        "center": center,
        "phase": here.phase,
        "reason": said.get("reason"),
        "message": said.get("message"),
        "bytesDone": status.get("bytesDone"),
        "bytesTotal": status.get("bytesTotal"),
        "eta": status.get("eta"),
        "window": status.get("window"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _estimates(links: Links, sites: Sites, need: DataNeed, now: float) -> list[Fields]:
    barred = {name for name, _, _ in need.barred}
    rows = []
    for site in sites:
        if site.name in barred or site.name in need.copies:
            continue
        told = links.estimate(need, site.name, sites, now)
        if told is not None:
            row: Fields = {
                "center": site.name,
                "source": told.source,
                "bytes": told.bytes,
                "seconds": round(told.seconds, 1),
                "p90": round(told.p90, 1),
                "money": round(told.money, 6),
            }
            rows.append(row | ({"opensAt": stamp(told.opens_at)} if told.opens_at else {}))
    return sorted(rows, key=lambda row: (row["seconds"], row["center"]))
