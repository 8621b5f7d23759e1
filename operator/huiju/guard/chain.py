"""The user's own probes of a container, asked by the guard in the kubelet's stead.

The kubelet asks only the guard, so that the lease is enforced from the first moment, also while a
user's startup probe would still hold liveness probes back. Decides when a container has failed its
own probes, by the rules of Kubernetes: first the startup probe until it succeeds, then the liveness
probe; thresholds count failures in a row. Invariant: a container that failed stays failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from huiju.guard.wire import WireError, connects, get

Probe = Mapping[str, Any]
"""A probe as Kubernetes writes it; ports are numbers by now."""
_PERIOD: Final = 10
_TIMEOUT: Final = 1
_FAILURES: Final = 3


class Judge:
    """Counts the outcomes of one container's probes. Pure."""

    def __init__(self, startup: Probe | None, liveness: Probe | None) -> None:
        self._startup = startup
        self._liveness = liveness
        self._failures = 0
        self._first = True
        self.failed = ""
        """Why the container is to be stopped; empty as long as it is well."""

    @property
    def probe(self) -> Probe | None:
        """What is to be asked next; None for nothing any more."""
        return None if self.failed else self._startup or self._liveness

    def wait(self) -> float:
        """Seconds before the next question."""
        probe = self.probe or {}
        if self._first:
            return float(probe.get("initialDelaySeconds") or 0)
        return float(probe.get("periodSeconds") or _PERIOD)

    def note(self, trouble: str) -> None:
        """What the probe found; empty for success."""
        probe = self.probe
        if probe is None:
            return
        self._first = False
        if not trouble:
            self._failures = 0
            if probe is self._startup:
                self._startup, self._first = None, True
            return
        self._failures += 1
        if self._failures >= int(probe.get("failureThreshold") or _FAILURES):
            kind = "startup" if probe is self._startup else "liveness"
            self.failed = f"its own {kind} probe failed {self._failures} times: {trouble}"


class Chain:
    """The probes of one container, asked from the first time that the kubelet asks after it."""

    def __init__(
        self,
        kinds: Mapping[str, Probe],
        pod_ip: str,
        wait: Callable[[float], bool],
    ) -> None:
        self._judge = Judge(kinds.get("startup"), kinds.get("liveness"))
        self._pod_ip = pod_ip
        self._wait = wait
        self._begun = False

    def trouble(self) -> str:
        """Why the container is to be stopped; empty as long as it is well.

        The kubelet asks only after containers that run: the first question marks the start.
        """
        if not self._begun:
            self._begun = True
            threading.Thread(target=self._run, daemon=True).start()
        return self._judge.failed

    def _run(self) -> None:
        while (probe := self._judge.probe) is not None:
            if self._wait(self._judge.wait()):
                return
            self._judge.note(ask(probe, self._pod_ip))


def ask(probe: Probe, pod_ip: str) -> str:
    """Ask once; returns what is wrong, empty for success. A redirect is success, as for kubelets
    that are sent to another host; it is not followed."""
    seconds = float(probe.get("timeoutSeconds") or _TIMEOUT)
    try:
        if "tcpSocket" in probe:
            place = probe["tcpSocket"]
            connects(place.get("host") or pod_ip, int(place["port"]), seconds)
            return ""
        place = probe["httpGet"]
        status, _ = get(
            place.get("host") or pod_ip,
            int(place["port"]),
            _absolute(place.get("path") or "/"),
            seconds,
            {one["name"]: one.get("value", "") for one in place.get("httpHeaders") or ()},
            tls=place.get("scheme") == "HTTPS",
        )
    except WireError as error:
        return str(error)
    return "" if 200 <= status < 400 else f"answered {status}"


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
