"""Where the recorded jobs of the tests are."""

from __future__ import annotations

from pathlib import Path

TRACES = Path(__file__).parent / "traces"
CLUSTERS = TRACES / "clusters.csv"
ITP = TRACES / "itp.csv.gz"
VENUS = TRACES / "helios_venus_sept.csv.gz"
