"""`huiju prepare`: the last step before the main containers of a pod start.

Waits for the lease where the pod is guarded (other steps may have taken longer than it lasted), and
finds the checkpoint that this attempt goes on from. Decides which checkpoint is the last complete
one. Invariants: nothing is written where checkpoints are; a folder without its marker is never
chosen, nor one of this epoch or a later one; what cannot be read ends the step with its name, since
starting from nothing would silently lose work.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Final

from huiju.guard.terms import PrepareTerms, TermsRefused, read_prepare_terms
from huiju.guard.wire import WireError, get

_EPOCH_FOLDER: Final = re.compile(r"e([1-9][0-9]{0,8})")
_DIGITS: Final = re.compile(r"([0-9]+)")
_PAUSE: Final = 1.0
_QUESTION: Final = 3.0


def last_complete(attempts: str, epoch: int, marker: str) -> str | None:
    """The newest complete checkpoint of the newest earlier epoch that has one.

    An epoch's folder `e<number>` is a checkpoint if it holds the marker, and so is each folder in
    it. Among those of one epoch the marker written last decides; what was written in the same
    instant goes by its name, `step-10` after `step-9`.

    Raises:
        OSError: a folder cannot be read.
    """
    for _, folder in sorted(_earlier(attempts, epoch), reverse=True):
        found = list(_candidates(folder, marker))
        if found:
            return max(found)[2]
    return None


def _earlier(attempts: str, epoch: int) -> Iterator[tuple[int, str]]:
    try:
        entries = list(os.scandir(attempts))
    except FileNotFoundError:
        return  # no attempt has saved anything yet
    for entry in entries:
        match = _EPOCH_FOLDER.fullmatch(entry.name)
        if match and int(match[1]) < epoch and entry.is_dir(follow_symlinks=False):
            yield int(match[1]), entry.path


def _candidates(folder: str, marker: str) -> Iterator[tuple[int, list[Any], str]]:
    inside = [one.path for one in os.scandir(folder) if one.is_dir(follow_symlinks=False)]
    for path in (folder, *inside):
        try:
            written = os.stat(os.path.join(path, marker), follow_symlinks=False).st_mtime_ns
        except FileNotFoundError:
            continue  # not complete, or removed to make room
        yield written, _natural(path), path


def _natural(path: str) -> list[Any]:
    """Numbers in a name by their value."""
    parts = _DIGITS.split(path)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def main(environment: Mapping[str, str] | None = None) -> int:
    """Do the step; returns its exit code."""
    # The first process of a container is not ended by a signal that it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        terms = read_prepare_terms(os.environ if environment is None else environment)
    except TermsRefused as refusal:
        _say(str(refusal))
        return 2
    if terms.gate is not None:
        _wait(terms)
    if not terms.attempts:
        return 0
    try:
        found = last_complete(terms.attempts, terms.epoch, terms.marker)
        if found is not None:
            _point(terms.resume, found)
    except OSError as error:
        _say(f"cannot look for checkpoints: {error}")
        return 1
    _say(f"goes on from {found}" if found else "no earlier attempt left a complete checkpoint")
    return 0


def _wait(terms: PrepareTerms) -> None:
    """Until the guard sees the lease valid."""
    said = ""
    while True:
        why = _closed(terms)
        if not why:
            return
        if why != said:
            _say(f"waits: {why}")
            said = why
        threading.Event().wait(_PAUSE)


def _closed(terms: PrepareTerms) -> str:
    gate = terms.gate
    if gate is None:
        return ""
    try:
        status, body = get(gate.host, gate.port, gate.path, _QUESTION)
    except WireError as error:
        return str(error)
    return "" if status == 200 else body.decode(errors="replace")


def _point(link: str, target: str) -> None:
    """Let `link` lead to the checkpoint; a step that is done again finds its own."""
    made = f"{link}.new"
    try:
        os.symlink(target, made)
    except FileExistsError:
        os.unlink(made)
        os.symlink(target, made)
    os.replace(made, link)


def _say(words: str) -> None:
    print(f"huiju prepare: {words}", file=sys.stderr, flush=True)
