"""Candidates for a word that is being typed, in the form that kubectl's completion reads.

Decides what may stand at the cursor. Invariants: verbs and flags come without asking any server;
names get a second, and trouble of any kind gives no candidates instead of a message.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from huiju.cli.failures import OK, Failure
from huiju.cli.main import build_parser
from huiju.cli.verbs import VERBS

if TYPE_CHECKING:
    from huiju.kube.resources import Resource

FILES: Final = 0
NO_FILES: Final = 4
_PATIENCE: Final = 1.0
_NOUNS: Final = {
    "jobs": "jobs",
    "why": "jobs",
    "logs": "jobs",
    "cancel": "jobs",
    "suspend": "jobs",
    "resume": "jobs",
    "move": "jobs",
    "failover": "jobs",
    "centers": "centers",
    "cordon": "centers",
    "uncordon": "centers",
    "drain": "centers",
    "declare-dead": "centers",
    "approve": "centers",
    "revoke": "centers",
    "queues": "queues",
}
_VALUES: Final = {
    "namespace": "namespaces",
    "context": "contexts",
    "center_context": "contexts",
    "queue": "queues",
    "center": "centers",
    "cordon": "centers",
}
_PATHS: Final = {"kubeconfig", "center_kubeconfig", "filename"}
Candidate = tuple[str, str]


def run_complete(words: Sequence[str]) -> int:
    """Print candidates for the last of `words`, one a line, then a directive."""
    found, directive = candidates(list(words) or [""])
    for value, help in found:
        sys.stdout.write(f"{value}\t{help}\n" if help else f"{value}\n")
    sys.stdout.write(f":{directive}\n")
    return OK


def candidates(words: list[str]) -> tuple[list[Candidate], int]:
    """Candidates that begin like the last word, each with its help, and whether files may do."""
    *before, word = words
    if "--" in before:
        return [], FILES
    verb = next((w for w in _without_values(before) if w in VERBS), None)
    actions = _actions(verb)
    if before and before[-1].startswith("-"):
        action = actions.get(before[-1])
        if action is not None and action.nargs != 0 and before[-1] != "--dry-run":
            return _values(action, word, before)
    flag, equals, part = word.partition("=")
    if equals and flag in actions:
        found, directive = _values(actions[flag], part, before)
        return [(f"{flag}={value}", help) for value, help in found], directive
    if word.startswith("-"):
        return _like(word, ((n, a.help or "") for n, a in actions.items())), NO_FILES
    if verb is None:
        return _like(word, ((n, e.help) for n, e in VERBS.items())), NO_FILES
    if verb == "completion":
        return _like(word, ((s, "") for s in ("bash", "zsh", "fish"))), NO_FILES
    return _like(word, _names(_NOUNS.get(verb, ""), before)), NO_FILES


def _actions(verb: str | None) -> dict[str, argparse.Action]:
    """The flags that may stand at the cursor, by each spelling."""
    parser = build_parser([verb] if verb else [])
    if verb is not None:
        choices = next(
            a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)
        )
        parser = choices[verb]
    return {name: action for action in parser._actions for name in action.option_strings}


def _without_values(words: list[str]) -> list[str]:
    """Words that are no flags and no values of the flags that every verb has."""
    takes = {n for n, action in _actions(None).items() if action.nargs != 0}
    return [
        word
        for index, word in enumerate(words)
        if not word.startswith("-") and (index == 0 or words[index - 1] not in takes)
    ]


def _values(action: argparse.Action, word: str, before: list[str]) -> tuple[list[Candidate], int]:
    if action.choices:
        return _like(word, ((str(c), "") for c in action.choices)), NO_FILES
    if action.dest in _PATHS:
        return [], FILES
    return _like(word, _names(_VALUES.get(action.dest, ""), before)), NO_FILES


def _like(word: str, found: Iterable[Candidate]) -> list[Candidate]:
    return [(value, help) for value, help in found if value.startswith(word)]


def _names(noun: str, before: list[str]) -> list[Candidate]:
    """Names of contexts or of objects on the hub."""
    if not noun:
        return []
    from huiju.kube.errors import KubeError

    flags = _flags(before)
    try:
        if noun == "contexts":
            return [(name, "") for name in _contexts(getattr(flags, "kubeconfig", None))]
        return [(name, "") for name in _objects(noun, flags)]
    except (KubeError, Failure, OSError):
        return []


def _flags(before: list[str]) -> argparse.Namespace:
    """The cluster flags typed so far; the rest of the line need not be complete."""
    from huiju.cli.session import add_cluster_flags

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    add_cluster_flags(parser)
    for typed in (before, before[:-1]):  # the last may be a flag whose value is being typed
        with suppress(argparse.ArgumentError):
            return parser.parse_known_args(typed)[0]
    return argparse.Namespace()


def _contexts(path: str | None) -> list[str]:
    from huiju.kube.kubefile import files_of, parse

    known = [parse(file.read_bytes(), str(file)) for file in files_of(path)]
    return sorted({c.name for file in known for c in file.contexts or []})


def _objects(noun: str, flags: argparse.Namespace) -> list[str]:
    from huiju.cli.session import Session
    from huiju.kube import resources

    flags.request_timeout = _PATIENCE
    session = Session(flags)
    kinds: dict[str, Resource] = {
        "jobs": resources.CROSS_REGION_JOBS,
        "centers": resources.COMPUTE_CENTERS,
        "queues": resources.COMPUTE_QUEUES,
        "namespaces": resources.NAMESPACES,
    }
    res = kinds[noun]
    namespace = session.namespace if res.namespaced else None
    return [item["metadata"]["name"] for item in session.api.list(res, namespace)[0]]
