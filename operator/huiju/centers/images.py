"""The images of a pod: which the owner lets in, and under what name the center's registry has them.

Pure. Invariant: an image is judged by the name that the job gives, before it is rewritten; every
place of a pod spec that pulls an image is covered: containers, init containers, image volumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from huiju.api.center import RegistryMirror
from huiju.centers.bundle import KubeDict


def mirrored(image: str, mirrors: Sequence[RegistryMirror]) -> str:
    """The image's name in the center; the longest prefix that matches is replaced."""
    matching = [mirror for mirror in mirrors if image.startswith(mirror.prefix)]
    if not matching:
        return image
    best = max(matching, key=lambda mirror: len(mirror.prefix))
    return best.replacement + image[len(best.prefix) :]


def rewrite_images(pod_spec: KubeDict, mirrors: Sequence[RegistryMirror]) -> None:
    """Let every image of a pod spec (changed in place) be pulled from the center's registry."""
    if mirrors:
        for holder, key in _places(pod_spec):
            holder[key] = mirrored(holder[key], mirrors)


def first_not_allowed(pod_spec: KubeDict, prefixes: Sequence[str]) -> str | None:
    """The first image that starts with none of `prefixes`; None if all do, or all are allowed."""
    if not prefixes:
        return None
    allowed = tuple(prefixes)
    images = (str(holder[key]) for holder, key in _places(pod_spec))
    return next((image for image in images if not image.startswith(allowed)), None)


def _places(pod_spec: KubeDict) -> Iterator[tuple[KubeDict, str]]:
    """Where a pod spec names images: the object that holds the name, and its key."""
    for group in ("initContainers", "containers"):
        for container in pod_spec.get(group) or ():
            if isinstance(container, dict) and isinstance(container.get("image"), str):
                yield container, "image"
    for volume in pod_spec.get("volumes") or ():
        source = volume.get("image") if isinstance(volume, dict) else None
        if isinstance(source, dict) and isinstance(source.get("reference"), str):
            yield source, "reference"
