"""What can go wrong in talking to an API server, told apart by what the caller should do.

`Transient` is worth another try later; `ApiStatus` is the server's considered answer. Invariant:
no message carries a credential.
"""

from __future__ import annotations

from typing import Any

import msgspec


class KubeError(Exception):
    """Base of everything this package raises on purpose."""


class Transient(KubeError):
    """Nothing is wrong with the request: try again later.

    Connections refused, cut or silent, deadlines, 5xx and 429. `retry_after` is the server's wish
    in seconds; `code` the HTTP status, 0 if none came. A write may have been done all the same.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, code: int = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.code = code


class Untrusted(Transient):
    """The server's certificate is not signed by the given CA or names another host.

    Transient, since the owner can cure it on the server's side; it is never ignored.
    """


class Unreadable(Transient):
    """The answer is not JSON or not of the type asked for; often a proxy speaks for the server."""


class TooLarge(Transient):
    """The answer is longer than this client takes, so that no server can fill its memory."""


class TooMany(KubeError):
    """A collection holds more objects than this client keeps, so that no server can fill its
    memory page by page or event by event."""


class Silent(Transient):
    """A watch said nothing for too long: perhaps a quiet collection, perhaps a dead connection."""


class KubeconfigRefused(KubeError):
    """A kubeconfig that must not be used; `message` names the field and the cure.

    `reason` is a stable CamelCase word, such as `ExecNotAllowed`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class ApiStatus(KubeError):
    """The server refused: its `code`, `reason`, `message` and `details` as it gave them."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{reason or code}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details


class BadRequest(ApiStatus):
    """400: the server could not read the request."""


class Unauthorized(ApiStatus):
    """401, also after the credentials were read again."""


class Forbidden(ApiStatus):
    """403: RBAC, quota or admission says no."""


class NotFound(ApiStatus):
    """404: no such object, or no such kind on this server."""


class Conflict(ApiStatus):
    """409: a precondition (resourceVersion, UID, field owner) does not hold."""


class AlreadyExists(ApiStatus):
    """409 on create: an object of that name is there."""


class Gone(ApiStatus):
    """410: the resourceVersion or continue token is older than what the server keeps."""


class Invalid(ApiStatus):
    """422: the object breaks the schema or a validation rule."""


class _Status(msgspec.Struct):
    """The fields of a `v1.Status` that we use."""

    message: str = ""
    reason: str = ""
    code: int = 0
    details: dict[str, Any] | None = None


_STATUS = msgspec.json.Decoder(_Status)
_BY_CODE: dict[int, type[ApiStatus]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
}
_EXCERPT = 300


def error_of(code: int, body: bytes, retry_after: str | None = None) -> KubeError:
    """Turn an error answer into the exception to raise; `code` 0 means: read it from the body."""
    try:
        status = _STATUS.decode(body)
    except msgspec.MsgspecError:
        # A proxy or load balancer answered, not the API server.
        status = _Status(message=body[:_EXCERPT].decode("utf-8", "replace").strip())
    code = code or status.code
    message = status.message or f"HTTP {code}"
    if code in (408, 429) or code >= 500 or code < 400:
        return Transient(message, retry_after=_seconds(retry_after, status), code=code)
    family = _BY_CODE.get(code, ApiStatus)
    if code == 409 and status.reason == "AlreadyExists":
        family = AlreadyExists
    if code == 422 and _another_object(status):
        family = Conflict
    return family(code, status.reason, message, status.details or {})


def _another_object(status: _Status) -> bool:
    """Whether a patch carried the UID of another object, which the server calls invalid."""
    causes = (status.details or {}).get("causes")
    return isinstance(causes, list) and any(
        isinstance(cause, dict) and cause.get("field") == "metadata.uid" for cause in causes
    )


def _seconds(header: str | None, status: _Status) -> float | None:
    """Read Retry-After in seconds, from the header or else from the Status."""
    if header is not None and header.isdecimal():
        return float(header)
    wish = (status.details or {}).get("retryAfterSeconds")
    return float(wish) if isinstance(wish, int) and wish > 0 else None


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group of errors, groups of groups taken apart."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
