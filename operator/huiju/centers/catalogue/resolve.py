"""From a node's labels, annotations and resource names to accelerators.

Decides model, unit kind, normalized compute and topology of each extended resource of a node. The
owner's overrides come first, then labels, then the resource name. Invariant: only what is known to
be a whole device or die is one; whatever multiplies cards is a share or a partition under a model
name of its own, so that a job that asks for cards never gets slices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final

import msgspec

from huiju.api.center import AcceleratorOverride
from huiju.centers.catalogue.data import (
    GFLOPS_PER_TFLOPS,
    Catalogue,
    ModelRow,
    ResourceRow,
    catalogue,
)
from huiju.scheduling.model import Accelerator, Topology, UnitKind

Words = Mapping[str, str]
Evidence = tuple[tuple[str, str], ...]
"""Labels that told what the chip is, sorted."""

ASCEND_TYPE: Final = "accelerator-type"
SHARING: Final = "nvidia.com/gpu.sharing-strategy"
PRODUCT: Final = "nvidia.com/gpu.product"
REPLICAS: Final = "nvidia.com/gpu.replicas"
AMD_UNITS: Final = ("amd.com/gpu.cu-count", "beta.amd.com/gpu.cu-count")
_SHARED_WAYS: Final = frozenset({"time-slicing", "mps"})
_MIG_SINGLE: Final = re.compile(r"(?P<chip>.+)-MIG-(?P<part>(?P<slices>[0-9]+)g\.[0-9]+gb.*)", re.I)
_SLICES_PER_GPU: Final = 7
_LONGEST_MODEL: Final = 63


@dataclass(frozen=True, slots=True)
class Resolved:
    """What an extended resource of a node is."""

    accelerator: Accelerator
    evidence: Evidence = ()
    reports_devices: bool = False
    """Whether pods say in an annotation which devices they hold."""


@dataclass(frozen=True, slots=True)
class _Chip:
    """A chip as far as the words tell it, before the resource name says how it is cut."""

    model: str
    evidence: Evidence
    part: str = ""
    slices: int = 0


class Resolver:
    """Resolves the nodes of one center; equal accelerators are one object."""

    def __init__(
        self, overrides: Sequence[AcceleratorOverride] = (), table: Catalogue | None = None
    ) -> None:
        self._overrides = tuple(overrides)
        self._table = table or catalogue()
        self._shared: dict[Accelerator, Accelerator] = {}

    def resolve(
        self, resource: str, labels: Words, annotations: Words, units: int
    ) -> Resolved | None:
        """What one unit of a node's resource is; None for what is no accelerator that is known.

        `units` is how many the node has; where no label tells, it tells the kind of server.
        """
        override = self._override(resource, labels)
        found = self._table.row_of(resource)
        resolved = None
        if found is not None and found[0].unit is not UnitKind.AMOUNT:
            resolved = self._by_table(*found, labels, annotations, units)
        if override is not None:
            resolved = self._overridden(override, resolved, labels, units)
        if resolved is None:
            return None
        made = replace(resolved.accelerator, resource=resource)
        return replace(resolved, accelerator=self._shared.setdefault(made, made))

    def resolve_device(self, driver: str, attributes: Words, resource: str) -> Accelerator | None:
        """What a device of dynamic resource allocation is, None if no accelerator that is known.

        `attributes` are those of text; `resource` is the name under which it is counted.
        """
        row = self._table.drivers.get(driver)
        if row is None:
            return None
        word = attributes.get(row.product, "").replace(" ", "-") or "unknown"
        model = self._table.model_of(row.vendor, word) or _named(row.vendor, word)
        known = self._table.models.get(model)
        part = attributes.get(row.part, "") if row.part else ""
        if part:
            slices = re.match(r"([0-9]+)g\.", part)
            fraction = Fraction(int(slices[1]), _SLICES_PER_GPU) if slices else None
            made = _partition(_Chip(model, ()), known, row.infix, part, fraction).accelerator
        else:
            made = Accelerator(
                model=model,
                resource="",
                unit=known.unit if known else UnitKind.DEVICE,
                gflops=known.gflops if known else 0,
                topology=known.topology if known else Topology.FLAT,
                units_per_card=known.units_per_card if known else 1,
            )
        made = replace(made, resource=resource)
        return self._shared.setdefault(made, made)

    # --- the owner's word --------------------------------------------------------------------

    def _override(self, resource: str, labels: Words) -> AcceleratorOverride | None:
        for override in self._overrides:
            wanted = override.node_selector.items()
            if override.resource == resource and all(labels.get(k) == v for k, v in wanted):
                return override
        return None

    def _overridden(
        self, said: AcceleratorOverride, known: Resolved | None, labels: Words, units: int
    ) -> Resolved:
        row = self._table.models.get(said.model)
        unit = UnitKind(said.unit) if said.unit else None
        if unit is None:
            sensed = known.accelerator.unit if known else UnitKind.DEVICE
            unit = row.unit if row is not None and sensed is UnitKind.DEVICE else sensed
        per_card = said.units_per_card
        if per_card is None:
            of_row = row.units_per_card if row is not None else 1
            per_card = max(of_row, known.accelerator.units_per_card if known else 1)
        if said.tflops is not None:
            gflops = int(Fraction(said.tflops) * GFLOPS_PER_TFLOPS)
        elif row is None:
            gflops = 0
        else:
            # A row's figure is of one of its own units, which may itself be a part of a card.
            gflops = row.gflops * row.units_per_card // max(per_card, 1)
        whole = unit in (UnitKind.DEVICE, UnitKind.DIE)
        made = Accelerator(
            model=said.model,
            resource=said.resource,
            unit=unit,
            gflops=gflops,
            topology=self._topology(row, labels, units) if whole else Topology.FLAT,
            units_per_card=per_card,
        )
        evidence = tuple(sorted(said.node_selector.items())) or (known.evidence if known else ())
        return Resolved(made, evidence, known.reports_devices if known else False)

    # --- the tables --------------------------------------------------------------------------

    def _by_table(
        self,
        row: ResourceRow,
        name: re.Match[str],
        labels: Words,
        annotations: Words,
        units: int,
    ) -> Resolved:
        groups = name.groupdict()
        chip = self._chip(row, groups, labels)
        known = self._table.models.get(chip.model)
        if chip.part:
            return _partition(chip, known, "mig", chip.part, Fraction(chip.slices, _SLICES_PER_GPU))
        if row.unit is UnitKind.PARTITION:
            part = groups.get("part") or "part"
            return _partition(chip, known, row.infix, part, _fraction(row, groups, known))
        copies = _copies(row, groups, labels, annotations)
        if copies is not None:
            return _share(chip, known, copies, groups.get("part") or "", row.infix, labels)
        cut = _amd_parts(labels, known) if row.vendor == "amd" and row.unit.value == "device" else 1
        if cut > 1:
            return _partition(chip, known, "", f"cut-{cut}", Fraction(1, cut))
        made = Accelerator(
            model=chip.model,
            resource="",
            unit=known.unit if known else row.unit,
            gflops=known.gflops if known else 0,
            topology=self._topology(known, labels, units),
            units_per_card=known.units_per_card if known else 1,
        )
        return Resolved(made, chip.evidence, row.devices)

    def _chip(self, row: ResourceRow, groups: Mapping[str, Any], labels: Words) -> _Chip:
        """The model of the whole chip, best source first."""
        if row.model:
            return _Chip(row.model, ())
        said = [
            (key, labels[key]) for key in self._table.labels.get(row.vendor, ()) if key in labels
        ]
        for key, value in said:
            mig = _MIG_SINGLE.fullmatch(value) if row.vendor == "nvidia" else None
            word = (mig["chip"] if mig else value).removesuffix("-SHARED")
            model = self._table.model_of(row.vendor, word)
            if model is None and mig is not None:
                model = _named(row.vendor, word)
            if model is not None:
                if mig is None or "slices" in groups:
                    return _Chip(model, ((key, value),))
                return _Chip(model, ((key, value),), mig["part"], int(mig["slices"]))
        if groups.get("chip"):
            word = str(groups["chip"])
            return _Chip(self._table.model_of(row.vendor, word) or _named(row.vendor, word), ())
        if said:
            key, value = said[0]
            return _Chip(_named(row.vendor, value.removesuffix("-SHARED")), ((key, value),))
        return _Chip(row.fallback, ())

    def _topology(self, row: ModelRow | None, labels: Words, units: int) -> Topology:
        if row is None:
            return Topology.FLAT
        told = self._table.topologies.get(labels.get(ASCEND_TYPE, ""))
        if told is not None and row.vendor == "ascend":
            return told
        return row.topology_by_size.get(units, row.topology)


def _named(vendor: str, word: str) -> str:
    """A model name for a chip that the catalogue does not know, made from the vendor's word."""
    slug = re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-.")
    name = slug if slug.startswith(vendor) else f"{vendor}-{slug}"
    return name[:_LONGEST_MODEL].strip("-.")


def _suffixed(model: str, *parts: str) -> str:
    suffix = re.sub(r"[^a-z0-9.]+", "-", "-".join(p for p in parts if p).lower()).strip("-.")
    return f"{model[: _LONGEST_MODEL - 1 - len(suffix)]}-{suffix}"


def _partition(
    chip: _Chip, known: ModelRow | None, infix: str, part: str, fraction: Fraction | None
) -> Resolved:
    whole = known.gflops if known else 0
    made = Accelerator(
        model=_suffixed(chip.model, infix, part),
        resource="",
        unit=UnitKind.PARTITION,
        gflops=int(whole * fraction) if fraction else 0,
        units_per_card=max(int(1 / fraction), 1) if fraction else 1,
    )
    return Resolved(made, chip.evidence)


def _fraction(
    row: ResourceRow, groups: Mapping[str, Any], known: ModelRow | None
) -> Fraction | None:
    """Which part of a card one unit is; None where nothing tells."""
    if row.parts:
        return Fraction(1, row.parts)
    if groups.get("slices"):
        return Fraction(int(groups["slices"]), _SLICES_PER_GPU)
    if groups.get("cores") and known is not None and known.cores:
        return Fraction(int(groups["cores"]), known.cores)
    return None


def _share(
    chip: _Chip, known: ModelRow | None, copies: int, part: str, infix: str, labels: Words
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


def _copies(
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


def _amd_parts(labels: Words, known: ModelRow | None) -> int:
    """Into how many parts a card is cut: the labels count the compute units of one part."""
    if known is None or not known.cores:
        return 1
    for label in AMD_UNITS:
        units = labels.get(label, "")
        if units.isdecimal() and int(units) > 0:
            return max(known.cores // int(units), 1)
    return 1
