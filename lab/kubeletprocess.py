"""A lab kubelet as a process: started, ended, killed like a node that loses its power.

Decides only its arguments. Invariant: leaving the context ends the process, and with it all that it
runs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final

_ENDS_WITHIN: Final = 20.0


class KubeletProcess:
    """`python -m lab.kubelet` for one cluster."""

    def __init__(
        self, kubeconfig: Path, cluster: str, folder: Path, record: Path, sentinel: str = ""
    ) -> None:
        self.folder = folder
        self.record = record
        self.log = folder / "kubelet.log"
        self._command = [
            sys.executable,
            "-m",
            "lab.kubelet",
            f"--kubeconfig={kubeconfig}",
            f"--cluster={cluster}",
            f"--record={record}",
            f"--folder={folder}",
            f"--sentinel={sentinel}",
        ]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; what it finds running died with the one before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: everything that it runs dies in the same moment."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order; its pods end at once."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> KubeletProcess:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
