"""Cards that are cut into parts or counted several times.

Decides the model name, unit kind and compute of partitions and shares, and finds in labels and
annotations how often a card or a slice is counted. Invariant: the compute of all parts or copies of
a card is at most the card's; where nothing tells how many there are, it is none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import msgspec

from huiju.centers.catalogue.data import ModelRow, ResourceRow
from huiju.scheduling.model import Accelerator, UnitKind

Words = Mapping[str, str]
Evidence = tuple[tuple[str, str], ...]
"""Labels that told what the chip is, sorted."""

SHARING: Final = "nvidia.com/gpu.sharing-strategy"
PRODUCT: Final = "nvidia.com/gpu.product"
REPLICAS: Final = "nvidia.com/gpu.replicas"
AMD_UNITS: Final = ("amd.com/gpu.cu-count", "beta.amd.com/gpu.cu-count")
_SHARED_WAYS: Final = frozenset({"time-slicing", "mps"})
_LONGEST_MODEL: Final = 63
SLICES_PER_GPU: Final = 7
"""What NVIDIA's slices of a card are counted in."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an extended resource of a node is."""

    accelerator: Accelerator
    evidence: Evidence = ()
    reports_devices: bool = False
    """Whether pods say in an annotation which devices they hold."""


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip as far as the words tell it, before the resource name says how it is cut."""

    model: str
    evidence: Evidence
    part: str = ""
    slices: int = 0


def named(vendor: str, word: str) -> str:
    """A model name for a chip that the catalogue does not know, made from the vendor's word."""
    slug = re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-.")
    name = slug if slug.startswith(vendor) else f"{vendor}-{slug}"
    return name[:_LONGEST_MODEL].strip("-.")


def _suffixed(model: str, *parts: str) -> str:
    suffix = re.sub(r"[^a-z0-9.]+", "-", "-".join(p for p in parts if p).lower()).strip("-.")
    return f"{model[: _LONGEST_MODEL - 1 - len(suffix)]}-{suffix}"


def partition_of(
    chip: Chip, known: ModelRow | None, infix: str, part: str, fraction: Fraction | None
) -> Resolved:
    """A part of a card; where its fraction is unknown it counts as no compute at all."""
    whole = known.gflops if known else 0
    made = Accelerator(
        model=_suffixed(chip.model, infix, part),
        resource="",
        unit=UnitKind.PARTITION,
        gflops=int(whole * fraction) if fraction else 0,
        units_per_card=max(int(1 / fraction), 1) if fraction else 1,
    )
    return Resolved(made, chip.evidence)


def shared_slice(cut: Resolved, copies: int | None) -> Resolved:
    """The slice, or one of its copies where it is shared in turn; 0 is an unknown number."""
    if copies is None:
        return cut
    whole = cut.accelerator
    made = replace(
        whole,
        model=_suffixed(whole.model, "shared"),
        unit=UnitKind.SHARE,
        gflops=whole.gflops // copies if copies else 0,
        units_per_card=whole.units_per_card * max(copies, 1),
    )
    return replace(cut, accelerator=made)


def slice_copies(resource: str, labels: Words) -> int | None:
    """How often each slice of a resource is counted: None for once, 0 for an unknown number.

    Discovery names the labels of a slice after its resource, without the suffix that sharing adds.
    """
    base = resource.removesuffix(".shared")
    replicas = labels.get(f"{base}.replicas", "")
    if replicas.isdecimal() and int(replicas) > 1:
        return int(replicas)
    told = labels.get(f"{base}.product", "").endswith("-SHARED")
    return 0 if told or base != resource else None


def fraction_of(
    row: ResourceRow, groups: Mapping[str, Any], known: ModelRow | None
) -> Fraction | None:
    """Which part of a card one unit is; None where nothing tells."""
    if row.parts:
        return Fraction(1, row.parts)
    if groups.get("slices"):
        return Fraction(int(groups["slices"]), SLICES_PER_GPU)
    if groups.get("cores") and known is not None and known.cores:
        return Fraction(int(groups["cores"]), known.cores)
    return None


def share_of(
    chip: Chip, known: ModelRow | None, copies: int, part: str, infix: str, labels: Words
) -> Resolved:
    """A share of a card; without the number of copies it counts as no compute at all."""
    evidence = chip.evidence
    if labels.get(SHARING) in _SHARED_WAYS:
        evidence = tuple(sorted((*evidence, (SHARING, labels[SHARING]))))
    made = Accelerator(
        model=_suffixed(chip.model, infix, part) if part else _suffixed(chip.model, "shared"),
        resource="",
        unit=UnitKind.SHARE,
        gflops=known.gflops // copies if known and copies else 0,
        units_per_card=copies or 1,
    )
    return Resolved(made, evidence)


def copies_of(
    row: ResourceRow, groups: Mapping[str, Any], labels: Words, annotations: Words
) -> int | None:
    """How often a card is counted: None for once, 0 for an unknown number."""
    if row.register:
        text = annotations.get(row.register.format(chip=groups.get("chip", "")))
        counted = registered_copies(text) if text else 0
        if counted == 1:
            return None
        if counted > 1:
            return counted
    replicas = int(labels[REPLICAS]) if labels.get(REPLICAS, "").isdecimal() else 0
    if row.vendor == "nvidia":
        # Older discovery says it by the product's name alone.
        shared = labels.get(PRODUCT, "").endswith("-SHARED")
        if shared or labels.get(SHARING) in _SHARED_WAYS:
            return replicas if replicas > 1 else 0
        if replicas > 1:
            return replicas
    return 0 if row.unit is UnitKind.SHARE else None


def registered_copies(text: str) -> int:
    """How often HAMi counts each card, from its registration in JSON or in the older text form.

    Returns 0 where the text tells nothing.
    """
    try:
        cards = msgspec.json.decode(text)
        counts = [int(card.get("count", 0)) for card in cards if isinstance(card, dict)]
    except (msgspec.DecodeError, TypeError, ValueError):
        fields = [card.split(",") for card in text.split(":")]
        counts = [int(f[1]) for f in fields if len(f) > 1 and f[1].isdecimal()]
    return max(counts, default=0)


def amd_parts(labels: Words, known: ModelRow | None) -> int:
    """Into how many parts a card is cut: the labels count the compute units of one part."""
    if known is None or not known.cores:
        return 1
    for label in AMD_UNITS:
        units = labels.get(label, "")
        if units.isdecimal() and int(units) > 0:
            return max(known.cores // int(units), 1)
    return 1
