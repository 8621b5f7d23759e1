"""How a command ends when it does not succeed: its exit code and one message with the cure.

Decides the wording for a person. Invariant: no traceback and no credential reaches the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from huiju.kube.errors import ApiStatus, KubeError

OK: Final = 0
ERROR: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130


class Failure(Exception):
    """Ends the command with a message and an exit code."""

    def __init__(self, message: str, code: int = ERROR) -> None:
        super().__init__(message)
        self.code = code


class UsageError(Failure):
    """The command line asks for something that cannot be meant; exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(message, USAGE)


def explain(error: KubeError) -> str:
    """What went wrong with the API server, and what to do about it."""
    from huiju.kube.errors import ApiStatus, KubeconfigRefused, Transient, Untrusted

    match error:
        case KubeconfigRefused():
            return error.message
        case Untrusted():
            return (
                f"{error}; take certificate-authority-data and the address from the cluster's own"
                " kubeconfig"
            )
        case Transient(code=503) if "service unavailable" in str(error).lower():
            return f"{error}; the hub's view API does not answer: see `kubectl huiju check`"
        case Transient(code=429):
            return f"{error}; wait a little and try again"
        case Transient() if error.code:
            return f"{error}; try again, and see `kubectl huiju check` if it stays so"
        case Transient():
            return f"{error}; see `kubectl huiju check`, or name another cluster with --context"
        case ApiStatus():
            return _explain_status(error)
        case _:
            return str(error)


def _explain_status(error: ApiStatus) -> str:
    from huiju.kube.errors import Forbidden, NotFound, Unauthorized

    match error:
        case Unauthorized():
            return f"{error.message}: the server refuses the credential; log in again"
        case Forbidden():
            return f"{error.message}; ask a platform engineer for this permission"
        case NotFound() if not error.details.get("name"):
            return (
                "the server does not know this kind: Huiju is not installed there, or its view API"
                " is not registered; `kubectl huiju check` says which"
            )
        case _:
            return error.message
