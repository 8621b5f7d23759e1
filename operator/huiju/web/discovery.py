"""What the view API says of itself: groups, versions, resources, an OpenAPI without schemas.

Static documents. Invariant: everything that is served is listed, so that RBAC rules can name it.
"""

from __future__ import annotations

from typing import Any, Final

GROUP: Final = "view.huiju.dev"
VERSION: Final = "v1alpha1"
GROUP_VERSION: Final = f"{GROUP}/{VERSION}"

_VERSIONS: Final = {"groupVersion": GROUP_VERSION, "version": VERSION}


def _resource(name: str, kind: str, verb: str, *, namespaced: bool = True) -> dict[str, Any]:
    names = {"name": name, "singularName": "", "namespaced": namespaced}
    return {**names, "kind": kind, "verbs": [verb]}


API_GROUP: Final = {
    "kind": "APIGroup",
    "apiVersion": "v1",
    "name": GROUP,
    "versions": [_VERSIONS],
    "preferredVersion": _VERSIONS,
}
API_GROUP_LIST: Final = {"kind": "APIGroupList", "apiVersion": "v1", "groups": [API_GROUP]}
API_RESOURCE_LIST: Final = {
    "kind": "APIResourceList",
    "apiVersion": "v1",
    "groupVersion": GROUP_VERSION,
    "resources": [
        _resource("crossregionjobs/why", "Explanation", "get"),
        _resource("crossregionjobs/log", "Log", "get"),
        _resource("crossregionjobs/logs", "Log", "get"),
        _resource("whatif", "Explanation", "create"),
        _resource("datasets", "DatasetList", "list"),
        _resource("computecenters/cordon", "CordonEffect", "get", namespaced=False),
    ],
}
OPENAPI_V2: Final = {
    "swagger": "2.0",
    "info": {"title": "Huiju view API", "version": VERSION},
    "paths": {},
}
OPENAPI_V3: Final[dict[str, Any]] = {"paths": {}}
DOCUMENTS: Final[dict[str, Any]] = {
    "/apis": API_GROUP_LIST,
    f"/apis/{GROUP}": API_GROUP,
    f"/apis/{GROUP_VERSION}": API_RESOURCE_LIST,
    "/openapi/v2": OPENAPI_V2,
    "/openapi/v3": OPENAPI_V3,
}
