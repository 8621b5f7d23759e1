"""The catalogue of accelerators, loaded from its data file.

Decides what a row may say; what a certain node has is decided by the resolver. Invariant: a row
that could match nothing, or says something that its unit kind cannot have, fails at load.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from huiju.scheduling.model import Topology, UnitKind

GFLOPS_PER_TFLOPS = 1000


class ModelRow(
    msgspec.Struct,
    rename={
        "memory": "memoryGiB",
        "units_per_card": "unitsPerCard",
        "topology_by_size": "topologyBySize",
    },
    frozen=True,
    forbid_unknown_fields=True,
):
    """An accelerator model."""

    name: str
    vendor: str
    tflops: float | None
    """Dense TFLOPS of one unit in `precision`; None where no trustworthy figure is public."""
    confidence: str
    source: str
    precision: str = "bf16"
    memory: int | None = None
    """GiB of one unit."""
    cores: int | None = None
    """AI cores or compute units of one unit."""
    unit: UnitKind = UnitKind.DEVICE
    units_per_card: int = 1
    topology: Topology = Topology.FLAT
    topology_by_size: dict[int, Topology] = {}

    @property
    def gflops(self) -> int:
        """Normalized compute of one unit; 0 where it is not known."""
        return round((self.tflops or 0) * GFLOPS_PER_TFLOPS)


class ChipRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a label value names a model."""

    pattern: str
    model: str


class ResourceRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An extended resource name, or a family of them."""

    pattern: str
    vendor: str
    unit: UnitKind
    confidence: str
    source: str
    model: str = ""
    """The model, where the name alone tells it."""
    fallback: str = ""
    """The model's name where nothing tells it."""
    infix: str = ""
    """What stands between the model and the part in a partition's model name."""
    parts: int = 0
    """Units that one card makes, where the name tells it."""
    register: str = ""
    """Node annotation in which a sharing plugin says how often it counts each card."""
    devices: bool = False
    """Whether pods say in an annotation which devices they got."""


class DriverRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A driver of dynamic resource allocation whose devices are accelerators."""

    driver: str
    vendor: str
    product: str
    """Attribute that names the chip."""
    confidence: str
    source: str
    part: str = ""
    """Attribute that names the part of the chip that a device is."""
    infix: str = ""
    """What stands between the model and the part in a partition's model name."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: list[ModelRow]
    labels: dict[str, list[str]]
    chips: dict[str, list[ChipRow]]
    topologies: dict[str, Topology]
    resources: list[ResourceRow]
    drivers: list[DriverRow]


class Catalogue:
    """The tables, with lookups; immutable."""

    def __init__(self, text: bytes) -> None:
        table = msgspec.yaml.decode(text, type=_File)
        self.models: Mapping[str, ModelRow] = {row.name: row for row in table.models}
        self.resources: tuple[ResourceRow, ...] = tuple(table.resources)
        self.drivers: Mapping[str, DriverRow] = {row.driver: row for row in table.drivers}
        self.labels: Mapping[str, list[str]] = table.labels
        self.topologies: Mapping[str, Topology] = table.topologies
        self._chips = {
            vendor: [(re.compile(row.pattern, re.IGNORECASE), row.model) for row in rows]
            for vendor, rows in table.chips.items()
        }
        self._patterns = [(re.compile(row.pattern), row) for row in table.resources]
        self._check(table)

    def _check(self, table: _File) -> None:
        if len(self.models) != len(table.models):
            raise ValueError("catalogue: two rows for one model")
        named = {row.model for rows in table.chips.values() for row in rows}
        lost = named - self.models.keys()
        if lost:
            raise ValueError(f"catalogue: chips name models without a row: {sorted(lost)}")

    def row_of(self, resource: str) -> tuple[ResourceRow, re.Match[str]] | None:
        """The row that speaks of an extended resource name, if any."""
        for pattern, row in self._patterns:
            found = pattern.fullmatch(resource)
            if found is not None:
                return row, found
        return None

    def model_of(self, vendor: str, word: str) -> str | None:
        """The model that a vendor's word for a chip means, if the catalogue knows it."""
        for pattern, model in self._chips.get(vendor, ()):
            if pattern.fullmatch(word):
                return model
        return None


@cache
def catalogue() -> Catalogue:
    """The catalogue that is shipped with Huiju."""
    return Catalogue((files(__package__) / "accelerators.yaml").read_bytes())
