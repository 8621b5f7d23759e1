"""`kubectl huiju whatif`: where and when a job would run, or what cordoning a center would do.

Decides the layout; the answers are the scheduler's. Invariant: nothing is stored and nothing moves.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from huiju.cli.failures import OK, UsageError
from huiju.cli.manifest import from_files, from_flags
from huiju.cli.session import Session
from huiju.cli.submit import configure_job
from huiju.cli.table import table, text
from huiju.cli.why import lines, start

Fields = dict[str, Any]
EXAMPLES = """\
examples:
  kubectl huiju whatif -f job.yaml
  kubectl huiju whatif --queue research --accelerator ascend-910b3:8 --workers 4 --image img
  kubectl huiju whatif -f job.yaml -o json
  kubectl huiju whatif --cordon guiyang        who would have to go elsewhere, where and when"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.usage = (
        "kubectl huiju whatif (-f FILE | --queue NAME --accelerator MODEL:UNITS --image IMAGE"
        " [options] | --cordon CENTER)"
    )
    parser.add_argument(
        "-f", "--filename", metavar="FILE", action="append", help="jobs to ask about; - reads stdin"
    )
    parser.add_argument("--cordon", metavar="CENTER", help="ask what cordoning a center would do")
    parser.add_argument("-o", "--output", choices=("json", "yaml"), help="format")
    configure_job(parser.add_argument_group("a job from flags"))


def run(session: Session) -> int:
    """Ask and show."""
    flags = session.flags
    described = bool(flags.name or flags.queue or flags.image or flags.accelerator or session.tail)
    if bool(flags.filename) + described + bool(flags.cordon) > 1:
        raise UsageError("ask about a file, about a job from flags, or about --cordon: one of them")
    if flags.cordon:
        from huiju.cli.viewapi import cordon_path

        _show(session, [session.api.call("GET", cordon_path(flags.cordon))], cordon_lines)
        return OK
    _show(session, [_ask(session, job) for job in _jobs(session)], job_lines)
    return OK


def _jobs(session: Session) -> list[Fields]:
    flags = session.flags
    if flags.filename:
        return from_files(flags.filename)
    flags.name = flags.name or "whatif"
    return [from_flags(flags, session.tail)]


def _ask(session: Session, job: Fields) -> Fields:
    from huiju.cli.viewapi import whatif_path

    own, asked = job["metadata"].get("namespace"), getattr(session.flags, "namespace", None)
    if own and asked and own != asked:
        raise UsageError(f"the file says namespace {own}, -n says {asked}: leave one out")
    return session.api.call("POST", whatif_path(own or session.namespace), job)


def _show(session: Session, answers: list[Fields], layout: Any) -> None:
    form = session.flags.output
    if not form:
        now = time.time()
        session.say("\n\n".join("\n".join(layout(answer, now)) for answer in answers))
        return
    from huiju.cli.listing import dump

    whole = answers[0] if len(answers) == 1 else {"kind": "List", "items": answers}
    session.say(dump(whole, form))


def job_lines(answer: Fields, now: float) -> list[str]:
    """Where and when a job would run, for a person."""
    shown = lines(answer, now)
    at = next(i for i, line in enumerate(shown) if line.startswith("Phase"))
    shown[at] = f"Reason    {text(answer.get('reason'))}"
    return shown


def cordon_lines(answer: Fields, now: float) -> list[str]:
    """What cordoning a center would do, for a person."""
    closed = answer.get("closed")
    shown = [
        f"Center    {answer['center']}" + (f" (takes no jobs now: {closed})" if closed else "")
    ]
    running, waiting = answer.get("running") or [], answer.get("waiting") or []
    shown.append(f"Running   {len(running)} job(s) there run on")
    if running:
        rows = [_displaced(each, now) for each in running]
        shown += ["", *table(("JOB", "ENDS", "IF IT HAD TO LEAVE", "START", "BASIS"), rows), ""]
    count = sum(each.get("equal", 1) for each in waiting)
    shown.append(f"Waiting   {count} job(s) would have started there")
    if waiting:
        rows = [_displaced(each, now) for each in waiting]
        shown += ["", *table(("JOB", "STARTS", "INSTEAD IN", "START", "BASIS"), rows)]
    if answer.get("omitted"):
        shown.append(f"and {answer['omitted']} more kinds of waiting jobs")
    return shown


def _displaced(each: Fields, now: float) -> tuple[str, ...]:
    alike = f" (and {each['equal'] - 1} alike)" if each.get("equal", 1) > 1 else ""
    before, at = each.get("before"), each.get("at")
    return (
        f"{each['job']}{alike}",
        start(before, now) if before else "unknown",
        text(each.get("center")),
        start(at, now) if at else "unknown",
        text(each.get("basis")),
    )
