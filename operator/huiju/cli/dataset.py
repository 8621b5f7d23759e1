"""`kubectl huiju dataset`: requests, decisions on them, versions and copies of data sets.

Decides what each action writes; who may is decided by the API server and its admission policy.
Invariant: every action may be repeated, and says what it did.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final

from huiju.cli import copies, deciding, describing, fetching, publishing
from huiju.cli.failures import OK, UsageError
from huiju.cli.session import Session

EXAMPLES = """\
asking and deciding (NAMESPACE/NAME is the data set, GRANT a grant as NAMESPACE/NAME):
  kubectl huiju dataset grant team-a/corpus-zh --purpose pretraining --accept-license CC-BY-4.0
  kubectl huiju dataset approve team-b/corpus-zh
  kubectl huiju dataset deny team-b/corpus-zh --reason "not for this purpose"
  kubectl huiju dataset suspend team-b/corpus-zh --reason "audit until Friday"
  kubectl huiju dataset revoke team-b/corpus-zh --reason "contract ended"

copies:
  kubectl huiju dataset replicate team-a/corpus-zh --center guiyang --center ulanqab
  kubectl huiju dataset replicate team-a/corpus-zh --center guiyang --version v2 --include 'zh/*'
  kubectl huiju dataset verify team-a/corpus-zh
  kubectl huiju dataset rm team-a/corpus-zh --center guiyang --version v1

A copy that was ordered is kept until it is taken back; rules in `spec.copies` of the share keep
theirs, and what a job needs is copied by itself. `kubectl huiju transfers` shows how far they are.

Nobody decides on a request of their own. What was denied or revoked stays so: delete the grant and
ask again. From a revocation on no link is signed and no job is placed; one that runs already is
told and, after `spec.revocationGrace` of the share, stopped.

publishing a version, where the data lies (NAMESPACE/NAME is the data set):
  kubectl huiju dataset publish team-a/corpus-zh --version v4 --source /data/corpora/zh
  kubectl huiju dataset publish team-a/corpus-zh --version v4 --channel stable --sign-key key.pem

It reads every file, writes the list of digests into the folder .huiju of the source, and adds
the version to the share. The key of a bucket comes from AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, the token of a web server from HUIJU_SOURCE_TOKEN. With --from-job the
version says that it was made from all that the job read.

bringing data into the source before, with rclone, from any store that it has as a remote:
  kubectl huiju dataset fetch team-a/corpus-zh --from oldstore:corpora/zh

It copies and never deletes; a file that is there already is never changed. Remotes are those of
rclone's own configuration or environment; the key of the share's bucket comes from AWS_* as above.

descriptions, as Croissant:
  kubectl huiju dataset export team-a/corpus-zh --version v4 >croissant.json
  kubectl huiju dataset export team-a/corpus-zh --manifest .huiju/manifests/9f86d0….ndjson
  kubectl huiju dataset import team-a/corpus-zh --croissant croissant.json"""

ACTIONS: Final[dict[str, Callable[[Session, str], None]]] = {
    "grant": deciding.ask,
    "approve": deciding.approve,
    "deny": deciding.deny,
    "suspend": deciding.suspend,
    "revoke": deciding.revoke,
    "replicate": copies.replicate,
    "verify": copies.verify,
    "rm": copies.remove,
    "fetch": fetching.fetch,
    "publish": publishing.publish,
    "export": describing.export,
    "import": describing.take_over,
}


DECIDING: Final = frozenset({"approve", "deny", "suspend", "revoke"})
COPYING: Final = frozenset({"replicate", "verify", "rm"})
DESCRIBING: Final = frozenset({"export", "import"})


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.epilog = EXAMPLES
    parser.usage = "kubectl huiju dataset ACTION NAME... [flags]"
    add = parser.add_argument
    add("action", choices=tuple(ACTIONS), metavar="ACTION", help=", ".join(ACTIONS))
    add("names", metavar="NAME", nargs="+", help="data set or grant, as NAMESPACE/NAME or NAME")
    add("--purpose", metavar="WORD", default="unspecified", help="grant: what the data is for")
    add(
        "--center",
        metavar="NAME",
        action="append",
        help="grant: where it is used (default: all); replicate, verify, rm: where the copies lie",
    )
    add(
        "--version",
        metavar="NAME",
        help="publish: the new name, such as v4; replicate, export, verify, rm: version (default:"
        " latest; all)",
    )
    add("--include", metavar="GLOB", action="append", help="replicate: only these files")
    add("--exclude", metavar="GLOB", action="append", help="replicate: all but these files")
    add("--expires", metavar="DURATION", help="grant: how long it is asked for, such as 90d")
    add("--accept-license", metavar="SPDX", help="grant: the license that you have read")
    add("--reason", metavar="TEXT", default="", help="approve, deny, suspend, revoke: why")
    add(
        "--from", dest="origin", metavar="REMOTE:PATH", help="fetch: what rclone copies, and whence"
    )
    add("--source", metavar="FOLDER", help="fetch, publish: where the folder is on this machine")
    add("--channel", metavar="NAME", help="publish: a channel that is to mean the version")
    add("--license", metavar="SPDX", help="publish: license of the version, if not the share's")
    add("--derived-from", metavar="DIGEST", action="append", help="publish: what it is made from")
    add("--from-job", metavar="NAME", help="publish: the job, as NAMESPACE/NAME, that made it")
    add("--sign-key", metavar="FILE", help="publish: Ed25519 key in PEM form to sign with")
    add("--list", metavar="FILE", help="publish: paths on the web server, one a line")
    add("--out", metavar="FOLDER", help="publish: write the manifest here, not into the source")
    add("--follow-links", action="store_true", help="publish: read what symbolic links lead to")
    add("--part-size", metavar="MIB", type=_mebibytes, default=16, help="publish: MiB of a part")
    add("--parallel", metavar="N", type=_few, default=4, help="fetch, publish: files at once")
    add("--manifest", metavar="FILE", help="export, import: the version's list of files")
    add("--croissant", metavar="FILE", help="import: a description in JSON-LD")
    add("--dry-run", action="store_true", help="let the server check it; write nothing")


def _mebibytes(given: str) -> int:
    if not given.isdigit() or not 1 <= int(given) <= 256:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number of MiB from 1 to 256")
    return int(given)


def _few(given: str) -> int:
    if not given.isdigit() or not 1 <= int(given) <= 64:
        raise argparse.ArgumentTypeError(f"{given!r} is not a number from 1 to 64")
    return int(given)


def run(session: Session) -> int:
    """Do it for each name."""
    flags = session.flags
    if flags.reason and flags.action not in DECIDING:
        raise UsageError("--reason goes with approve, deny, suspend and revoke")
    if (flags.include or flags.exclude) and flags.action != "replicate":
        raise UsageError("--include and --exclude go with replicate")
    if flags.version and flags.action not in (*COPYING, "publish", *DESCRIBING):
        raise UsageError("--version goes with publish, replicate, verify, rm, export and import")
    if flags.manifest and flags.action not in DESCRIBING:
        raise UsageError("--manifest goes with export and import")
    if flags.croissant and flags.action != "import":
        raise UsageError("--croissant goes with import")
    if flags.origin and flags.action != "fetch":
        raise UsageError("--from goes with fetch")
    if flags.from_job and flags.action != "publish":
        raise UsageError("--from-job goes with publish")
    for name in flags.names:
        ACTIONS[flags.action](session, name)
    return OK
