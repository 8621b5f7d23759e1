"""The hub's own word on a placement, which its workload carries and no center can make up.

Decides whether a workload stands for a placement that this hub has made, though the job's status no
longer tells: a hub that was restored from a backup goes on from there. Invariant: what is believed
was signed with this hub's key, for this job and epoch, and is shown by the cluster it was made for.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import replace
from typing import Any, Final

import msgspec

from huiju.centers.bundle import Bundle
from huiju.centers.names import PLACEMENT
from huiju.hub.objects import PlacementStatus, placement_fields
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, NotFound, Transient
from huiju.kube.resources import SECRETS

SECRET: Final = "huiju-placements"  # noqa: S105  a name
_FIELD: Final = "key"
_BYTES: Final = 32
_encode: Final = msgspec.json.Encoder(order="sorted").encode


async def placement_key(client: Client, namespace: str) -> bytes:
    """The key of the hub whose own namespace this is; made when there is none yet.

    Raises:
        KubeError: the API server does not answer or refuses, or the Secret holds no key.
    """
    try:
        found: dict[str, Any] = await client.get(SECRETS, SECRET, namespace)
    except NotFound:
        key = secrets.token_bytes(_BYTES)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "data": {_FIELD: base64.b64encode(key).decode()},
        }
        try:
            await client.create(SECRETS, body, namespace)
        except AlreadyExists:
            raise Transient(f"Secret {namespace}/{SECRET} was made by another just now") from None
        return key
    try:
        key = base64.b64decode((found.get("data") or {}).get(_FIELD) or "", validate=True)
    except binascii.Error:
        key = b""
    if len(key) < _BYTES:
        raise Transient(
            f"Secret {namespace}/{SECRET} holds no key of {_BYTES} bytes under {_FIELD!r}: restore"
            " it; or delete it, after which placements that a backup does not know are not found"
        )
    return key


class Proof:
    """Signs placements, and knows its signatures again."""

    def __init__(self) -> None:
        self._key = b""

    def use(self, key: bytes) -> None:
        """Sign with this key from now on."""
        self._key = key

    def note(self, uid: str, placement: PlacementStatus) -> str:
        """What the workload of the job's placement carries; raises ValueError without a key."""
        if not self._key:
            raise ValueError("placements cannot be signed before the key was read")
        # Without the nodes that were planned for it: a workload that is there needs no plan, and
        # thousands of names would be too much to carry.
        bare = msgspec.structs.replace(placement, nodes=(), node_workers=())
        text = _encode(placement_fields(bare)).decode()
        return f"{self._signature(uid, text)}.{text}"

    def marked(self, bundle: Bundle, placement: PlacementStatus) -> Bundle:
        """The bundle, its workload with the note."""
        *needed, workload = bundle.objects
        meta = workload["metadata"]
        notes = {**meta.get("annotations", {}), PLACEMENT: self.note(bundle.job_uid, placement)}
        marked = {**workload, "metadata": {**meta, "annotations": notes}}
        return replace(bundle, objects=(*needed, marked))

    def read(self, uid: str, epoch: int, note: str) -> PlacementStatus | None:
        """The placement that a workload stands for; None where this hub has not said so."""
        signature, _, text = note.partition(".")
        if not self._key or not text:
            return None
        if not hmac.compare_digest(signature.encode(), self._signature(uid, text).encode()):
            return None
        try:
            placement = msgspec.json.decode(text, type=PlacementStatus)
        except msgspec.DecodeError:
            return None  # signed by another version of the hub, whose words are unknown here
        return placement if placement.epoch == epoch else None

    def _signature(self, uid: str, text: str) -> str:
        made = hmac.new(self._key, f"{uid}\0{text}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made).decode().rstrip("=")
