"""The two ways in which a job's way into a center ends early, told apart by whose matter it is.

Decides nothing. Invariant: `RenderRefused` is about the job wherever it would run,
`DispatchRefused` about one center; neither message carries the contents of a Secret.
"""

from __future__ import annotations

from huiju.api.reasons import Reason
from huiju.kube.errors import KubeError


class RenderRefused(Exception):
    """The job cannot be run as it is written; `message` names the field and the cure."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class DispatchRefused(KubeError):
    """One center does not take the job; another may."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
