"""`kubectl huiju`: reads the command line, runs one verb, turns its end into an exit code.

Decides no verb's meaning. Invariants: 0 is success, 1 an error, 2 a wrong command line, 130
Ctrl-C; a person never sees a traceback for something that can go wrong in daily use.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from huiju.cli.failures import ERROR, INTERRUPTED, OK, Failure
from huiju.cli.session import Session, add_cluster_flags, plain
from huiju.cli.verbs import VERBS

PROGRAM = "kubectl huiju"
_DESCRIPTION = "Submit training jobs to a network of AI computing centers, and look after it."
_EPILOG = """\
exit codes: 0 success, 1 error (or, with --wait, a failed job), 2 wrong command line, 130 Ctrl-C
`kubectl huiju VERB --help` explains a verb and gives examples."""


def build_parser(configured: Sequence[str] | None = None) -> argparse.ArgumentParser:
    """The parser; only the verbs in `configured` (None: all) get their own arguments."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        allow_abbrev=False,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_cluster_flags(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, entry in VERBS.items():
        if configured is not None and name not in configured:
            verbs.add_parser(name, help=entry.help, add_help=False, allow_abbrev=False)
            continue
        sub = verbs.add_parser(
            name,
            help=entry.help,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.description = entry.help[0].upper() + entry.help[1:] + "."
        entry.load(name).configure(sub)
        add_cluster_flags(sub)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except SystemExit as leaving:  # argparse has said what is wrong
        return leaving.code if isinstance(leaving.code, int) else ERROR
    except KeyboardInterrupt:
        _drop_output()
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return OK
    except Failure as failure:
        return _complain(str(failure), failure.code)
    except Exception as error:
        from huiju.cli.failures import explain
        from huiju.kube.errors import KubeError

        if not isinstance(error, KubeError):
            raise
        return _complain(explain(error), ERROR)


def complete_main() -> int:
    """`kubectl_complete-huiju`: kubectl's own completion asks this program for candidates."""
    return main(["__complete", *sys.argv[1:]])


def _run(words: list[str]) -> int:
    if words[:1] == ["__complete"]:
        from huiju.cli.complete import run_complete

        return run_complete(words[1:])
    before, after = words, []
    if "--" in words:
        cut = words.index("--")
        before, after = words[:cut], words[cut + 1 :]
    parser = build_parser(before)
    flags = parser.parse_args(before)
    if flags.verb is None:
        parser.print_help()
        return OK
    if "--" in words and flags.verb not in ("submit", "whatif"):
        parser.error(f"{flags.verb} takes no words after --")
    flags.tail_words = after
    code = VERBS[flags.verb].load(flags.verb).run(Session(flags))
    sys.stdout.flush()
    return code


def _complain(message: str, code: int) -> int:
    try:
        sys.stdout.flush()
        sys.stderr.write(f"error: {plain(message)}\n")
    except BrokenPipeError:
        _drop_output()
    return code


def _drop_output() -> None:
    """Let Python's own flush at exit find a place to write to."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
