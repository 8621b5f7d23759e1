"""What can be made to happen to requests, and to which.

Decides which requests a rule concerns; `proxy.py` lets it happen. Invariant: a rule counts what it
did, so that a storm knows what it injected.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

_PATH: Final = re.compile(
    r"/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+(?=/))?/(?P<plural>[^/]+)"
    r"(?:/(?P<name>[^/]+)(?:/(?P<sub>.+))?)?$"
)


class Fault(StrEnum):
    """What can happen to a request."""

    DELAY = "delay"
    """It waits for `seconds`, then passes."""
    ANSWER = "answer"
    """The proxy answers with status `code`; the server never sees it."""
    DROP = "drop"
    """The connection breaks; the server never sees it."""
    HANG = "hang"
    """No answer, ever; the server never sees it."""
    LOSE = "lose"
    """The server does it, then the connection breaks before the answer."""
    TWICE = "twice"
    """The server gets it twice; the client sees the second answer."""
    CUT = "cut"
    """The answer breaks off after `size` bytes."""
    STALL = "stall"
    """The answer falls silent after `size` bytes, the connection stays."""
    SLOW = "slow"
    """The answer comes in small pieces, each chunk of it taking `seconds`."""
    REPEAT = "repeat"
    """One event of a watch comes twice, after `size` others."""
    REORDER = "reorder"
    """Two events of a watch change places, after `size` others; a lone one is late."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule sees of a request."""

    verb: str
    """As Kubernetes says it: get, list, watch, create, update, patch, delete, deletecollection."""
    resource: str
    """Plural name, with subresource: `pods`, `jobs/status`; empty for other paths."""
    path: str


@dataclass(slots=True)
class Rule:
    """Which requests a fault concerns: by verb, path, chance and number."""

    fault: Fault
    verbs: frozenset[str] = frozenset()
    """Empty means all."""
    path: str = ""
    """A regular expression, found anywhere in path and query."""
    probability: float = 1.0
    count: int | None = None
    """How often at most; None means for ever."""
    skip: int = 0
    """So many fitting requests pass first."""
    seconds: float = 0.0
    code: int = 503
    retry_after: int | None = None
    """Seconds that an answer asks to wait."""
    size: int = 0
    hits: int = field(default=0, init=False)
    """How often it happened."""

    def concerns(self, request: Request, chance: random.Random) -> bool:
        """Whether it happens to this request; counts."""
        if self.count is not None and self.hits >= self.count:
            return False
        if self.verbs and request.verb not in self.verbs:
            return False
        if not re.search(self.path, request.path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if chance.random() >= self.probability:
            return False
        self.hits += 1
        return True


def read_request(method: str, path: str) -> Request:
    """Name a request as the API server does."""
    bare, _, query = path.partition("?")
    found = _PATH.fullmatch(bare)
    if found is None:
        return Request(method.lower(), "", path)
    plural, name, sub = found["plural"], found["name"], found["sub"]
    watching = re.search(r"(?:^|&)watch=(?:1|true)(?:&|$)", query) is not None
    match method:
        case "GET" | "HEAD":
            verb = "watch" if watching else "get" if name else "list"
        case "POST":
            verb = "create"
        case "PUT":
            verb = "update"
        case "DELETE":
            verb = "delete" if name else "deletecollection"
        case _:
            verb = method.lower()
    return Request(verb, f"{plural}/{sub}" if sub else plural, path)
