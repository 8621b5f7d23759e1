"""The part of a pod template that decides where it fits, shared by all jobs that use it.

Invariant: equal digests mean equal templates. A template that is no pod template is kept with its
error, so that one bad job never stops the listing of all.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict

import msgspec

from huiju.centers.guarding import with_guard
from huiju.centers.objects import PodSpec
from huiju.centers.requests import spec_requests
from huiju.scheduling.model import PODS, Toleration, Vector, vector


class _TemplateBody(msgspec.Struct, rename="camel"):
    spec: PodSpec


LARGEST = 128 << 10
"""Bytes of a template as stored: each pod of a gang is a copy of it, in the owner's etcd."""
_decode = msgspec.json.Decoder(_TemplateBody).decode


class Template:
    """A pod template, digested."""

    __slots__ = (
        "__weakref__",
        "digest",
        "error",
        "guarded_request",
        "image",
        "node_selector",
        "other_images",
        "request",
        "tolerations",
        "trial",
    )

    def __init__(self, digest: str, spec: PodSpec | None, error: str = "") -> None:
        self.digest = digest
        self.trial = digest
        """Equal for templates of which one dry run tells all: only free text differs."""
        self.error = error
        self.image = ""
        self.other_images: tuple[str, ...] = ()
        self.request: Vector = ((PODS, 1),)
        self.guarded_request: Vector = self.request
        """What a pod asks for with the guard in it."""
        self.node_selector: tuple[tuple[str, str], ...] = ()
        self.tolerations: tuple[Toleration, ...] = ()
        if spec is not None:
            self._take(spec)

    def _take(self, spec: PodSpec) -> None:
        self.request = vector({**dict(spec_requests(spec)), PODS: 1})
        self.guarded_request = vector({**dict(spec_requests(with_guard(spec))), PODS: 1})
        self.node_selector = tuple(sorted(spec.node_selector.items()))
        self.tolerations = tuple(
            Toleration(t.key, t.operator or "Equal", t.value, t.effect) for t in spec.tolerations
        )
        images = [c.image for c in (*spec.containers, *spec.init_containers)]
        self.image = images[0] if images else ""
        self.other_images = tuple(sorted({image for image in images[1:] if image}))


def _trial_digest(raw: bytes) -> str:
    """Digest without what any text may stand in: commands, arguments, values, annotations."""
    body = msgspec.json.decode(raw)
    (body.get("metadata") or {}).pop("annotations", None)
    spec = body.get("spec") or {}
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        container.pop("command", None)
        container.pop("args", None)
        for entry in container.get("env") or ():
            if "value" in entry:
                entry["value"] = ""
    return hashlib.blake2b(msgspec.json.encode(body), digest_size=12).hexdigest()


class _Bodies:
    """The newest template bodies as JSON, so that a job placed at once is not read again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = 0
        self._bodies: OrderedDict[str, bytes] = OrderedDict()

    def put(self, digest: str, raw: bytes) -> None:
        if digest in self._bodies or len(raw) > self._limit // 16:
            return
        self._bodies[digest] = raw
        self._held += len(raw)
        while self._held > self._limit:
            self._held -= len(self._bodies.popitem(last=False)[1])

    def get(self, digest: str) -> bytes | None:
        return self._bodies.get(digest)


BODIES = _Bodies(4 << 20)


_TEMPLATES: weakref.WeakValueDictionary[str, Template] = weakref.WeakValueDictionary()


def intern_template(raw: bytes) -> Template:
    """The shared Template of a JSON pod template."""
    digest = hashlib.blake2b(raw, digest_size=12).hexdigest()
    BODIES.put(digest, raw)
    known = _TEMPLATES.get(digest)
    if known is not None:
        return known
    try:
        if len(raw) > LARGEST:
            raise ValueError(
                f"{len(raw)} bytes are more than {LARGEST}; what is large travels as a ConfigMap"
                " (spec.carry), as a data set (spec.data) or in the image"
            )
        made = Template(digest, _decode(raw).spec)
        made.trial = _trial_digest(raw)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        made = Template(digest, None, str(error))
    _TEMPLATES[digest] = made
    return made
