"""Kubeconfig files: their fields, how several are merged, which context is meant.

Decides nothing about what is allowed (see `kubeconfig.py`). Invariant: no message quotes a value
of a user entry.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from huiju.kube.errors import KubeconfigRefused
from huiju.kube.execplugin import ExecSpec

_MAX_BYTES: Final = 1 << 20
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Cluster(msgspec.Struct, rename="kebab"):
    """The `cluster` of a kubeconfig."""

    server: str = ""
    certificate_authority: str | None = None
    certificate_authority_data: str | None = None
    insecure_skip_tls_verify: bool | None = None
    tls_server_name: str | None = None
    proxy_url: str | None = None


class User(msgspec.Struct, rename="kebab"):
    """The `user` of a kubeconfig."""

    token: str | None = None
    token_file: str | None = msgspec.field(default=None, name="tokenFile")
    client_certificate: str | None = None
    client_certificate_data: str | None = None
    client_key: str | None = None
    client_key_data: str | None = None
    username: str | None = None
    password: str | None = None
    exec: ExecSpec | None = None
    auth_provider: dict[str, Any] | None = None
    impersonate: str | None = msgspec.field(default=None, name="as")


class Context(msgspec.Struct):
    """The `context` of a kubeconfig."""

    cluster: str = ""
    user: str = ""
    namespace: str | None = None


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: Cluster | None = None


class _NamedUser(msgspec.Struct):
    name: str
    user: User | None = None


class _NamedContext(msgspec.Struct):
    name: str
    context: Context | None = None


class _File(msgspec.Struct, rename="kebab"):
    clusters: list[_NamedCluster] | None = None
    users: list[_NamedUser] | None = None
    contexts: list[_NamedContext] | None = None
    current_context: str | None = None


class Chosen(msgspec.Struct):
    """The entries that one context names, with the folders that their paths are relative to."""

    name: str
    context: Context
    cluster: Cluster
    user: User
    cluster_folder: Path
    user_folder: Path
    files: list[Path]


def files_of(path: Path | str | None) -> list[Path]:
    """The kubeconfig files that exist, in order of precedence."""
    if path is not None:
        candidates = [Path(path).expanduser()]
    elif listed := os.environ.get("KUBECONFIG"):
        candidates = [Path(entry).expanduser() for entry in listed.split(os.pathsep) if entry]
    else:
        candidates = [Path.home() / ".kube" / "config"]
    return [file for file in candidates if file.is_file()]


def parse(data: bytes, where: str) -> _File:
    """Read one file; `where` is its name in messages. Raises KubeconfigRefused."""
    if len(data) > _MAX_BYTES:
        raise KubeconfigRefused("NotAKubeconfig", f"{where} is larger than 1 MiB")
    try:
        return msgspec.convert(yaml.load(data, Loader=_Loader) or {}, _File)  # noqa: S506  safe
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The text of a YAML error may quote a token.
        place = getattr(error, "problem_mark", None)
        line = f" (line {place.line + 1})" if place is not None else ""
        raise KubeconfigRefused(
            "NotAKubeconfig",
            f"{where} is not YAML{line}; write it with `kubectl config view --raw`",
        ) from None
    except msgspec.ValidationError as error:
        raise KubeconfigRefused("NotAKubeconfig", f"{where} is not a kubeconfig: {error}") from None


def choose(files: list[tuple[Path, _File]], wanted: str | None) -> Chosen:
    """Merge the files as kubectl does (the first to name a thing wins) and pick the context."""
    contexts: dict[str, Context] = {}
    clusters: dict[str, tuple[Cluster, Path]] = {}
    users: dict[str, tuple[User, Path]] = {}
    current = wanted or next((f.current_context for _, f in files if f.current_context), None)
    for path, file in files:
        for c in file.contexts or []:
            contexts.setdefault(c.name, c.context or Context())
        for k in file.clusters or []:
            clusters.setdefault(k.name, (k.cluster or Cluster(), path.parent))
        for u in file.users or []:
            users.setdefault(u.name, (u.user or User(), path.parent))
    if not current or current not in contexts:
        named = f"there is no context {current!r}" if current else "no current-context is set"
        known = ", ".join(sorted(contexts)[:10]) or "none"
        raise KubeconfigRefused("NoContext", f"{named}; contexts there are: {known}")
    context = contexts[current]
    if context.cluster not in clusters:
        raise KubeconfigRefused(
            "NoCluster", f"context {current!r} names cluster {context.cluster!r}, which is missing"
        )
    cluster, cluster_folder = clusters[context.cluster]
    user, user_folder = users.get(context.user, (User(), Path()))
    paths = [path for path, _ in files]
    return Chosen(current, context, cluster, user, cluster_folder, user_folder, paths)
