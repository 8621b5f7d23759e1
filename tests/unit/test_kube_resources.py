"""Paths, errors and preconditions: the parts of a call that need no server."""

from __future__ import annotations

import pytest

from huiju.kube import errors
from huiju.kube.client import preconditions
from huiju.kube.resources import CLUSTER_ROLES, CROSS_REGION_JOBS, NODES, PODS


def test_paths() -> None:
    assert NODES.path() == "/api/v1/nodes"
    assert NODES.path("ignored", "n1", "status") == "/api/v1/nodes/n1/status"
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns", "p", "log") == "/api/v1/namespaces/ns/pods/p/log"
    assert CROSS_REGION_JOBS.path("a", "b") == (
        "/apis/huiju.dev/v1alpha1/namespaces/a/crossregionjobs/b"
    )
    assert CROSS_REGION_JOBS.api_version == "huiju.dev/v1alpha1"
    assert NODES.api_version == "v1"


def test_a_name_cannot_leave_its_place() -> None:
    assert CLUSTER_ROLES.path(name="system:node").endswith("/clusterroles/system%3Anode")
    assert PODS.path("ns", "../../secrets/x") == "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%2Fx"
    assert PODS.path("ns", "p?watch=1") == "/api/v1/namespaces/ns/pods/p%3Fwatch%3D1"
    for name in ("", ".", ".."):
        with pytest.raises(ValueError, match="not a name"):
            PODS.path("ns", name)
        with pytest.raises(ValueError, match="not a name"):
            PODS.path(name, "p")


def body(code: int, reason: str, **details: object) -> bytes:
    import msgspec

    status = {"kind": "Status", "code": code, "reason": reason, "message": f"{reason} it is"}
    return msgspec.json.encode(status | {"details": details})


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (415, "UnsupportedMediaType", errors.ApiStatus),
    ],
)
def test_refusals(code: int, reason: str, kind: type[errors.ApiStatus]) -> None:
    error = errors.error_of(code, body(code, reason, name="x"))
    assert type(error) is kind
    assert isinstance(error, errors.ApiStatus)
    assert (error.code, error.reason, error.message) == (code, reason, f"{reason} it is")
    assert error.details == {"name": "x"}


def test_an_error_event_carries_its_own_code() -> None:
    assert isinstance(errors.error_of(0, body(410, "Expired")), errors.Gone)
    assert isinstance(errors.error_of(0, body(500, "InternalError")), errors.Transient)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
def test_failures_that_pass(code: int) -> None:
    error = errors.error_of(code, b"<html>gateway</html>")
    assert isinstance(error, errors.Transient)
    assert error.code == code
    assert "gateway" in str(error)


def test_the_servers_wish_to_wait() -> None:
    by_header = errors.error_of(429, b"", "7")
    by_body = errors.error_of(503, body(503, "ServiceUnavailable", retryAfterSeconds=3))
    neither = errors.error_of(503, b"{}", "Wed, 21 Oct 2026 07:28:00 GMT")
    waits = [
        e.retry_after for e in (by_header, by_body, neither) if isinstance(e, errors.Transient)
    ]
    assert waits == [7.0, 3.0, None]


def test_preconditions_leave_out_what_is_not_given() -> None:
    assert preconditions() == {}
    assert preconditions(uid="u") == {"uid": "u"}
    assert preconditions(uid="u", resource_version="4") == {"uid": "u", "resourceVersion": "4"}
