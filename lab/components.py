"""The programs of one cluster, by its folder: which run, and starting one that has ended.

Decides nothing about why one ended. Invariant: a program that is started again has the arguments
and the log that kwokctl gave it; a process with its number that is another program is never taken
for it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lab.kwokctl import Component
from lab.processes import Process, command_line


def log_of(folder: Path, component: Component) -> Path:
    """The log file of a component."""
    return folder / "logs" / f"{component}.log"


def process_of(folder: Path, component: Component) -> Process | None:
    """The living process of a component in a cluster's folder, by its pid file."""
    try:
        pid = int((folder / "pids" / f"{component}.pid").read_text())
    except (OSError, ValueError):
        return None
    # The number may belong to a stranger by now; a cluster's program lies in its own folder.
    if not any(str(folder) in word for word in command_line(pid)):
        return None
    process = Process.of(pid)
    return process if process.alive else None


def launch(folder: Path, component: Component) -> None:
    """Start a process that does not run, without waiting for it to serve."""
    if process_of(folder, component) is not None:
        return
    plan = _plan(folder, component)
    environment = {entry["name"]: entry.get("value", "") for entry in plan.get("envs") or []}
    with log_of(folder, component).open("ab") as log:
        process = subprocess.Popen(
            [plan["binary"], *plan.get("args", [])],
            cwd=plan.get("workDir") or folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (folder / "pids" / f"{component}.pid").write_text(str(process.pid))
    # The cluster's folder knows it from here on; this object would complain that it still runs.
    process.returncode = 0


def _plan(folder: Path, component: Component) -> dict[str, Any]:
    """How kwokctl started the process, from the record that it keeps."""
    for document in yaml.safe_load_all((folder / "kwok.yaml").read_text()):
        for part in (document or {}).get("components") or []:
            if part.get("name") == component:
                return dict(part)
    raise LookupError(f"{folder.name} was made without {component}")
