"""`kubectl huiju check`: looks for what is missing, from the API server up to the centers.

Decides what is a fault (exit code 1) and what only a remark. Invariants: nothing is changed; every
finding that is not good says how to mend it.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from huiju.cli.failures import ERROR, OK, explain
from huiju.cli.session import Session
from huiju.cli.table import condition, dig

OLDEST: Final = (1, 32)
_PATIENCE: Final = 60.0
"""Seconds that `--installation` waits for each part of the hub."""
KINDS: Final = ("computecenters", "computequeues", "crossregionjobs")
EXAMPLES = """\
examples:
  kubectl huiju check                  may I work here, and is everything there?
  kubectl huiju check -n team-a        the same for another namespace
  kubectl huiju check --installation   only what Helm has installed: no centers, queues, rights"""


class Verdict(StrEnum):
    """How a finding is to be taken."""

    GOOD = "ok"
    REMARK = "note"
    FAULT = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at, and how to mend it."""

    verdict: Verdict
    text: str
    cure: str = ""


def good(text: str) -> Finding:
    """Nothing to do."""
    return Finding(Verdict.GOOD, text)


def remark(text: str, cure: str) -> Finding:
    """Not as it could be."""
    return Finding(Verdict.REMARK, text, cure)


def fault(text: str, cure: str) -> Finding:
    """Something does not work."""
    return Finding(Verdict.FAULT, text, cure)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "--installation",
        action="store_true",
        help="only kinds, hub and view API; waits up to a minute for the hub",
    )


def run(session: Session) -> int:
    """Look at everything, and print each finding as it is made."""
    from huiju.kube.errors import KubeError

    faults = 0
    findings = _all(session)
    while True:
        try:
            finding = next(findings)
        except StopIteration:
            break
        except KubeError as error:
            # The rest rests on what has just failed.
            finding, findings = fault(explain(error), ""), iter(())
        faults += finding.verdict is Verdict.FAULT
        session.say(f"{finding.verdict:4}  {finding.text}")
        if finding.cure:
            session.say(f"      cure: {finding.cure}")
    return ERROR if faults else OK


def _all(session: Session) -> Iterator[Finding]:
    yield _server(session)
    installed = _kinds(session)
    yield installed
    if installed.verdict is Verdict.FAULT:
        return
    if session.flags.installation:
        yield _patiently(session, _hub)
        yield _patiently(session, _view)
        return
    yield from _permissions(session)
    yield _hub(session)
    yield _view(session)
    yield from _centers(session)
    yield from _queues(session)


def _patiently(session: Session, look: Callable[[Session], Finding]) -> Finding:
    """What is found once it is good, or when patience ends: right after an installation."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        finding = look(session)
        if finding.verdict is not Verdict.FAULT or time.monotonic() >= deadline:
            return finding
        time.sleep(1)


def _server(session: Session) -> Finding:
    version = session.api.call("GET", "/version")
    name = f"API server {session.credentials.server}, Kubernetes {version['gitVersion']}"
    number = re.match(r"v?(\d+)\.(\d+)", version["gitVersion"])
    if number is not None and (int(number[1]), int(number[2])) < OLDEST:
        return fault(name, f"a hub needs Kubernetes {OLDEST[0]}.{OLDEST[1]} or newer: upgrade it")
    return good(name)


def _kinds(session: Session) -> Finding:
    from huiju.kube.errors import NotFound

    try:
        served = session.api.call("GET", "/apis/huiju.dev/v1alpha1").get("resources") or []
    except NotFound:
        served = []
    missing = sorted(set(KINDS) - {resource["name"] for resource in served})
    if missing:
        return fault(
            f"kinds missing: {', '.join(missing)}",
            "install Huiju's CRDs: kubectl apply -f crds/ (or is --context another cluster?)",
        )
    return good("Huiju's kinds are installed")


def _permissions(session: Session) -> Iterator[Finding]:
    from huiju.cli.probe import Deed, denied, may, spell

    namespace = session.namespace
    jobs = [Deed(verb, "huiju.dev", "crossregionjobs") for verb in ("create", "get", "list")]
    view = [Deed("get", "view.huiju.dev", "crossregionjobs", part) for part in ("why", "log")]
    view.append(Deed("create", "view.huiju.dev", "whatif"))
    missing = [deed for deed in (*jobs, *view) if not may(session.api, deed, namespace)]
    if missing:
        yield fault(
            f"in namespace {namespace} you may not {', '.join(map(spell, missing))}",
            "ask a platform engineer for these rights, or use -n with a namespace of yours",
        )
    else:
        yield good(f"in namespace {namespace} you may submit jobs and ask about them")
    shown = [Deed("list", "huiju.dev", kind) for kind in KINDS[:2]]
    hidden = denied(session.api, shown)
    if hidden:
        yield remark(
            f"you may not {', '.join(map(spell, hidden))}: centers and queues cannot be checked",
            "ask a platform engineer for the right to see them",
        )


def _hub(session: Session) -> Finding:
    from huiju.cli.joining import SYSTEM
    from huiju.cli.probe import leader
    from huiju.kube.errors import Forbidden

    try:
        holder = leader(session.api, SYSTEM, time.time())
    except Forbidden:
        return remark(
            f"whether a hub is at work is not yours to see (Lease {SYSTEM}/huiju-hub)",
            "jobs that stay Submitted without a phase are a sign that none is",
        )
    if holder is None:
        return fault(
            "no hub is at work: nobody holds Lease huiju-system/huiju-hub",
            "start one with `huiju hub`, or look at the log of the hub that should run",
        )
    return good(f"a hub is at work: {holder}")


def _view(session: Session) -> Finding:
    from huiju.kube.errors import NotFound, Transient

    try:
        session.api.call("GET", "/apis/view.huiju.dev/v1alpha1")
    except NotFound:
        return fault(
            "the view API is not registered: why and logs will not work",
            "start the hub with --view-port; it registers the API by itself",
        )
    except Transient as error:
        return fault(
            f"the view API does not answer: {error}",
            "kubectl describe apiservice v1alpha1.view.huiju.dev tells what the API server sees;"
            " the hub's log tells the other side",
        )
    return good("the view API answers: why and logs work")


def _centers(session: Session) -> Iterator[Finding]:
    from huiju.kube.errors import Forbidden
    from huiju.kube.resources import COMPUTE_CENTERS

    try:
        centers, _ = session.api.list(COMPUTE_CENTERS)
    except Forbidden:
        return
    if not centers:
        yield fault("there is no center", "kubectl huiju join NAME --center-kubeconfig FILE")
    for center in centers:
        name = center["metadata"]["name"]
        ready = condition(center, "Ready")
        if ready.get("status") == "True" and dig(center, "spec", "cordoned"):
            yield remark(
                f"center {name} is Ready and cordoned", f"kubectl huiju uncordon {name} opens it"
            )
        elif ready.get("status") == "True":
            yield good(f"center {name} is Ready: {dig(center, 'status', 'summary') or 'empty'}")
        elif ready:
            yield fault(f"center {name}: {ready.get('reason')}", str(ready.get("message") or ""))
        else:
            yield fault(f"center {name} was never looked at", "is a hub at work?")


def _queues(session: Session) -> Iterator[Finding]:
    from huiju.cli.guarantees import faults, remarks
    from huiju.kube.errors import Forbidden
    from huiju.kube.resources import COMPUTE_CENTERS, COMPUTE_QUEUES

    try:
        queues, _ = session.api.list(COMPUTE_QUEUES)
    except Forbidden:
        yield remark("queues are not yours to see", "ask which queue to use")
        return
    yield _open_here(session.namespace, queues)
    try:
        centers, _ = session.api.list(COMPUTE_CENTERS)
    except Forbidden:
        yield from (remark(*found) for found in remarks(queues, None))
    else:
        yield from (remark(*found) for found in remarks(queues, centers))
    yield from (fault(*found) for found in faults(queues))


def _open_here(namespace: str, queues: list[dict[str, Any]]) -> Finding:
    open_here = [
        q["metadata"]["name"]
        for q in queues
        if not dig(q, "spec", "stopped")
        and any(fnmatchcase(namespace, p) for p in dig(q, "spec", "namespaces") or ["*"])
    ]
    if not queues:
        return fault("there is no queue", "create a ComputeQueue: docs/examples has one")
    if not open_here:
        return fault(
            f"no queue takes jobs of namespace {namespace}",
            "use another namespace, or add it to spec.namespaces of a ComputeQueue",
        )
    return good(f"queues for namespace {namespace}: {', '.join(sorted(open_here))}")
