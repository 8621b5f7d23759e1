"""`kubectl huiju logs`: what a worker of a job prints, in whichever center it runs.

Decides nothing; the bytes go through as they come. Invariant: the caller needs no credentials of
the center.
"""

from __future__ import annotations

import argparse
import sys

from huiju.cli.failures import OK
from huiju.cli.session import Session

EXAMPLES = """\
examples:
  kubectl huiju logs pretrain                     the first worker, up to now
  kubectl huiju logs pretrain -f --worker 3
  kubectl huiju logs pretrain --tail 100"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.add_argument("job", metavar="JOB", help="name of the job")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as the worker prints")
    parser.add_argument("--worker", metavar="N", type=_count, default=0, help="which (default 0)")
    parser.add_argument("--tail", metavar="N", type=_count, help="only the last N lines first")


def _count(given: str) -> int:
    if not given.isdecimal():
        raise argparse.ArgumentTypeError(f"{given!r} is not a number from 0 on")
    return int(given)


def run(session: Session) -> int:
    """Print the log."""
    from huiju.cli.viewapi import log_path

    flags = session.flags
    query = {
        "worker": str(flags.worker),
        "follow": "true" if flags.follow else "",
        "tail": "" if flags.tail is None else str(flags.tail),
    }
    for chunk in session.api.stream(log_path(session.namespace, flags.job), query):
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
    return OK
