"""The center's own admission policies against whoever acts for the federation, as data.

Decides what the API server of a center refuses the accounts of hub and agent, whatever these
believe to be allowed. One policy holds always; the other takes the owner's ConfigMap, which the
agent reads too, as its parameter. What the agent makes for itself in its own namespace, its Secrets
and the pods that carry data sets, has rules of its own. Invariants: nobody but these accounts is
ever concerned, also where the ConfigMap is missing; only objects that carry the federation's labels
can be changed or deleted; an empty word between commas allows nothing.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.centers.agentrole import ACCOUNT, CREDENTIAL, GATEWAY, POLICY, PULLER
from huiju.centers.hostaccess import CAPABILITIES
from huiju.centers.names import LABEL_HUB
from huiju.centers.role import ACCOUNT as HUB_ACCOUNT
from huiju.centers.role import PART_OF

NAME: Final = "huiju-federation"
OWNERS_NAME: Final = "huiju-owner"
_KEYS: Final = {
    "kinds": "kinds",
    "accounts": "serviceAccounts",
    "images": "imagePrefixes",
    "ranks": "priorityClasses",
    "paths": "hostPaths",
    "places": "centerNamespaces",
}
_POD: Final = "variables.pod"
_CONTAINERS: Final = "(variables.pod.containers + variables.pod.?initContainers.orValue([]))"
_JOB: Final = "request.resource.resource != 'jobs' || request.operation != 'CREATE' || "

Validation = tuple[str, str]
"""An expression, and what is said where it does not hold."""

ALWAYS: Final[tuple[Validation, ...]] = (
    (
        "variables.puller || request.operation == 'CREATE' ||"
        f" '{LABEL_HUB}' in oldObject.metadata.?labels.orValue({{}})",
        "the federation may change and delete only what it made",
    ),
    (
        "variables.puller || request.operation == 'DELETE' ||"
        f" '{LABEL_HUB}' in object.metadata.?labels.orValue({{}})",
        f"what the federation makes carries the label {LABEL_HUB}",
    ),
    (
        "request.resource.resource != 'namespaces' || (object.metadata.name.startsWith('huiju-') &&"
        " !object.metadata.?labels.orValue({}).exists(l,"
        " l.startsWith('pod-security.kubernetes.io/')))",
        "namespaces of the federation begin with huiju- and set no Pod Security level",
    ),
    (
        f"{_JOB}!({_POD}.?hostNetwork.orValue(false) || {_POD}.?hostPID.orValue(false) ||"
        f" {_POD}.?hostIPC.orValue(false))",
        "pods of the federation do not share the node's network, processes or memory",
    ),
    (
        f"{_JOB}!has({_POD}.nodeName) || {_POD}.nodeName == ''",
        "pods of the federation do not choose a node by name",
    ),
    (
        f"{_JOB}!{_CONTAINERS}.exists(c, c.?securityContext.?privileged.orValue(false))",
        "containers of the federation are not privileged",
    ),
    (
        f"{_JOB}!{_CONTAINERS}.exists(c,"
        " c.?securityContext.?capabilities.?add.orValue([]).exists(a, !(a in"
        f" {list(CAPABILITIES)})) || c.?securityContext.?procMount.orValue('Default') != 'Default'"
        " || c.?securityContext.?windowsOptions.?hostProcess.orValue(false) ||"
        " c.?ports.orValue([]).exists(p, p.?hostPort.orValue(0) != 0)) &&"
        f" !{_POD}.?securityContext.?windowsOptions.?hostProcess.orValue(false)",
        "containers of the federation have no ports, processes or kernel rights of the node",
    ),
)

OWNERS: Final[tuple[Validation, ...]] = (
    (
        "request.resource.resource == 'namespaces' || request.operation != 'CREATE' ||"
        f" request.namespace in variables.places || (request.namespace.startsWith('huiju-') &&"
        f" '{LABEL_HUB}' in namespaceObject.metadata.?labels.orValue({{}}))",
        "the federation works in namespaces that it made, and in those that centerNamespaces names",
    ),
    (
        "request.resource.resource == 'namespaces' || request.operation != 'CREATE' ||"
        " size(variables.kinds) == 0 || request.kind.kind in variables.kinds",
        "this kind is not in kinds",
    ),
    (
        f"{_JOB}size(variables.accounts) == 0 ||"
        f" {_POD}.?serviceAccountName.orValue('default') in variables.accounts",
        "the service account is not in serviceAccounts",
    ),
    (
        f"{_JOB}size(variables.images) == 0 || {_CONTAINERS}.all(c,"
        " variables.images.exists(p, c.image.startsWith(p)))",
        "an image begins with none of imagePrefixes",
    ),
    (
        f"{_JOB}size(variables.images) == 0 || !{_POD}.?volumes.orValue([]).exists(v,"
        " has(v.image) && !variables.images.exists(p, v.image.reference.startsWith(p)))",
        "an image volume begins with none of imagePrefixes",
    ),
    (
        f"{_JOB}size(variables.ranks) == 0 ||"
        f" {_POD}.?priorityClassName.orValue('') in variables.ranks",
        "the priority class is not in priorityClasses",
    ),
    (
        f"{_JOB}!{_POD}.?volumes.orValue([]).exists(v, has(v.hostPath) &&"
        " ('..' in v.hostPath.path.split('/') || !variables.paths.exists(p,"
        " v.hostPath.path == p || v.hostPath.path.startsWith(p.endsWith('/') ? p : p + '/'))))",
        "a host path lies below none of hostPaths",
    ),
)


def objects(namespace: str, store: str = "") -> tuple[dict[str, Any], ...]:
    """Both policies with their bindings, for the accounts and the ConfigMap in `namespace`.

    `store` is the folder of the nodes that copies of data sets lie in; empty is none.
    """
    words = [{"name": name, "expression": _words(key)} for name, key in _KEYS.items()]
    # "Allow" only where the owner has taken the ConfigMap away: "Deny" would then refuse everybody
    # in the cluster, before it is asked who they are. The agent lets nothing in without it.
    param = {"name": POLICY, "namespace": namespace, "parameterNotFoundAction": "Allow"}
    owners = _policy(OWNERS_NAME, namespace, OWNERS, words)
    # The owner said by the store, and by the chart's image, what may be carried by whom.
    owners["spec"]["matchConditions"].append(
        {"name": "not-a-puller", "expression": f"!({_puller(namespace)})"}
    )
    owners["spec"]["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    return (
        _policy(
            NAME,
            namespace,
            (*ALWAYS, _pullers_mount(store)),
            [{"name": "puller", "expression": _puller(namespace)}],
        ),
        _binding(NAME, {}),
        owners,
        _binding(OWNERS_NAME, {"paramRef": param}),
    )


_NAME_OF_IT: Final = "(request.operation == 'DELETE' ? oldObject : object).metadata.name"


def _by_agent(namespace: str) -> str:
    """The agent, in its own namespace, where it works for itself."""
    return (
        f"request.userInfo.username == 'system:serviceaccount:{namespace}:{ACCOUNT}' &&"
        f" request.namespace == '{namespace}'"
    )


def _puller(namespace: str) -> str:
    """A Job that carries data sets."""
    return (
        f"{_by_agent(namespace)} && request.resource.resource == 'jobs' &&"
        f" {_NAME_OF_IT}.startsWith('{PULLER}')"
    )


def _pullers_mount(store: str) -> Validation:
    return (
        f"!variables.puller || request.operation == 'DELETE' ||"
        f" ({_POD}.?automountServiceAccountToken.orValue(true) == false &&"
        f" {_POD}.?volumes.orValue([]).all(v, !has(v.hostPath) || v.hostPath.path == '{store}'))",
        "pods that carry data sets have no token, and of the node's folders the store alone",
    )


def _policy(
    name: str, namespace: str, validations: tuple[Validation, ...], words: list[dict[str, str]]
) -> dict[str, Any]:
    who = ", ".join(f"'system:serviceaccount:{namespace}:{one}'" for one in (ACCOUNT, HUB_ACCOUNT))
    own = (
        f"{_by_agent(namespace)} && request.resource.resource == 'secrets' &&"
        f" ((request.operation == 'CREATE' && object.metadata.name in ['{CREDENTIAL}',"
        f" '{GATEWAY}']) || {_NAME_OF_IT}.startsWith('{PULLER}'))"
    )
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name, "labels": dict(PART_OF)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    _rule("batch", ["jobs"], ["CREATE", "UPDATE", "DELETE"]),
                    _rule("", ["services", "configmaps", "secrets"], ["CREATE", "DELETE"]),
                    _rule("", ["namespaces"], ["CREATE"]),
                ]
            },
            "matchConditions": [
                {"name": "federation", "expression": f"request.userInfo.username in [{who}]"},
                {"name": "not-its-own-secret", "expression": f"!({own})"},
            ],
            "variables": [*words, {"name": "pod", "expression": "object.spec.template.spec"}],
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in validations
            ],
        },
    }


def _binding(name: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name, "labels": dict(PART_OF)},
        "spec": {"policyName": name, "validationActions": ["Deny"], **more},
    }


def _words(key: str) -> str:
    """The words of a key of the ConfigMap, as the agent reads them."""
    return (
        f"params.?data.?{key}.orValue('').replace('\\n', ',').replace('\\t', ',')"
        ".replace('\\r', ',').replace(' ', ',').split(',').filter(w, w != '')"
    )


def _rule(group: str, kinds: list[str], verbs: list[str]) -> dict[str, Any]:
    return {
        "apiGroups": [group],
        "apiVersions": ["v1"],
        "operations": verbs,
        "resources": kinds,
    }
