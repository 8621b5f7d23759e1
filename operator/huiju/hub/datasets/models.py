"""Models: cards whose files are data sets of the same namespace.

Decides what a card's status says, and what people are told of models beside data sets. Invariant: a
model is told to those alone who may know of its data set.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

from pydantic import ValidationError

from huiju.api.model import ModelShareSpec
from huiju.api.reasons import Reason
from huiju.data.access import Refused, version_of
from huiju.hub.datasets.catalog import Body, Catalog
from huiju.hub.datasets.statuses import condition
from huiju.hub.status import merge_patch
from huiju.kube.client import Client
from huiju.kube.errors import KubeError, NotFound
from huiju.kube.informer import Informer
from huiju.kube.resources import MODEL_SHARES

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_MOST_CENTERS = 256


class Models:
    """The models that the hub knows."""

    def __init__(self, client: Client, catalog: Catalog, changed: Callable[[], None]) -> None:
        self._client = client
        self._catalog = catalog
        self._changed = changed
        self._cards: dict[str, tuple[Body, ModelShareSpec]] = {}
        self.informer = Informer(client, MODEL_SHARES, Body, on_change=self._seen)

    def _seen(self, old: Body | None, new: Body | None) -> None:
        body = new or old
        if body is None:
            return
        self._cards.pop(body.key, None)
        if new is not None:
            try:
                self._cards[new.key] = (new, ModelShareSpec.model_validate(new.spec))
            except ValidationError as error:
                log.error("model refused", extra={"model": new.key, "error": str(error)})
        self._changed()

    def of(self, share: str) -> Iterator[tuple[str, ModelShareSpec]]:
        """Names and cards of the models whose files a data set has, `namespace/name`."""
        for body, spec in tuple(self._cards.values()):
            if f"{body.metadata.namespace}/{spec.weights.dataset}" == share:
                yield body.metadata.name, spec

    async def look(self, now: float) -> None:
        """Bring statuses up to what is known."""
        for body, spec in tuple(self._cards.values()):
            change = merge_patch(body.status, self._status(body, spec, now))
            if not change:
                continue
            meta = body.metadata
            try:
                await self._client.patch_status(MODEL_SHARES, meta.name, meta.namespace, change)
            except NotFound:
                continue
            except (KubeError, TimeoutError) as error:
                told = {"model": body.key, "error": str(error)}
                log.info("status not written", extra=told)

    def _status(self, body: Body, spec: ModelShareSpec, now: float) -> Fields:
        meta, before = body.metadata, body.status
        fields: Fields = {"observedGeneration": meta.generation}

        def said(kind: str, status: bool, reason: Reason, message: str) -> Fields:
            return condition(
                before, kind, status, reason, message, generation=meta.generation, now=now
            )

        known = self._catalog.share(f"{meta.namespace}/{spec.weights.dataset}")
        if known is None:
            message = f"There is no DatasetShare {spec.weights.dataset} in this namespace."
            conditions = [said("Published", False, Reason.UNKNOWN_DATASET, message)]
        elif isinstance(found := version_of(known.share.spec, spec.weights.version), Refused):
            conditions = [said("Published", False, found.reason, found.message)]
        else:
            share = known.share
            copies = {
                replica.spec.center
                for replica in self._catalog.replicas_of(share)
                if replica.verified and replica.whole and replica.spec.version == found.name
            }
            owner = share.spec.source.center
            fields |= {
                "version": found.name,
                "manifestDigest": found.manifest_digest,
                "bytes": found.bytes,
                "license": found.license or share.spec.license,
                "centers": [owner, *sorted(copies - {owner})][:_MOST_CENTERS],
            }
            message = f"Version {found.name} of {spec.weights.dataset}."
            conditions = [said("Published", True, Reason.PUBLISHED, message)]
        if spec.base is not None:
            conditions.append(said("BaseKnown", *self._base(spec.base.digest)))
        return {**fields, "conditions": conditions}

    def _base(self, digest: str) -> tuple[bool, Reason, str]:
        for known in self._catalog.shares():
            for version in known.share.spec.versions:
                if version.manifest_digest == digest:
                    # Not where it is: who sees the model need not see its base's data set.
                    return True, Reason.PUBLISHED, "A data set of the network has the base."
        return False, Reason.BASE_MISSING, "No data set of the network has the base's version."


def card(name: str, spec: ModelShareSpec) -> Fields:
    """A model as a search tells it."""
    row: Fields = {
        "name": name,
        "format": spec.format,
        "framework": spec.framework,
        "task": spec.task,
        "parameters": spec.parameters,
        "precision": spec.precision,
        "contextLength": spec.context_length,
        "base": spec.base.name if spec.base is not None else None,
        "accelerators": [each.model for each in spec.accelerators],
        "description": spec.description,
    }
    return {key: value for key, value in row.items() if value not in (None, [])}
