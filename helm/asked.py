"""What alerts and dashboards ask Prometheus for, read from the files of the chart.

Decides nothing. Tests hold it against what the hub's code exports, and against what a hub that runs
shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final

import yaml

from helm.generate import ROOT

FILES: Final = ROOT / "helm" / "huiju" / "files"
_SERIES: Final = re.compile(r"\b(huiju_[a-z_]+)(?:\{([^}]*)\})?")
_MATCHER: Final = re.compile(r"(\w+)(?:=~|!~|!=|=)\"")
_VARIABLE: Final = re.compile(r"label_values\((\w+), (\w+)\)")


def expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression; a variable of a dashboard is one too."""
    for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for path in sorted((FILES / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                found = _VARIABLE.fullmatch(variable["query"])
                if found is None:
                    raise ValueError(f"{path.name}: {variable['query']} is no label_values(…)")
                yield f"{path.name} ${variable['name']}", f'{found[1]}{{{found[2]}=""}}'
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name} {panel['title']}", target["expr"]


def series(expression: str) -> list[tuple[str, set[str]]]:
    """Each series that an expression names, with the labels that it must have."""
    return [
        (name, set(_MATCHER.findall(matchers))) for name, matchers in _SERIES.findall(expression)
    ]
