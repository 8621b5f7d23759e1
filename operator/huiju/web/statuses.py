"""Errors as every Kubernetes client reads them: `metav1.Status` in JSON.

Decides the HTTP code of each error. Invariant: no answer of an error is anything but a Status.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

from huiju.kube.errors import ApiStatus, KubeError, Transient

log = logging.getLogger(__name__)
JSON: Final = "application/json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_REASONS: Final = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
}


class Refused(Exception):
    """Ends a request with a Status of this code; `retry_after` in seconds."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        retry_after: int | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry_after = retry_after
        self.details = details or {}


def document(body: Any, code: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=code, content_type=JSON)


def status(
    code: int,
    message: str,
    *,
    reason: str = "",
    retry_after: int | None = None,
    details: dict[str, Any] | None = None,
) -> web.Response:
    """A failure as a Status."""
    details = dict(details or {})
    headers = {}
    if retry_after is not None:
        details["retryAfterSeconds"] = retry_after
        headers["Retry-After"] = str(retry_after)
    body: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason or _REASONS.get(code, ""),
        "details": details,
        "code": code,
    }
    answer = document(body, code)
    answer.headers.update(headers)
    return answer


@web.middleware
async def as_status(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into a Status; what has begun to be sent is cut instead."""
    try:
        return await handler(request)
    except Refused as refused:
        return status(
            refused.code,
            refused.message,
            retry_after=refused.retry_after,
            details=refused.details,
        )
    except web.HTTPException as error:
        return status(error.status, error.text or error.reason)
    except KubeError as error:
        return _of_server(error)
    except Exception:
        # The last line of defense: a bug in an answer must not show its inside to the caller.
        log.exception("view API failed", extra={"path": request.path})
        return status(500, "internal error; see the hub's log")


def _of_server(error: KubeError) -> web.Response:
    match error:
        case ApiStatus(code=401 | 403):
            # The hub's own credential was refused, not the caller's.
            return status(503, f"the hub may not do this: {error.message}", retry_after=5)
        case ApiStatus():
            return status(error.code, error.message, reason=error.reason, details=error.details)
        case Transient():
            return status(503, str(error), retry_after=int(error.retry_after or 1))
        case _:
            return status(500, str(error))
