"""What a namespace may know of data sets: the catalogue that people search.

Pure. Invariant: of a share that the namespace may not ask for nothing is told, not even that there
is one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from huiju.api.model import ModelShareSpec
from huiju.data import access
from huiju.data.access import Share
from huiju.hub.datasets.catalog import Catalog, KnownShare
from huiju.hub.datasets.models import card

Fields = dict[str, Any]


Cards = Callable[[str], Iterable[tuple[str, ModelShareSpec]]]
"""The models whose files a data set has."""


def search(
    catalog: Catalog,
    cards: Cards,
    namespace: str,
    words: str,
    labels: Mapping[str, str],
    now: float,
) -> list[Fields]:
    """The data sets that the namespace may see, that all words are found in, by name."""
    wanted = words.casefold().split()
    found = []
    for known in catalog.shares():
        if not access.may_see(known.share, namespace):
            continue
        if any(known.labels.get(key) != value for key, value in labels.items()):
            continue
        models = [card(name, spec) for name, spec in cards(known.share.key)]
        text = " ".join((_text(known), *(str(model) for model in models))).casefold()
        if all(word in text for word in wanted):
            row = _row(catalog, known, namespace, now)
            found.append(row | ({"models": models} if models else {}))
    return sorted(found, key=lambda row: (row["namespace"], row["name"]))


def _text(known: KnownShare) -> str:
    spec = known.share.spec
    labels = (f"{key}={value}" for key, value in known.labels.items())
    words = (known.share.name, spec.description or "", spec.license)
    return " ".join((*words, *spec.modality, *spec.keywords, *labels))


def _row(catalog: Catalog, known: KnownShare, namespace: str, now: float) -> Fields:
    share = known.share
    spec = share.spec
    latest = access.version_of(spec, access.LATEST)
    row: Fields = {
        "namespace": share.namespace,
        "name": share.name,
        "description": spec.description,
        "license": spec.license,
        "modality": spec.modality,
        "approval": spec.approval,
        "labels": dict(known.labels),
        "versions": [v.name for v in spec.versions if v.name not in spec.retired],
        "channels": [f"{c.name}={c.version}" for c in spec.channels],
        "createdAt": known.created,
        "yours": _yours(catalog, share, namespace, now),
    }
    if not isinstance(latest, access.Refused):
        row |= {"latest": latest.name, "bytes": latest.bytes, "files": latest.files}
        copies = {
            replica.spec.center
            for replica in catalog.replicas_of(share)
            if replica.verified and replica.spec.version == latest.name and replica.whole
        }
        row["centers"] = [spec.source.center, *sorted(copies - {spec.source.center})]
    return row


def _yours(catalog: Catalog, share: Share, namespace: str, now: float) -> str:
    if namespace == share.namespace:
        return "Own"
    grant = access.best_grant(share, catalog.grants_for(share), namespace, now)
    return access.judge_grant(share, grant, now).state if grant is not None else ""
