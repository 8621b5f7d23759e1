"""`kubectl huiju why`: where a job stands, and what each center says to it, in numbers.

Decides the layout; the reasons are the hub's. Falls back to the job's own status where the hub does
not answer, and says so.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from huiju.cli.failures import OK
from huiju.cli.session import Session
from huiju.cli.table import condition, dig, span, table, text

if TYPE_CHECKING:
    from huiju.kube.errors import KubeError

Fields = dict[str, Any]
_WAYS = 3
"""Centers that one line tells of."""
EXAMPLES = """\
examples:
  kubectl huiju why pretrain
  kubectl huiju why pretrain -n team-a -o json"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("job", metavar="JOB", help="name of the job")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="format")


def run(session: Session) -> int:
    """Explain the job."""
    from huiju.cli.viewapi import why_path

    flags = session.flags
    answer = ask(session, why_path(session.namespace, flags.job))
    if flags.output:
        from huiju.cli.listing import dump

        session.say(dump(answer, flags.output))
    else:
        session.say("\n".join(lines(answer, time.time())))
    return OK


def ask(session: Session, path: str) -> Fields:
    """The hub's answer; where the hub cannot be asked, what the job's status tells."""
    from huiju.kube.errors import NotFound, Transient
    from huiju.kube.resources import CROSS_REGION_JOBS

    try:
        return session.api.call("GET", path)
    except (NotFound, Transient) as error:
        if isinstance(error, Transient) and error.code == 0:
            raise  # the API server itself does not answer
        job = session.api.get(CROSS_REGION_JOBS, session.flags.job, session.namespace)
        session.note(f"warning: only what was last written on the job: {_cause(error)}")
        return of_status(job)


def _cause(error: KubeError) -> str:
    from huiju.cli.failures import explain

    return explain(error)


def of_status(job: Fields) -> Fields:
    """What a job's own status tells, in the shape of the hub's answer."""
    answer: Fields = {
        "job": f"{job['metadata']['namespace']}/{job['metadata']['name']}",
        "queue": dig(job, "spec", "queue"),
        "phase": dig(job, "status", "phase") or "Queued",
        "reason": dig(job, "status", "reason"),
        "message": dig(job, "status", "message"),
        "centers": [],
    }
    taken = condition(job, "DataAllowed")
    if taken.get("status") == "False":
        answer["stops"] = taken.get("message")
    placement = dig(job, "status", "placement")
    return answer | {"placement": placement} if placement else answer


def lines(answer: Fields, now: float) -> list[str]:
    """The explanation for a person."""
    shown = [f"Job       {answer['job']}", f"Queue     {answer['queue']}"]
    phase, reason = answer.get("phase", "Queued"), answer.get("reason")
    shown.append("Phase     " + (phase if reason in (None, phase) else f"{phase}: {reason}"))
    placement = answer.get("placement")
    if placement:
        shown.append(
            f"Placed    {placement['center']}, on {placement.get('model', '?')}"
            f" (epoch {placement.get('epoch', '?')})"
        )
    shown += _waiting(answer, now)
    shown += [f"Data      {_data(each, now)}" for each in answer.get("data") or ()]
    if answer.get("stops"):
        shown.append(f"Stops     {text(answer['stops'])}")
    if answer.get("message"):
        shown.append(f"Message   {text(answer['message'])}")
    centers = answer.get("centers") or []
    if centers:
        rows = [_row(center, several=_several(answer)) for center in centers]
        shown += ["", *table(("CENTER", "VERDICT", "REASON", "DETAILS"), rows)]
    return shown


def _waiting(answer: Fields, now: float) -> list[str]:
    shown = []
    position = answer.get("position")
    if position is not None:
        ahead = answer.get("ahead") or 0
        before = f"{ahead} ahead" if ahead else "next"
        shown.append(f"Position  {position} in queue {answer['queue']} ({before})")
    if answer.get("predictedStart"):
        shown.append(f"Start     expected {start(answer['predictedStart'], now)}")
        if answer.get("basis"):
            shown[-1] += f" ({answer['basis']})"
    elif answer.get("basis"):
        shown.append(f"Start     not known ({answer['basis']})")
    if answer.get("expectedRuntimeBasis"):
        shown.append(_runtime(answer))
    expected = answer.get("expected")
    if expected:
        cost = _score(expected, several=_several(answer))
        shown.append(f"Expected  {text(expected.get('center'))}, {cost}")
    return shown


def _runtime(answer: Fields) -> str:
    seconds, basis = answer.get("expectedRuntime"), answer["expectedRuntimeBasis"]
    told = "not known" if seconds is None else f"expected {span(seconds)}"
    return f"Run time  {told} ({basis})"


def _data(each: Fields, now: float) -> str:
    """One data set: where it is, how far it is, or what it would take to bring it."""
    from huiju.cli.datasets import size

    named = f"{each['dataset']} {each['version']} ({size(each.get('bytes'))})"
    copy = each.get("copy")
    if copy:
        told = f"{named}: {copy['phase']} in {copy['center']}"
        if copy.get("bytesTotal") and copy["phase"] != "Verified":
            told += f", {size(copy.get('bytesDone') or 0)} of {size(copy['bytesTotal'])}"
        if copy.get("eta"):
            told += f", there {start(copy['eta'], now)}"
        if copy["phase"] not in ("Copying", "Verifying", "Verified") and copy.get("message"):
            told += f"; {copy['reason']}: {copy['message']}"
        return told
    there = ", ".join(each.get("copies") or ()) or "no center has a copy"
    ways = [
        f"{way['center']} in {span(way['seconds'])} (nine of ten times {span(way['p90'])})"
        for way in (each.get("estimates") or ())[:_WAYS]
    ]
    return f"{named}: {there}" + (f"; to {', '.join(ways)}" if ways else "")


def _several(answer: Fields) -> bool:
    """Whether the job has more than one alternative, as far as the answer tells."""
    named = [*(answer.get("centers") or ()), answer.get("expected") or {}]
    return any(each.get("alternative") for each in named)


def start(stamp: str, now: float) -> str:
    """A time to come: `in 12m`, or `now`."""
    from datetime import datetime

    seconds = datetime.fromisoformat(stamp).timestamp() - now
    return f"in {span(seconds)}" if seconds >= 1 else "now"


def _row(center: Fields, *, several: bool) -> tuple[str, str, str, str]:
    """One center's answer to the job, or to one alternative of a job that has several."""
    name = text(center.get("center"))
    if center.get("verdict") == "Fits":
        return name, "fits", "-", _score(center, several=several)
    which = _which(center, several=several)
    return name, "refused", text(center.get("reason")), which + text(center.get("message"))


def _which(center: Fields, *, several: bool) -> str:
    alternative = center.get("alternative")
    return f"alternative {alternative + 1}: " if several and alternative is not None else ""


def _score(center: Fields, *, several: bool) -> str:
    """What a start in the center costs, term by term."""
    terms = center.get("terms") or []
    parts = [f"{t['name']} {t['seconds']:+g} s" for t in terms if t.get("seconds")]
    details = f"score {center.get('score', 0):g} s"
    details = f"{details}: {', '.join(parts)}" if parts else details
    return _which(center, several=several) + details
