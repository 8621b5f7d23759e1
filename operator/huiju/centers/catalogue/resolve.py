"""From a node's labels, annotations and resource names to accelerators.

Decides model, unit kind, normalized compute and topology of each extended resource of a node. The
owner's overrides come first, then labels, then the resource name. Invariant: only what is known to
be a whole device or die is one; whatever multiplies cards is a share or a partition under a model
name of its own, so that a job that asks for cards never gets slices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Final

from huiju.api.center import AcceleratorOverride
from huiju.centers.catalogue.data import (
    GFLOPS_PER_TFLOPS,
    Catalogue,
    ModelRow,
    ResourceRow,
    catalogue,
)
from huiju.centers.catalogue.slicing import (
    SLICES_PER_GPU,
    Chip,
    Resolved,
    Words,
    amd_parts,
    copies_of,
    fraction_of,
    named,
    partition_of,
    share_of,
    shared_slice,
    slice_copies,
)
from huiju.scheduling.model import Accelerator, Topology, UnitKind

ASCEND_TYPE: Final = "accelerator-type"
_MIG_SINGLE: Final = re.compile(r"(?P<chip>.+)-MIG-(?P<part>(?P<slices>[0-9]+)g\.[0-9]+gb.*)", re.I)


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
        model = self._table.model_of(row.vendor, word) or named(row.vendor, word)
        known = self._table.models.get(model)
        part = attributes.get(row.part, "") if row.part else ""
        if part:
            slices = re.match(r"([0-9]+)g\.", part)
            fraction = Fraction(int(slices[1]), SLICES_PER_GPU) if slices else None
            made = partition_of(Chip(model, ()), known, row.infix, part, fraction).accelerator
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
            slices = Fraction(chip.slices, SLICES_PER_GPU)
            cut = partition_of(chip, known, "mig", chip.part, slices)
            return shared_slice(cut, copies_of(row, groups, labels, annotations))
        if row.unit is UnitKind.PARTITION:
            part = groups.get("part") or "part"
            cut = partition_of(chip, known, row.infix, part, fraction_of(row, groups, known))
            return shared_slice(cut, slice_copies(name[0], labels))
        copies = copies_of(row, groups, labels, annotations)
        if copies is not None:
            return share_of(chip, known, copies, groups.get("part") or "", row.infix, labels)
        parts = (
            amd_parts(labels, known) if row.vendor == "amd" and row.unit.value == "device" else 1
        )
        if parts > 1:
            return partition_of(chip, known, "", f"cut-{parts}", Fraction(1, parts))
        made = Accelerator(
            model=chip.model,
            resource="",
            unit=known.unit if known else row.unit,
            gflops=known.gflops if known else 0,
            topology=self._topology(known, labels, units),
            units_per_card=known.units_per_card if known else 1,
        )
        return Resolved(made, chip.evidence, row.devices)

    def _chip(self, row: ResourceRow, groups: Mapping[str, Any], labels: Words) -> Chip:
        """The model of the whole chip, best source first."""
        if row.model:
            return Chip(row.model, ())
        said = [
            (key, labels[key]) for key in self._table.labels.get(row.vendor, ()) if key in labels
        ]
        for key, value in said:
            mig = _MIG_SINGLE.fullmatch(value) if row.vendor == "nvidia" else None
            word = (mig["chip"] if mig else value).removesuffix("-SHARED")
            model = self._table.model_of(row.vendor, word)
            if model is None and mig is not None:
                model = named(row.vendor, word)
            if model is not None:
                if mig is None or "slices" in groups:
                    return Chip(model, ((key, value),))
                part = mig["part"].removesuffix("-SHARED")
                return Chip(model, ((key, value),), part, int(mig["slices"]))
        if groups.get("chip"):
            word = str(groups["chip"])
            return Chip(self._table.model_of(row.vendor, word) or named(row.vendor, word), ())
        if said:
            key, value = said[0]
            return Chip(named(row.vendor, value.removesuffix("-SHARED")), ((key, value),))
        return Chip(row.fallback, ())

    def _topology(self, row: ModelRow | None, labels: Words, units: int) -> Topology:
        if row is None:
            return Topology.FLAT
        told = self._table.topologies.get(labels.get(ASCEND_TYPE, ""))
        if told is not None and row.vendor == "ascend":
            return told
        return row.topology_by_size.get(units, row.topology)
