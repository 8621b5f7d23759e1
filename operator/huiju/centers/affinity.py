"""On which nodes the pods of a placement may and should run.

Pure. Decides the node affinity that a placement adds to the user's own. Invariants: the user's
requirements all still hold; a node is only ever preferred by name, never required.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from huiju.centers.bundle import KubeDict

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_HEAVIEST = 100


def add_node_affinity(
    pod_spec: KubeDict, model_labels: Mapping[str, str], nodes: Sequence[str]
) -> None:
    """Require the model's labels and prefer the planned nodes (`pod_spec` changed in place)."""
    if not model_labels and not nodes:
        return
    node_affinity = _member(_member(pod_spec, "affinity"), "nodeAffinity")
    if model_labels:
        _require(node_affinity, model_labels)
    if nodes:
        preference = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(nodes)}
        node_affinity[_PREFERRED] = [
            *(node_affinity.get(_PREFERRED) or ()),
            {"weight": _HEAVIEST, "preference": {"matchExpressions": [preference]}},
        ]


def _require(node_affinity: KubeDict, labels: Mapping[str, str]) -> None:
    """Terms are alternatives, expressions in one term all hold: add ours to each of the user's."""
    ours = [
        {"key": key, "operator": "In", "values": [value]} for key, value in sorted(labels.items())
    ]
    required = _member(node_affinity, _REQUIRED)
    terms: list[KubeDict] = required.get("nodeSelectorTerms") or []
    made = [_with(term, ours) for term in terms] if terms else [{"matchExpressions": ours}]
    required["nodeSelectorTerms"] = made


def _with(term: KubeDict, expressions: list[KubeDict]) -> KubeDict:
    own = term.get("matchExpressions") or []
    if not own and not term.get("matchFields"):
        return term  # an empty term matches no node, and must go on to match none
    return {**term, "matchExpressions": [*own, *expressions]}


def _member(holder: KubeDict, key: str) -> KubeDict:
    """The object under `key`, made if absent."""
    found: KubeDict | None = holder.get(key)
    if found is None:
        found = holder[key] = {}
    return found
