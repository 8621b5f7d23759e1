"""On which nodes the pods of a placement may and should run.

Pure. Decides the node affinity that a placement adds to the user's own. Invariants: the user's
requirements all still hold; a node is preferred by name or kept off by name, never required.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huiju.centers.bundle import KubeDict

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_HEAVIEST = 100


def add_node_affinity(
    pod_spec: KubeDict,
    model_labels: Mapping[str, str],
    nodes: Sequence[str],
    avoided: Sequence[str] = (),
) -> None:
    """Require the model's labels, prefer the planned nodes and keep off those that are avoided
    (`pod_spec` changed in place)."""
    if not model_labels and not nodes and not avoided:
        return
    node_affinity = _member(_member(pod_spec, "affinity"), "nodeAffinity")
    if model_labels or avoided:
        _require(node_affinity, model_labels, avoided)
    if nodes:
        preference = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
        node_affinity[_PREFERRED] = [
            *(node_affinity.get(_PREFERRED) or ()),
            {"weight": _HEAVIEST, "preference": {"matchExpressions": [preference]}},
        ]


def _require(node_affinity: KubeDict, labels: Mapping[str, str], avoided: Sequence[str]) -> None:
    """Terms are alternatives, what stands in one term all holds: add ours to each of the user's."""
    ours: dict[str, list[KubeDict]] = {
        "matchExpressions": [
            {"key": key, "operator": "In", "values": [value]}
            for key, value in sorted(labels.items())
        ],
        # By the node's own name, which its hostname label need not be; a field takes one value.
        "matchFields": [
            {"key": "metadata.name", "operator": "NotIn", "values": [node]}
            for node in sorted(avoided)
        ],
    }
    required = _member(node_affinity, _REQUIRED)
    terms: list[KubeDict] = required.get("nodeSelectorTerms") or []
    made = [_with(term, ours) for term in terms]
    required["nodeSelectorTerms"] = made or [{kind: given for kind, given in ours.items() if given}]


def _with(term: KubeDict, ours: Mapping[str, list[KubeDict]]) -> KubeDict:
    if not term.get("matchExpressions") and not term.get("matchFields"):
        return term  # an empty term matches no node, and must go on to match none
    both = {kind: [*(term.get(kind) or ()), *given] for kind, given in ours.items() if given}
    return {**term, **both}


def _member(holder: KubeDict, key: str) -> KubeDict:
    """The object under `key`, made if absent."""
    found: KubeDict | None = holder.get(key)
    if found is None:
        found = holder[key] = {}
    return found
