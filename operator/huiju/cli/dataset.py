"""`kubectl huiju dataset`: asks for the use of a data set, decides on it, and looks after copies.

Decides what each action writes; who may is decided by the API server and its admission policy.
Invariant: every action may be repeated, and says what it did.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from huiju.cli import deciding
from huiju.cli.failures import OK, UsageError
from huiju.cli.session import Session

EXAMPLES = """\
asking and deciding (NAMESPACE/NAME is the data set, GRANT a grant as NAMESPACE/NAME):
  kubectl huiju dataset grant team-a/corpus-zh --purpose pretraining --accept-license CC-BY-4.0
  kubectl huiju dataset approve team-b/corpus-zh
  kubectl huiju dataset deny team-b/corpus-zh --reason "not for this purpose"
  kubectl huiju dataset suspend team-b/corpus-zh --reason "audit until Friday"
  kubectl huiju dataset revoke team-b/corpus-zh --reason "contract ended"

Nobody decides on a request of their own. What was denied or revoked stays so: delete the grant and
ask again. A revoked grant lets no new link be signed at once; jobs that use the data are stopped
after a grace period."""

ACTIONS: Final[dict[str, Callable[[Session, str], None]]] = {
    "grant": deciding.ask,
    "approve": deciding.approve,
    "deny": deciding.deny,
    "suspend": deciding.suspend,
    "revoke": deciding.revoke,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.usage = "kubectl huiju dataset ACTION NAME... [flags]"
    add = parser.add_argument
    add("action", choices=tuple(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
    add("names", metavar="NAME", nargs="+", help="data set or grant, as NAMESPACE/NAME or NAME")
    add("--purpose", metavar="WORD", default="unspecified", help="grant: what the data is for")
    add("--center", metavar="NAME", action="append", help="grant: where it is used (default: all)")
    add("--expires", metavar="DURATION", help="grant: how long it is asked for, such as 90d")
    add("--accept-license", metavar="SPDX", help="grant: the license that you have read")
    add("--reason", metavar="TEXT", default="", help="approve, deny, suspend, revoke: why")
    add("--dry-run", action="store_true", help="let the server check it; write nothing")


def run(session: Session) -> int:
    """Do it for each name."""
    flags = session.flags
    if flags.reason and flags.action == "grant":
        raise UsageError("--reason goes with approve, deny, suspend and revoke")
    for name in flags.names:
        ACTIONS[flags.action](session, name)
    return OK
