"""Refusals that do not depend on what is free: the owner's rules and the user's wishes.

Decides whether a center may take a job at all. Invariant: region and residency are never relaxed;
every refusal says what was asked and what was found.
"""

from __future__ import annotations

from functools import lru_cache
from re import Pattern, compile, escape

from huiju.scheduling import reasons
from huiju.scheduling.capacity import NodeKind
from huiju.scheduling.model import (
    Alternative,
    Avoid,
    Center,
    Doubt,
    JobShape,
    Refusal,
    Taint,
    Toleration,
)


@lru_cache(maxsize=4096)
def _pattern(text: str) -> Pattern[str]:
    return compile(".*".join(escape(part) for part in text.split("*")))


def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Whether one of the patterns covers the name; `*` stands for any characters."""
    return any(p == "*" or _pattern(p).fullmatch(name) is not None for p in patterns)


def refuse(shape: JobShape, avoid: tuple[Avoid, ...], center: Center, now: float) -> Refusal | None:
    """Why the center may not take the job whatever is free there, None if it may."""
    found = (
        _closed(center)
        or _wishes(shape, center)
        or _avoided(avoid, center.name, now)
        or _unguarded(shape, center)
        or _owner(shape, center)
        or _data(shape, center.name)
    )
    return None if found is None else Refusal(center.name, *found)


def _closed(center: Center) -> tuple[str, str] | None:
    if not center.closed:
        return None
    return center.closed, center.closed_message or "the center takes no jobs now"


def _wishes(shape: JobShape, center: Center) -> tuple[str, str] | None:
    if shape.centers and center.name not in shape.centers:
        return reasons.CENTER_EXCLUDED, f"the job names only {', '.join(shape.centers)}"
    if center.name in shape.exclude_centers:
        return reasons.CENTER_EXCLUDED, "the job excludes this center"
    if shape.regions and center.region not in shape.regions:
        where = f"is in region {center.region}" if center.region else "has no region"
        return reasons.REGION_NOT_ALLOWED, f"{where}, the job allows {', '.join(shape.regions)}"
    if shape.residency and shape.residency not in center.residency:
        held = ", ".join(sorted(center.residency)) or "none"
        return (
            reasons.RESIDENCY_NOT_SATISFIED,
            f"the job's data must stay in {shape.residency}, the center grants {held}",
        )
    return None


def _avoided(avoid: tuple[Avoid, ...], name: str, now: float) -> tuple[str, str] | None:
    for entry in avoid:
        if entry.center == name and entry.until > now:
            left = entry.until - now
            return (
                reasons.CENTER_AVOIDED,
                f"avoided by this job for {left:.0f} s more ({entry.reason})",
            )
    return None


def _unguarded(shape: JobShape, center: Center) -> tuple[str, str] | None:
    if shape.guarded and center.unguarded:
        return reasons.GUARD_UNAVAILABLE, f"the job wants automatic failover, {center.unguarded}"
    if shape.watched and center.unwatched:
        message = f"a guard is to look after the job's progress, {center.unwatched}"
        return reasons.GUARD_UNAVAILABLE, message
    return None


def _owner(shape: JobShape, center: Center) -> tuple[str, str] | None:
    if not matches(center.namespaces, shape.namespace):
        allowed = ", ".join(center.namespaces) or "none"
        return (
            reasons.SHARING_POLICY,
            f"the owner does not let in namespace {shape.namespace!r}, only {allowed}",
        )
    if center.image_prefixes:
        for image in shape.images:
            if not allowed_image(image, center):
                return reasons.SHARING_POLICY, image_message(image, center)
    for kind in shape.brings:
        if center.kinds is not None and kind not in center.kinds:
            return reasons.SHARING_POLICY, kind_message(kind)
    return None


def _data(shape: JobShape, name: str) -> tuple[str, str] | None:
    for need in shape.data:
        for center, reason, message in need.barred:
            if center == name:
                return reason, f"data set {need.dataset}: {message}"
    return None


def kind_message(kind: str) -> str:
    """The refusal of a kind of object in words."""
    return f"the job brings a {kind}, which the owner does not let in (sharing.kinds)"


def allowed_image(image: str, center: Center) -> bool:
    """Whether the owner allows the image."""
    return not image or not center.image_prefixes or image.startswith(center.image_prefixes)


def doubted(shape: JobShape, chosen: Alternative, center: Center) -> Doubt | None:
    """Why the center's free nodes are not believed for this alternative, None if they are."""
    for doubt in center.doubts:
        asks_more = chosen.per_worker >= doubt.per_worker and shape.workers >= doubt.workers
        concerned = not doubt.namespaces or shape.namespace in doubt.namespaces
        if doubt.model == chosen.model and asks_more and concerned and not doubt.trial:
            return doubt
    return None


def image_message(image: str, center: Center) -> str:
    """The refusal of an image in words."""
    return f"image {image} starts with none of {', '.join(center.image_prefixes)}"


def refuse_node(shape: JobShape, kind: NodeKind) -> str:
    """What the job asks for and nodes of this kind lack, empty if nothing."""
    if avoids(shape, kind):
        return "a record without hardware faults"
    for key, value in shape.node_selector:
        if kind.labels.get(key) != value:
            return f"label {key}={value}"
    for taint in kind.shape.taints:
        if not any(_tolerates(t, taint) for t in shape.tolerations):
            return f"toleration of taint {taint.key}={taint.value}:{taint.effect}"
    return ""


def avoids(shape: JobShape, kind: NodeKind) -> bool:
    """Whether the job keeps off such a node since hardware failed there."""
    return kind.shape.set_aside or (
        bool(kind.shape.suspect) and kind.shape.suspect in shape.avoid_nodes
    )


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if not toleration.key:
        return toleration.operator == "Exists"
    if toleration.key != taint.key:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.value
