"""Reads the sizes of clusters: CSV, YAML, or the hub itself.

Decides which lines belong to the network that is asked for. Invariant: every error names the file
and its line, or the center, and says what is expected there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from huiju.simulation.traces import Cluster, Line, TraceError, read_lines

_MOST_NODES = 1_000_000
_MOST_UNITS = 1024
_YAML = (".yaml", ".yml")


def read_clusters(path: Path, trace: str = "", pool: str = "") -> list[Cluster]:
    """Clusters of a file; `trace` and `pool` choose among lines that have these columns.

    Nodes without accelerators are left out. Raises TraceError naming the line.
    """
    found = _yaml(path) if path.suffix in _YAML else _csv(path, trace, pool)
    found = [cluster for cluster in found if cluster.gpus_per_node]
    if not found:
        raise TraceError(f"{path}: no cluster has accelerators")
    return found


def _csv(path: Path, trace: str, pool: str) -> list[Cluster]:
    lines: list[Line] = []
    for line in read_lines(path, ("cluster", "nodes", "gpus_per_node")):
        if isinstance(line, TraceError):
            raise line
        lines.append(line)
    lines = _chosen(path, lines, "trace", trace)
    lines = _chosen(path, lines, "pool", pool)
    return [_cluster(line) for line in lines]


def _chosen(path: Path, lines: Sequence[Line], column: str, wanted: str) -> list[Line]:
    """Lines with the wanted value; all if nothing is wanted and they have but one value."""
    values = list(dict.fromkeys(line.text(column) for line in lines))
    if not wanted and len(values) < 2:
        return list(lines)
    found = [line for line in lines if line.text(column) == wanted]
    if not found:
        asked = f"no line has {column} {wanted!r}" if wanted else f"the lines differ in {column}"
        raise TraceError(f"{path}: {asked}; give --{column} one of {', '.join(values)}")
    return found


def _cluster(line: Line) -> Cluster:
    name = line.text("cluster")
    if not name:
        raise line.error("cluster", "is empty, expected the name of a cluster")
    return Cluster(
        name,
        line.count("nodes", 1, _MOST_NODES),
        line.count("gpus_per_node", 0, _MOST_UNITS),
        line.text("model"),
        line.number_of("tflops", 0) if line.text("tflops") else 0.0,
    )


# --- YAML ----------------------------------------------------------------------------------------

_FIELDS = ("count", "accelerators", "model", "tflops")


def _yaml(path: Path) -> list[Cluster]:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: {error}") from error
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TraceError(f"{path}:{at}: {error.problem}") from error
    if root is None:
        raise TraceError(f"{path}:1: the file is empty, expected a list centers")
    reader = _Reader(path)
    found: list[Cluster] = []
    names: set[str] = set()
    for entry in reader.items(reader.map(root, ("centers",), "the file"), "centers", root):
        fields = reader.map(entry, ("name", "nodes"), "a center")
        name = reader.scalar(fields, "name", entry)
        if name in names:
            raise reader.error(entry, f"center {name} is there twice: put its nodes into one list")
        names.add(name)
        for group in reader.items(fields, "nodes", entry):
            parts = reader.map(group, _FIELDS, "a group of nodes")
            found.append(_group(reader, name, parts, group))
    return found


def _group(reader: _Reader, name: str, parts: Mapping[str, yaml.Node], group: yaml.Node) -> Cluster:
    row = {key: str(node.value) for key, node in parts.items()}
    for key in ("count", "accelerators"):
        if key not in row:
            raise reader.error(group, f"{key} is missing in a group of nodes of center {name}")
    line = Line(reader.path, group.start_mark.line + 1, row)
    return Cluster(
        name,
        line.count("count", 1, _MOST_NODES),
        line.count("accelerators", 0, _MOST_UNITS),
        line.text("model"),
        line.number_of("tflops", 0) if line.text("tflops") else 0.0,
    )


class _Reader:
    """YAML nodes, with their lines for error messages."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def error(self, node: yaml.Node, complaint: str) -> TraceError:
        return TraceError(f"{self.path}:{node.start_mark.line + 1}: {complaint}")

    def map(self, node: yaml.Node, allowed: Sequence[str], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} must be a map with {', '.join(allowed)}")
        found = {str(key.value): value for key, value in node.value}
        for key, value in found.items():
            if key not in allowed:
                raise self.error(value, f"{what} has no field {key}; known: {', '.join(allowed)}")
        return found

    def items(self, fields: Mapping[str, yaml.Node], key: str, above: yaml.Node) -> list[yaml.Node]:
        node = fields.get(key)
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            raise self.error(node or above, f"{key} must be a list with at least one entry")
        return list(node.value)

    def scalar(self, fields: Mapping[str, yaml.Node], key: str, above: yaml.Node) -> str:
        node = fields.get(key)
        if not isinstance(node, yaml.ScalarNode) or not str(node.value).strip():
            raise self.error(node or above, f"{key} is missing or no text")
        return str(node.value).strip()


# --- the hub -------------------------------------------------------------------------------------


def of_hub(centers: Sequence[Mapping[str, Any]]) -> list[Cluster]:
    """Clusters from ComputeCenter objects, as their status tells of healthy units."""
    found: list[Cluster] = []
    for center in centers:
        name = center["metadata"]["name"]
        status = center.get("status") or {}
        speeds = {
            told["model"]: told.get("normalizedCompute", 0) / told["allocatable"]
            for told in status.get("accelerators") or ()
            if told.get("allocatable")
        }
        found += [
            Cluster(name, each["nodes"], each["units"], each["model"], speeds.get(each["model"], 0))
            for each in _merged(status.get("buckets") or ())
        ]
    if not found:
        raise TraceError("no center of the hub tells of accelerators; see `kubectl huiju centers`")
    return found


def _merged(buckets: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups of equal nodes, whatever is free on them now."""
    found: dict[tuple[str, int], int] = {}
    for bucket in buckets:
        if bucket["nodes"] and bucket["units"]:
            key = (bucket["model"], bucket["units"])
            found[key] = found.get(key, 0) + bucket["nodes"]
    return [
        {"model": model, "units": units, "nodes": nodes} for (model, units), nodes in found.items()
    ]
