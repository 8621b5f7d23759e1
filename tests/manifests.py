"""Reads the table of refused manifests, for the tests of the models and of a real server."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

_TABLE = Path(__file__).parent / "integration" / "bad_manifests.yaml"
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest, what it may not become if that is the point, and what its user reads."""

    name: str
    manifest: Manifest
    then: Manifest | None
    says: str


def refused() -> list[Case]:
    """Manifests that nobody takes."""
    return [case for case in _cases() if case.then is None]


def changes() -> list[Case]:
    """Manifests that are taken, and may not be changed so."""
    return [case for case in _cases() if case.then is not None]


def base() -> Mapping[str, Manifest]:
    """The good objects that the cases are made of."""
    found: Mapping[str, Manifest] = _table()["base"]
    return found


def _table() -> Manifest:
    table: Manifest = yaml.safe_load(_TABLE.read_text(encoding="utf-8"))
    return table


def _cases() -> list[Case]:
    table = _table()
    cases = []
    for row in (*table["refused"], *table["changes"]):
        manifest = changed(table["base"][row["of"]], row["with"])
        then = changed(manifest, row["then"]) if "then" in row else None
        cases.append(Case(f"{row['of']}: {row['case']}", manifest, then, row["says"]))
    return cases


def changed(manifest: Manifest, members: Mapping[str, Any]) -> Manifest:
    """`manifest` with members set by their dotted paths; None takes one away."""
    made = copy.deepcopy(manifest)
    for path, value in members.items():
        *way, last = path.split(".")
        holder = made
        for step in way:
            holder = holder.setdefault(step, {})
        if value is None:
            holder.pop(last, None)
        else:
            holder[last] = value
    return made
