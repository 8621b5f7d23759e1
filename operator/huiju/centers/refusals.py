"""The two ways in which a job's way into a center ends early, told apart by whose matter it is.

Decides what an API server's refusal means. Invariants: `RenderRefused` is about the job wherever
it would run, `DispatchRefused` about one center; neither message carries the contents of a Secret.
"""

from __future__ import annotations

from typing import Final

from huiju.api.reasons import Reason
from huiju.kube.errors import ApiStatus, BadRequest, Forbidden, Invalid, KubeError

_SHOWN: Final = 5
_POLICY: Final = ("denied the request", "denied request")
"""How admission webhooks and ValidatingAdmissionPolicies begin, whatever code they answer with."""


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


def template_refusal(error: ApiStatus) -> RenderRefused | None:
    """What a dry run's refusal says against the job's template; None if it is the center's own."""
    by_policy = any(words in error.message for words in _POLICY)
    if by_policy or not isinstance(error, BadRequest | Invalid):
        return None
    causes = error.details.get("causes") or []
    told = [f"{cause.get('field')}: {cause.get('message')}" for cause in causes[:_SHOWN]]
    if len(causes) > _SHOWN:
        told.append(f"and {len(causes) - _SHOWN} more")
    return RenderRefused(Reason.INVALID_TEMPLATE, "; ".join(told) or error.message)


def dispatch_refusal(error: ApiStatus, center: str, kind: str, name: str) -> DispatchRefused:
    """What a center's refusal to create an object means for the placement."""
    # What a server or a webhook says of a Secret may quote it.
    words = (error.reason or str(error.code)) if kind == "Secret" else error.message
    reason = Reason.DISPATCH_REFUSED
    if isinstance(error, Forbidden) and "exceeded quota" in error.message:
        reason = Reason.QUOTA_EXCEEDED
    return DispatchRefused(reason, f"Center {center} refused {kind} {name}: {words}")


def foreign_object(center: str, kind: str, name: str, owner: str) -> DispatchRefused:
    """The name is taken by an object that this epoch of the job did not make."""
    whose = f"belongs to {owner}" if owner else "was not made by Huiju"
    return DispatchRefused(
        Reason.FOREIGN_OBJECT,
        f"Center {center} already has a {kind} {name} that {whose}; it was left alone.",
    )
