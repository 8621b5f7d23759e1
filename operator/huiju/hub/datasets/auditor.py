"""Writes the trail of data sets: who asked, who decided, what was signed, moved, read and removed.

Level-based: each look compares what is now with what the trail told last, and adds a line for each
difference, so that a hub that dies between a change and its line leaves none out but those that
passed while nobody looked. Decides what is worth a line. Invariants: no line has a link, a key or a
word of the data; a trail that cannot be written stops nothing and is told in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huiju.data.access import judge_grant
from huiju.data.audit import Trail
from huiju.hub.clock import stamp
from huiju.hub.datasets.catalog import Catalog, KnownGrant, KnownShare, Replica
from huiju.hub.datasets.orders import on_behalf
from huiju.hub.objects import JobObject

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_PHASES = {
    "Copying": "CopyBegun",
    "Verified": "CopyVerified",
    "Failed": "CopyFailed",
    "Evicting": "CopyLeaves",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something as it is now."""

    about: str
    """What it tells of, by UID."""
    state: str
    """What it has come to; another state is another line."""
    event: str
    """Empty where it is worth no line: what was told of it last still holds."""
    fields: Fields


Signed = Callable[[], Iterable[tuple[Replica, Fields]]]
"""The transfers for which links were asked for, and what the owners' centers say to it."""


class Auditor:
    """Keeps one trail; without a file it keeps none."""

    def __init__(
        self,
        catalog: Catalog,
        jobs: Callable[[], Iterable[JobObject]],
        signed: Signed,
        file: Path | None,
    ) -> None:
        self._catalog = catalog
        self._jobs = jobs
        self._signed = signed
        self._trail = Trail(file) if file is not None else None
        self._told: dict[str, tuple[str, Fields]] | None = None

    async def look(self, now: float) -> None:
        """Write what is new."""
        trail = self._trail
        if trail is None:
            return
        facts = list(self._facts(now))
        try:
            await asyncio.to_thread(self._write, trail, facts, stamp(now))
        except OSError as error:
            log.error("the trail of data sets cannot be written", extra={"error": str(error)})

    def _write(self, trail: Trail, facts: list[Fact], at: str) -> None:
        if self._told is None:
            self._told = _told_before(trail)
        told = self._told
        records: list[Fields] = []
        now: dict[str, tuple[str, Fields]] = {}
        for fact in facts:
            if not fact.event:
                now |= {fact.about: told[fact.about]} if fact.about in told else {}
                continue
            now[fact.about] = (fact.state, fact.fields)
            if fact.about not in told or told[fact.about][0] != fact.state:
                records.append(_record(at, fact.event, fact.about, fact.state, fact.fields))
        for about in told.keys() - now.keys():
            kind = about.partition("/")[0]
            if kind in _ENDS:
                records.append(_record(at, _ENDS[kind], about, "", told[about][1]))
        if records:
            trail.add(records)
        # Mailboxes are read again after a start: what was told of links stays told meanwhile.
        kept = {
            about: what
            for about, what in told.items()
            if about.startswith("links/") and f"copy/{about.split('/')[1]}" in now
        }
        self._told = kept | now

    # --- what there is ---------------------------------------------------------------------------

    def _facts(self, now: float) -> Iterator[Fact]:
        for known in self._catalog.shares():
            yield from _versions(known)
        for grant in self._catalog.grants():
            yield self._grant(grant, now)
        for replica in self._catalog.replicas():
            if replica.phase in _PHASES:
                yield _copy(replica)
            elif replica.phase != "Gone":  # it waits, or is read again: its bytes are no less there
                yield Fact(f"copy/{replica.uid}", "", "", {})
        for replica, served in self._signed():
            yield _links(replica, served)
        for job in self._jobs():
            if job.status.phase == "Running" and job.status.placement is not None:
                yield _reading(job)

    def _grant(self, known: KnownGrant, now: float) -> Fact:
        grant, spec = known.grant, known.grant.spec
        ref = spec.dataset
        share = self._catalog.share(f"{ref.namespace}/{ref.name}")
        standing = judge_grant(share.share if share is not None else None, grant, now)
        fields: Fields = {
            "dataset": f"{ref.namespace}/{ref.name}",
            "grant": grant.key,
            "requestedBy": spec.requested_by,
            "purpose": spec.purpose,
            "license": spec.accepted_license,
        }
        if spec.centers:
            fields["centers"] = list(spec.centers)
        if standing.decided_by:
            fields["decidedBy"] = standing.decided_by
        if spec.decision is not None and spec.decision.reason:
            fields["why"] = spec.decision.reason
        state = f"{standing.state} {standing.decided_by}".strip()
        return Fact(f"grant/{known.body.metadata.uid}", state, f"Grant{standing.state}", fields)


_ENDS = {
    "grant": "GrantGone",
    "copy": "CopyRemoved",
    "read": "ReadEnded",
}


def _versions(known: KnownShare) -> Iterator[Fact]:
    share = known.share
    for version in share.spec.versions:
        fields: Fields = {
            "dataset": share.key,
            "version": version.name,
            "digest": version.manifest_digest,
            "bytes": version.bytes,
            "files": version.files,
            "license": version.license or share.spec.license,
        }
        if version.derived_from:
            fields["derivedFrom"] = list(version.derived_from)
        if version.made_by is not None:
            fields["madeBy"] = version.made_by.model_dump(by_alias=True)
        about = f"version/{share.uid}/{version.name}"
        yield Fact(about, version.manifest_digest, "VersionPublished", fields)


def _copy(replica: Replica) -> Fact:
    spec, status = replica.spec, replica.status
    said: Fields = next(iter(status.get("conditions") or []), {})
    fields: Fields = {
        "dataset": replica.share_key,
        "version": spec.version,
        "digest": spec.manifest_digest,
        "source": status.get("source"),
        "center": spec.center,
        "for": on_behalf(replica),
    }
    if not replica.whole:
        fields |= {"include": list(spec.include), "exclude": list(spec.exclude)}
    if replica.phase in ("Failed", "Evicting"):
        fields |= {"reason": said.get("reason"), "message": said.get("message")}
    if replica.phase == "Verified":
        fields |= {"verifiedAt": status.get("verifiedAt"), "bytes": status.get("bytesDone")}
    marks = (status.get("epoch"), replica.phase, status.get("attempt"), status.get("checked"))
    state = " ".join(str(mark or 0) for mark in marks)
    return Fact(f"copy/{replica.uid}", state, _PHASES[replica.phase], fields)


def _links(replica: Replica, served: Fields) -> Fact:
    spec = replica.spec
    answer: Fields = served.get("answer") or {}
    refused = str(answer.get("reason") or "")
    batches, epoch = int(served.get("batches") or 0), int(replica.status.get("epoch") or 0)
    fields: Fields = {
        "dataset": replica.share_key,
        "version": spec.version,
        "digest": spec.manifest_digest,
        "source": replica.status.get("source"),
        "center": spec.center,
        "for": on_behalf(replica),
        "batches": batches,
    }
    if refused:
        fields |= {"reason": refused, "message": answer.get("message")}
    about = f"links/{replica.uid}/{epoch}"
    return Fact(
        about, f"{batches} {refused}".strip(), "LinksRefused" if refused else "LinksSigned", fields
    )


def _reading(job: JobObject) -> Fact:
    placement = job.status.placement
    epoch, center = (placement.epoch, placement.center) if placement else (0, "")
    fields: Fields = {
        "job": job.key,
        "center": center,
        "data": [
            {
                "dataset": f"{each.namespace}/{each.dataset}",
                "version": each.version,
                "digest": each.manifest_digest,
                "mountPath": each.mount_path,
            }
            for each in job.status.data
        ],
    }
    return Fact(f"read/{job.metadata.uid}/{epoch}", "Running", "ReadBegun", fields)


def _record(at: str, event: str, about: str, state: str, fields: Fields) -> Fields:
    kept = {name: value for name, value in fields.items() if value not in (None, [], "")}
    return {"at": at, "event": event, "about": about, "state": state, **kept}


def _told_before(trail: Trail) -> dict[str, tuple[str, Fields]]:
    """What the trail told last of all that had not ended."""
    told: dict[str, tuple[str, Fields]] = {}
    framed = ("seq", "at", "event", "about", "state", "prev", "hash")
    for record in trail.open():
        about = str(record.get("about") or "")
        if record["event"] in _ENDS.values():
            told.pop(about, None)
        elif about:
            fields = {name: value for name, value in record.items() if name not in framed}
            told[about] = (str(record.get("state")), fields)
    return told
