"""What the guard is told, by environment variables, and the words it shares with its makers.

Decides names, ports and paths. Invariant: what is missing or makes no sense ends the guard at its
start with a message that names the variable: a guard that guesses guards nothing. Named tuples and
no dataclasses, whose import would cost more than all the rest.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

GUARD: Final = "huiju-guard"
"""Name of the guard's container."""
PREPARE: Final = "huiju-prepare"
"""Name of the container that runs before the user's own containers start."""
PORT: Final = 29490
"""Port of the guard in its pod; no container of the pod may have it."""
STARTED_PATH: Final = "/started"
"""200 as long as the lease is seen to be valid: the guard's startup probe, so the start gate."""
ALIVE_PATH: Final = "/alive"
"""`/alive/CONTAINER` is 200 as long as the container may run: the liveness probe of each."""
LEASE_ENDED: Final = "LeaseEnded"
"""First word of what a guard leaves behind that stopped its pod because the lease ran out."""
NO_PROGRESS: Final = "NoProgress"
"""First word of what a guard leaves behind that stopped its pod because the job did not get on."""
CODES: Final[Mapping[str, int]] = {LEASE_ENDED: 93, NO_PROGRESS: 94}
"""Exit codes of a guard that stopped its pod, by the word that it left behind."""

SENTINEL: Final = "HUIJU_GUARD_SENTINEL"
CENTER: Final = "HUIJU_CENTER"
POLL: Final = "HUIJU_GUARD_POLL"
BIND: Final = "HUIJU_GUARD_BIND"
LISTEN: Final = "HUIJU_GUARD_PORT"
PROBES: Final = "HUIJU_GUARD_PROBES"
PROGRESS: Final = "HUIJU_GUARD_PROGRESS"
NO_LEASE: Final = "none"
"""In place of the sentinel's address: the pod runs under no lease, and is guarded otherwise."""
POD_IP: Final = "HUIJU_POD_IP"
LAST_WORDS: Final = "HUIJU_GUARD_LAST_WORDS"
EPOCH: Final = "HUIJU_EPOCH"
GATE: Final = "HUIJU_PREPARE_GATE"
ATTEMPTS: Final = "HUIJU_PREPARE_ATTEMPTS"
MARKER: Final = "HUIJU_PREPARE_MARKER"
RESUME: Final = "HUIJU_PREPARE_RESUME"
NO_PROBES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {}
_TERMINATION_LOG: Final = "/dev/termination-log"
_LONGEST_POLL: Final = 3600.0


class TermsRefused(Exception):
    """The guard cannot work as it was told to; the message names the variable."""


class Address(NamedTuple):
    """Where plain HTTP is asked for."""

    host: str
    port: int
    path: str


class ProgressTerms(NamedTuple):
    """How a job shows that it gets on: by a file, or else by an answer over HTTP."""

    deadline: float
    """Seconds without a change after which the pod is stopped."""
    file: str = ""
    port: int = 0
    path: str = "/"
    start_deadline: float = 0.0
    """Seconds that the first change may take; 0 is the deadline."""


class Terms(NamedTuple):
    """How one guard works."""

    sentinel: Address | None
    """Where the lease is asked for; None for a pod under no lease."""
    center: str = ""
    """Name of the center; the lease of another is not this pod's. Empty: any."""
    poll: float = 10.0
    """Seconds between two questions to the sentinel."""
    bind: str = ""
    """Address to listen on; empty for all."""
    port: int = PORT
    pod_ip: str = "127.0.0.1"
    """Where the containers' own probes are asked, as the kubelet would."""
    probes: Mapping[str, Mapping[str, Mapping[str, Any]]] = NO_PROBES
    """By container: its own probes as Kubernetes writes them, under `startup` and `liveness`."""
    progress: ProgressTerms | None = None
    """None: nobody asks whether the job gets on."""
    last_words: str = _TERMINATION_LOG
    """File whose text stays in the container's status when the guard has ended."""


class PrepareTerms(NamedTuple):
    """What there is to do before the main containers start."""

    gate: Address | None = None
    """Where the guard says whether the lease is valid; None for a pod without a guard."""
    attempts: str = ""
    """Folder of the checkpoints of all attempts; empty: there is nothing to look for."""
    epoch: int = 0
    """This attempt's."""
    marker: str = ""
    """Name of the file that makes a checkpoint complete."""
    resume: str = ""
    """The link to make to the last complete checkpoint."""


def read_prepare_terms(environment: Mapping[str, str]) -> PrepareTerms:
    """The terms in the environment.

    Raises:
        TermsRefused: a variable is missing or makes no sense.
    """
    place = environment.get(GATE, "")
    gate = _address(GATE, place) if place else None
    attempts = environment.get(ATTEMPTS, "")
    if not attempts:
        return PrepareTerms(gate)
    epoch, marker, resume = (environment.get(name, "") for name in (EPOCH, MARKER, RESUME))
    if not (epoch.isascii() and epoch.isdecimal()):
        raise TermsRefused(f"{EPOCH}: {epoch!r} is no epoch")
    if not marker or "/" in marker:
        raise TermsRefused(f"{MARKER}: {marker!r} is no name of a file")
    if not resume.startswith("/"):
        raise TermsRefused(f"{RESUME}: {resume!r} is no absolute path")
    return PrepareTerms(gate, attempts, int(epoch), marker, resume)


def read_terms(environment: Mapping[str, str]) -> Terms:
    """The terms in the environment.

    Raises:
        TermsRefused: a variable is missing or makes no sense.
    """
    return Terms(
        sentinel=_sentinel(environment.get(SENTINEL, "")),
        center=environment.get(CENTER, ""),
        poll=_seconds(POLL, environment.get(POLL, "10")),
        bind=environment.get(BIND, ""),
        port=_port(LISTEN, environment.get(LISTEN, str(PORT))),
        pod_ip=environment.get(POD_IP) or "127.0.0.1",
        probes=_probes(environment.get(PROBES) or "{}"),
        progress=_progress(environment.get(PROGRESS) or ""),
        last_words=environment.get(LAST_WORDS, _TERMINATION_LOG),
    )


def _sentinel(text: str) -> Address | None:
    return None if text == NO_LEASE else _address(SENTINEL, text)


def _progress(text: str) -> ProgressTerms | None:
    if not text:
        return None
    try:
        found = json.loads(text)
        made = ProgressTerms(
            deadline=float(found["deadline"]),
            file=str(found.get("file") or ""),
            port=int(found.get("port") or 0),
            path=str(found.get("path") or "/"),
            start_deadline=float(found.get("startDeadline") or 0),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise TermsRefused(f"{PROGRESS}: {error}") from None
    if not 0 < made.deadline < math.inf or bool(made.file) == bool(made.port):
        raise TermsRefused(f"{PROGRESS}: it must have a deadline, and a file or a port")
    if not 0 <= made.start_deadline < math.inf:
        raise TermsRefused(f"{PROGRESS}: startDeadline is no time")
    return made


def _address(name: str, text: str) -> Address:
    scheme, _, rest = text.partition("://")
    place, slash, path = rest.partition("/")
    host, _, port = place.rpartition(":")
    if scheme != "http" or not host:
        raise TermsRefused(f"{name}: {text!r} is not like http://huiju-sentinel.ns.svc:8083/lease")
    return Address(host.strip("[]"), _port(name, port), slash + path or "/")


def _port(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 65536):
        raise TermsRefused(f"{name}: {text!r} is no port; give a number from 1 to 65535")
    return int(text)


def _seconds(name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_POLL:
        raise TermsRefused(f"{name}: {text!r} is no time; give seconds, more than 0")
    return seconds


def _probes(text: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise TermsRefused(f"{PROBES}: {error}") from None
    good = isinstance(found, dict) and all(
        isinstance(kinds, dict)
        and set(kinds) <= {"startup", "liveness"}
        and all(isinstance(probe, dict) for probe in kinds.values())
        for kinds in found.values()
    )
    if not good:
        raise TermsRefused(f"{PROBES}: it must be an object of containers and their probes")
    return found  # type: ignore[no-any-return]  # checked above
