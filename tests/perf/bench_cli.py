"""How fast `kubectl huiju` answers: `python tests/perf/bench_cli.py [--kubeconfig FILE]`.

Wall-clock time to the first byte and CPU time of each command, the median of several runs. Help and
completion have 150 ms, verbs that ask a server (given with --kubeconfig) 600 ms; exit code 1 if a
median is above. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

HELP_MS = 150.0
VERB_MS = 600.0
OFFLINE = (
    ("--help",),
    ("submit", "--help"),
    ("__complete", "submit", "--f"),
    ("completion", "bash"),
    ("version", "--client"),
)
ONLINE = (("jobs",), ("centers",), ("queues",), ("version",), ("check",))


@dataclass(frozen=True)
class Result:
    """Medians of one command, in milliseconds."""

    command: str
    first_byte_ms: float
    cpu_ms: float
    limit_ms: float


def once(command: Sequence[str]) -> tuple[float, float]:
    """Run once; milliseconds to the first byte of output and of CPU."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    os.read(process.stdout.fileno(), 1)
    first = time.perf_counter() - started
    process.stdout.read()
    process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return first * 1000, cpu * 1000


def measure(words: Sequence[str], limit: float, runs: int) -> Result:
    """The median of several runs, after one that warms the file cache."""
    command = [sys.executable, "-m", "huiju.cli.main", *words]
    once(command)
    found = [once(command) for _ in range(runs)]
    first, cpu = (round(statistics.median(column), 1) for column in zip(*found, strict=True))
    shown = " ".join(word for word in words if not word.startswith("--kubeconfig="))
    return Result(shown, first, cpu, limit)


def main() -> int:
    """Measure everything and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", help="a hub, for the verbs that ask one")
    parser.add_argument("--runs", type=int, default=7)
    flags = parser.parse_args()
    results = [measure(words, HELP_MS, flags.runs) for words in OFFLINE]
    if flags.kubeconfig:
        cluster = (f"--kubeconfig={flags.kubeconfig}",)
        results += [measure((*cluster, *words), VERB_MS, flags.runs) for words in ONLINE]
    for result in results:
        print(
            f"{result.command:32} first byte {result.first_byte_ms:7.1f} ms"
            f" (limit {result.limit_ms:g})   CPU {result.cpu_ms:6.1f} ms"
        )
    print(json.dumps([asdict(result) for result in results]))
    return any(result.first_byte_ms > result.limit_ms for result in results)


if __name__ == "__main__":
    sys.exit(main())
