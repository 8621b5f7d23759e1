"""A container of a played pod: a process, its environment as a kubelet would make it, its probes.

Decides what Kubernetes' words on a container mean for a process of this machine. Invariants: what
is told to stop gets TERM, then its grace period, then KILL; when the process that started it dies,
it dies too, as on a machine that loses its power.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from huiju.guard import terms
from huiju.guard.wire import WireError, get
from lab.runrecord import KILL, REFUSED, TERM

KubeDict = dict[str, Any]
_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_PR_SET_PDEATHSIG: Final = 1
_LONGEST_MESSAGE: Final = 4096
_LIBC: Final = ctypes.CDLL(None)
Note = Callable[..., None]


def stamp() -> str:
    """The time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def environment(
    spec: KubeDict, pod: KubeDict, pod_ip: str, places: Mapping[str, Path]
) -> dict[str, str]:
    """A container's variables; paths below a mount become those of `places` on this machine."""
    found: dict[str, str] = {}
    for one in spec.get("env") or ():
        name = one["name"]
        text = one.get("value")
        if text is not None:
            value = _REFERENCE.sub(lambda match: _expanded(match, found), text)
        else:
            value = _field(pod, pod_ip, one)
        found[name] = _moved(value, places)
    if progress := found.get(terms.PROGRESS):
        found[terms.PROGRESS] = _progress_moved(progress, places)
    return found


def _progress_moved(text: str, places: Mapping[str, Path]) -> str:
    told = json.loads(text)
    if "file" in told:
        told["file"] = _moved(told["file"], places)
    return json.dumps(told)


def _expanded(match: re.Match[str], known: Mapping[str, str]) -> str:
    if match[0] == "$$":
        return "$"
    return known.get(match[1], match[0])


def _field(pod: KubeDict, pod_ip: str, variable: KubeDict) -> str:
    path = ((variable.get("valueFrom") or {}).get("fieldRef") or {}).get("fieldPath", "")
    meta = pod["metadata"]
    inner = re.fullmatch(r"metadata\.(annotations|labels)\['([^']+)'\]", path)
    if inner:
        return str((meta.get(inner[1]) or {}).get(inner[2], ""))
    plain = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "status.podIP": pod_ip,
    }
    return str(plain.get(path, ""))


def _moved(value: str, places: Mapping[str, Path]) -> str:
    for mount in sorted(places, key=len, reverse=True):
        if value == mount or value.startswith(f"{mount}/"):
            return str(places[mount]) + value[len(mount) :]
    return value


class Container:
    """One container of one pod."""

    def __init__(
        self,
        spec: KubeDict,
        command: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        note: Note,
    ) -> None:
        self.name: str = spec["name"]
        self.spec = spec
        self.restarts = 0
        self.words = folder / f"{self.name}.termination"
        self.log = folder / f"{self.name}.log"
        self.ready = False
        self._command = list(command)
        self._variables = dict(variables)
        self._note = note
        self._process: asyncio.subprocess.Process | None = None
        self._began = ""
        self._ended: KubeDict | None = None

    def tell(self, name: str, value: str) -> None:
        """Give it a variable that a machine's files stand behind."""
        self._variables[name] = value

    async def start(self) -> None:
        """Make the process."""
        self._ended = None
        self._began = stamp()
        self.words.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env={"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1"} | self._variables,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    async def wait(self) -> int:
        """Wait for its end; returns the exit code as Kubernetes tells it."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        code = 128 - code if code < 0 else code
        if self._ended is None:
            self._ended = {
                "exitCode": code,
                "reason": "Completed" if code == 0 else "Error",
                "message": self._last_words(),
                "startedAt": self._began,
                "finishedAt": stamp(),
            }
        self.ready = False
        return code

    async def stop(self, grace: float) -> None:
        """TERM, the grace period, KILL; returns when it is gone."""
        if self._process is None or self._process.returncode is not None:
            return
        self._note(TERM, container=self.name)
        self._send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self.wait()
        except TimeoutError:
            self._note(KILL, container=self.name)
            self._send(signal.SIGKILL)
            await self.wait()

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return

    def _last_words(self) -> str:
        try:
            return self.words.read_text(errors="replace")[:_LONGEST_MESSAGE]
        except OSError:
            return ""

    def status(self) -> KubeDict:
        """The container's status as a kubelet reports it."""
        if self._ended is not None:
            state: KubeDict = {"terminated": self._ended}
        elif self._process is not None:
            state = {"running": {"startedAt": self._began}}
        else:
            state = {"waiting": {"reason": "PodInitializing"}}
        return {
            "name": self.name,
            "image": self.spec.get("image", ""),
            "imageID": "",
            "ready": self.ready,
            "started": "running" in state,
            "restartCount": self.restarts,
            "state": state,
        }

    # --- probes --------------------------------------------------------------------------------

    async def probed(self, field: str, pod_ip: str, *, until_success: bool) -> bool:
        """Ask a probe by Kubernetes' rules; True: it succeeded (and that is all that was asked).

        False: it failed as often in a row as its threshold says.
        """
        probe = self.spec.get(field)
        if probe is None:
            return True
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        failures = 0
        while True:
            trouble = await self._ask(probe, pod_ip)
            if not trouble and until_success:
                return True
            failures = failures + 1 if trouble else 0
            if trouble and not until_success:
                self._note(REFUSED, container=self.name, failures=failures, why=trouble)
            if failures >= int(probe.get("failureThreshold") or 3):
                return False
            await asyncio.sleep(float(probe.get("periodSeconds") or 10))

    async def _ask(self, probe: KubeDict, pod_ip: str) -> str:
        place = probe.get("httpGet")
        if place is None:
            return ""
        seconds = float(probe.get("timeoutSeconds") or 1)
        host, port, path = place.get("host") or pod_ip, int(place["port"]), place.get("path") or "/"
        try:
            status, body = await asyncio.to_thread(get, host, port, path, seconds)
        except WireError as error:
            return str(error)
        return "" if 200 <= status < 400 else body.decode(errors="replace") or str(status)


def _die_with_parent() -> None:
    """The kernel sends KILL when the parent is gone (Linux; elsewhere the lab sweeps)."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
