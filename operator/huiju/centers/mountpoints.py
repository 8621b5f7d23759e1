"""In which of a container's mounts a path lies.

Pure. Invariant: as the kernel decides it, the mount with the longest path wins.
"""

from __future__ import annotations

from huiju.centers.bundle import KubeDict


def mount_of(container: KubeDict, path: str) -> KubeDict | None:
    """The mount in which a path lies: the one with the longest path."""
    best: KubeDict | None = None
    longest = -1
    for mount in container.get("volumeMounts") or ():
        own = str(mount.get("mountPath") or "").rstrip("/")
        inside = path == own or path.startswith(f"{own}/")
        if inside and len(own) > longest:
            best, longest = mount, len(own)
    return best
