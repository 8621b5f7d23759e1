"""A hub as a process of the lab: started, proven ready, measured, ended.

Decides only what ready means (`/readyz`). Invariant: leaving the context ends the process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import aiohttp

from lab.kwokctl import HOST

_READY_WITHIN: Final = 60.0
_ENDS_WITHIN: Final = 20.0


class HubFailed(Exception):
    """The hub did not become ready; the message holds the end of its log."""


class HubProcess:
    """`huiju hub` on this machine; or another program of Huiju's, by `words`.

    `module` starts it where it is not `huiju` itself.
    """

    def __init__(
        self,
        kubeconfig: Path,
        log: Path,
        port: int,
        arguments: Sequence[str] = (),
        *,
        words: Sequence[str] = ("hub", "--kubeconfig"),
        module: str = "huiju",
    ) -> None:
        program, flag = words
        self.log = log
        self.port = port
        self._command = [
            sys.executable,
            "-m",
            module,
            program,
            f"{flag}={kubeconfig}",
            f"--health-port={port}",
            *arguments,
        ]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id; raises HubFailed if it was not started."""
        if self._process is None:
            raise HubFailed("the hub was not started")
        return self._process.pid

    @property
    def url(self) -> str:
        """Address of its health pages and metrics."""
        return f"http://{HOST}:{self.port}"

    async def start(self, *, seconds: float = _READY_WITHIN) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        try:
            async with asyncio.timeout(seconds):
                while not await self.ready():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            self.kill()
            raise HubFailed(f"the hub is not ready after {seconds:g} s\n{self.tail()}") from None

    def launch(self) -> None:
        """Start it and wait for nothing."""
        self._process = self._spawn()

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.alive and self._process is not None:
            self._process.send_signal(number)

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                # A Ctrl-C is for whoever started the lab, which then ends the hub in order.
                start_new_session=True,
            )

    async def stop(self) -> int:
        """End it in order; returns its exit code."""
        if self._process is None:
            return 0
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._process.wait, _ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise HubFailed(
                f"the hub did not end within {_ENDS_WITHIN:g} s\n{self.tail()}"
            ) from None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self.alive and self._process is not None:
            self._process.kill()
            self._process.wait()

    def tail(self, lines: int = 40) -> str:
        """The end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self, field: str = "VmRSS") -> int:
        """Memory in bytes: `VmRSS` now, `VmHWM` at its peak."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(field)

    async def __aenter__(self) -> HubProcess:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def ready(self) -> bool:
        """Whether it says so; raises HubFailed where it has ended."""
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            raise HubFailed(f"the hub ended with exit code {code}\n{self.tail()}")
        timeout = aiohttp.ClientTimeout(total=2.0)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(f"{self.url}/readyz") as answer,
            ):
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
