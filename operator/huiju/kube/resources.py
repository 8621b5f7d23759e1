"""Where each kind lives in an API server's URL space.

Decides paths only. Invariant: a name from outside can never leave its place in the path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

_PLAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?").fullmatch
_HUIJU: Final = ("huiju.dev", "v1alpha1")


def _segment(name: str) -> str:
    """Quote one path segment; names that mean a directory are refused with ValueError."""
    if _PLAIN(name):
        return name
    if name in ("", ".", ".."):
        raise ValueError(f"not a name of an object: {name!r}")
    return quote(name, safe="")


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as an API server serves it, by its plural name."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    _base: str = field(init=False, repr=False, compare=False, default="")

    def __post_init__(self) -> None:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        object.__setattr__(self, "_base", root)

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """URL path of the collection, of one object, or of its subresource.

        A namespaced kind without a namespace means all namespaces (lists and watches only).
        """
        path = self._base
        if namespace is not None and self.namespaced:
            path = f"{path}/namespaces/{_segment(namespace)}"
        path = f"{path}/{self.plural}"
        if name is not None:
            path = f"{path}/{_segment(name)}"
        return f"{path}/{subresource}" if subresource else path


NODES: Final = Resource("", "v1", "nodes", "Node", False)
PODS: Final = Resource("", "v1", "pods", "Pod", True)
NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", False)
SECRETS: Final = Resource("", "v1", "secrets", "Secret", True)
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap", True)
SERVICES: Final = Resource("", "v1", "services", "Service", True)
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount", True)
PERSISTENT_VOLUME_CLAIMS: Final = Resource(
    "", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True
)
EVENTS: Final = Resource("events.k8s.io", "v1", "events", "Event", True)
CORE_EVENTS: Final = Resource("", "v1", "events", "Event", True)
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True)
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease", True)
JOBS: Final = Resource("batch", "v1", "jobs", "Job", True)
RESOURCE_SLICES: Final = Resource("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", False)
RESOURCE_CLAIMS: Final = Resource("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", True)
RESOURCE_CLAIM_TEMPLATES: Final = Resource(
    "resource.k8s.io", "v1", "resourceclaimtemplates", "ResourceClaimTemplate", True
)
DEVICE_CLASSES: Final = Resource("resource.k8s.io", "v1", "deviceclasses", "DeviceClass", False)
PRIORITY_CLASSES: Final = Resource(
    "scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False
)
ROLES: Final = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role", True)
ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", True
)
CLUSTER_ROLES: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False
)
CLUSTER_ROLE_BINDINGS: Final = Resource(
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False
)
SUBJECT_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", False
)
SELF_SUBJECT_REVIEWS: Final = Resource(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", False
)
SELF_SUBJECT_ACCESS_REVIEWS: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False
)
RESOURCE_QUOTAS: Final = Resource("", "v1", "resourcequotas", "ResourceQuota", True)
CRDS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False
)
API_SERVICES: Final = Resource("apiregistration.k8s.io", "v1", "apiservices", "APIService", False)
COMPUTE_CENTERS: Final = Resource(*_HUIJU, "computecenters", "ComputeCenter", False)
COMPUTE_QUEUES: Final = Resource(*_HUIJU, "computequeues", "ComputeQueue", False)
CROSS_REGION_JOBS: Final = Resource(*_HUIJU, "crossregionjobs", "CrossRegionJob", True)
DATASET_SHARES: Final = Resource(*_HUIJU, "datasetshares", "DatasetShare", True)
DATASET_GRANTS: Final = Resource(*_HUIJU, "datasetgrants", "DatasetGrant", True)
DATASET_REPLICAS: Final = Resource(*_HUIJU, "datasetreplicas", "DatasetReplica", True)
MODEL_SHARES: Final = Resource(*_HUIJU, "modelshares", "ModelShare", True)
CENTER_WORKS: Final = Resource(*_HUIJU, "centerworks", "CenterWork", True)
CENTER_INVENTORIES: Final = Resource(*_HUIJU, "centerinventories", "CenterInventory", True)
CENTER_COPIES: Final = Resource(*_HUIJU, "centercopies", "CenterCopy", True)
CENTER_SERVINGS: Final = Resource(*_HUIJU, "centerservings", "CenterServing", True)
