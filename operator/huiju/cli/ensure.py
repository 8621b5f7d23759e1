"""Making objects be as wanted: created if missing, changed only where they differ.

Decides what counts as a difference: fields that are wanted and absent or other; what others have
added stays. Invariant: with `dry` nothing is written.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from huiju.cli.api import Api
from huiju.cli.joining import Step

Fields = dict[str, Any]


class Outcome(StrEnum):
    """What became of one object."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "as wanted already"
    WOULD_CREATE = "would be created"
    WOULD_CHANGE = "would be changed"


def ensure(api: Api, step: Step, *, dry: bool) -> Outcome:
    """Have the step's object on the server; raises a KubeError."""
    from huiju.kube.errors import AlreadyExists, NotFound

    try:
        found = api.get(step.res, step.name, step.namespace)
    except NotFound:
        if dry:
            return Outcome.WOULD_CREATE
        try:
            api.create(step.res, step.body, step.namespace)
            return Outcome.CREATED
        except AlreadyExists:
            found = api.get(step.res, step.name, step.namespace)
    change = {} if step.keep else difference(step.body, found)
    if not change:
        return Outcome.UNCHANGED
    if dry:
        return Outcome.WOULD_CHANGE
    api.patch(step.res, step.name, change, step.namespace)
    return Outcome.CHANGED


def difference(wanted: Fields, found: Fields) -> Fields:
    """The merge patch that brings the wanted fields into what was found; lists count as a whole."""
    patch: Fields = {}
    for key, value in wanted.items():
        known = found.get(key)
        if isinstance(value, dict) and isinstance(known, dict):
            inner = difference(value, known)
            if inner:
                patch[key] = inner
        elif value != known:
            patch[key] = value
    return patch
