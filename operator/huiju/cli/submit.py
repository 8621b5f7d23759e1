"""`kubectl huiju submit`: creates jobs, tells at once what is wrong, and may wait for their end.

Decides nothing about the job itself. Invariant: a job that exists is never changed; a second
submission of the same name is an error.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from huiju.cli.failures import OK, Failure, UsageError
from huiju.cli.manifest import accelerator, from_files, from_flags, variable
from huiju.cli.session import Session

EXAMPLES = """\
examples:
  kubectl huiju submit -f job.yaml --wait
  kubectl huiju submit --name bert --queue research --accelerator ascend-910b3:8 \\
      --image registry.example/bert:910b --workers 2 -- python train.py --epochs 3
  kubectl huiju submit --name any --queue research --framework torchrun \\
      --accelerator ascend-910b3:8@registry.example/t:npu \\
      --accelerator nvidia-a100-80g:8@registry.example/t:cuda -- torchrun train.py
  kubectl huiju submit -f job.yaml --dry-run=server      let the server check it, store nothing"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.usage = (
        "kubectl huiju submit (-f FILE | --name NAME --queue NAME --accelerator MODEL:UNITS"
        " --image IMAGE) [options] [-- COMMAND…]"
    )
    parser.add_argument(
        "-f", "--filename", metavar="FILE", action="append", help="jobs to submit; - reads stdin"
    )
    parser.add_argument("--wait", action="store_true", help="until the end; 1 if a job fails")
    parser.add_argument("--timeout", metavar="TIME", help="with --wait: give up after, such as 2h")
    parser.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        nargs="?",
        const="client",
        default="none",
        help="client prints the job, server also lets the server check it",
    )
    parser.add_argument("-o", "--output", choices=("name", "json", "yaml"), help="format")
    configure_job(parser.add_argument_group("a job from flags"))


def configure_job(group: argparse._ArgumentGroup) -> None:
    """The flags that describe a job."""
    add = group.add_argument
    add("--name", metavar="NAME", help="name of the job")
    add("--queue", metavar="NAME", help="ComputeQueue to wait in")
    add(
        "--accelerator",
        metavar="MODEL:UNITS[@IMAGE]",
        type=accelerator,
        action="append",
        default=[],
        help="accelerator units per worker; again for alternatives, best first",
    )
    add("--image", metavar="IMAGE", help="image of the workers")
    add("--workers", metavar="N", type=int, help="pods that run together (default 1)")
    add("--framework", choices=("plain", "torchrun", "mindspore"), help="how workers start")
    add("--cpu", metavar="AMOUNT", help="CPU that each worker requests, such as 32")
    add("--memory", metavar="AMOUNT", help="memory that each worker requests, such as 256Gi")
    add(
        "--env",
        metavar="NAME=VALUE",
        type=variable,
        action="append",
        default=[],
        help="environment variable of the workers; may be given again",
    )
    add("--priority", metavar="N", type=int, help="order inside the queue, higher first")
    add("--max-runtime", metavar="TIME", help="end an attempt after, such as 6h")
    add("--expected-runtime", metavar="TIME", help="expected time on the first alternative")
    add("--region", metavar="NAME", action="append", help="only centers of this region")
    add("--center", metavar="NAME", action="append", help="only this center; may be given again")
    add("--failover", choices=("Never", "Ask", "Reschedule"), help="if the center is lost")
    add("--attempts", metavar="N", type=int, help="attempts if the application fails (default 1)")


def run(session: Session) -> int:
    """Submit the jobs."""
    from huiju.kube.resources import CROSS_REGION_JOBS

    flags = session.flags
    if flags.timeout and not flags.wait:
        raise UsageError("--timeout needs --wait")
    if flags.wait and flags.dry_run != "none":
        raise UsageError("--wait has nothing to wait for with --dry-run")
    jobs = _jobs(session)
    if flags.dry_run == "client":
        _print_dry(session, jobs)
        return OK
    from huiju.cli import preflight

    preflight.check_queues(session, jobs)
    dry = flags.dry_run == "server"
    made = []
    for job in jobs:
        meta = job["metadata"]
        made.append(_create(session, CROSS_REGION_JOBS, job, meta["namespace"], dry=dry))
        _print(session, made[-1], dry=dry)
    preflight.note_unknown_models(session, made)
    if flags.wait:
        from huiju.cli.wait import wait_all

        return wait_all(session, made, flags.timeout)
    # Scripts that ask for names or objects read the outcome from the jobs themselves.
    return OK if dry or flags.output else preflight.glance(session, made)


def _jobs(session: Session) -> list[dict[str, Any]]:
    """The jobs that the command line means, each with its namespace."""
    flags = session.flags
    described = [name for name in ("name", "queue", "image") if getattr(flags, name)]
    if flags.filename and (described or flags.accelerator or session.tail):
        raise UsageError("-f takes the whole job from the file: leave the other flags out")
    made = from_files(flags.filename) if flags.filename else [from_flags(flags, session.tail)]
    # A dry run on the client needs no cluster, so that it works before one is configured.
    asked = getattr(flags, "namespace", None)
    offline = flags.dry_run == "client" and not asked
    for job in made:
        own = job["metadata"].get("namespace")
        if own and asked and own != asked:
            raise UsageError(f"the file says namespace {own}, -n says {asked}: leave one out")
        if not own:
            job["metadata"]["namespace"] = "default" if offline else session.namespace
    return made


def _create(
    session: Session, res: Any, job: dict[str, Any], namespace: str, *, dry: bool
) -> dict[str, Any]:
    from huiju.kube.errors import AlreadyExists

    try:
        return session.api.create(res, job, namespace, dry_run=dry)
    except AlreadyExists as error:
        raise Failure(
            f"{error.message}; a job runs once: choose another name, or delete that one first"
        ) from error


def _print(session: Session, job: dict[str, Any], *, dry: bool) -> None:
    from huiju.cli.listing import dump

    meta = job["metadata"]
    match session.flags.output:
        case "name":
            session.say(f"crossregionjob.huiju.dev/{meta['name']}")
        case "json" | "yaml":
            meta.pop("managedFields", None)
            session.say(dump(job, session.flags.output))
        case _ if dry:
            session.say(f"job {meta['namespace']}/{meta['name']} would be taken (server dry run)")
        case _:
            session.say(f"job {meta['namespace']}/{meta['name']} submitted")
            sys.stdout.flush()


def _print_dry(session: Session, jobs: list[dict[str, Any]]) -> None:
    from huiju.cli.listing import dump

    match session.flags.output:
        case "name":
            session.say(
                "\n".join(f"crossregionjob.huiju.dev/{j['metadata']['name']}" for j in jobs)
            )
        case "json":
            session.say(dump(jobs[0] if len(jobs) == 1 else {"items": jobs}, "json"))
        case _:
            session.say("\n---\n".join(dump(job, "yaml") for job in jobs))
