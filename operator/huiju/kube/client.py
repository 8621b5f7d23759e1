"""The verbs of one API server: what `reader.py` reads, and the writes.

Decides encoding and preconditions. Invariant: a write carries the preconditions it was given, so
nothing is overwritten, adopted or deleted by name alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final

import msgspec

from huiju.kube.reader import Reader, query_of
from huiju.kube.resources import Resource
from huiju.kube.transport import JSON, Call, ClientSettings, CredentialsSource, Observer
from huiju.kube.wire import EventKind, Page, T, WatchEvent

__all__ = [
    "Client",
    "ClientSettings",
    "EventKind",
    "Page",
    "PatchKind",
    "WatchEvent",
    "preconditions",
]

Body = Mapping[str, Any] | list[Any] | msgspec.Struct | bytes
_encode: Final = msgspec.json.Encoder().encode


class PatchKind(StrEnum):
    """How the server reads a patch."""

    MERGE = "application/merge-patch+json"
    JSON = "application/json-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


class Client(Reader):
    """One API server. Use as an async context manager, in one event loop.

    Every method raises `Transient` or an `ApiStatus`, never an HTTP library's exception. `type`
    is what an answer is decoded into: a msgspec Struct, `msgspec.Raw`, or (by default) a dict.
    """

    def __init__(
        self,
        credentials: CredentialsSource,
        *,
        name: str,
        user_agent: str = "huiju",
        settings: ClientSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(
            credentials, name=name, user_agent=user_agent, settings=settings, observer=observer
        )
        self.writes: Counter[tuple[str, str]] = Counter()
        """Writes sent, dry runs apart, by verb and plural name."""

    async def create(
        self,
        res: Resource,
        obj: Body,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
        type: type[T] | None = None,
    ) -> T:
        """POST an object; `dry_run` checks everything, unknown fields too, and stores nothing."""
        return await self._write(
            "POST", "create", res, res.path(namespace), obj, dry_run=dry_run, type=type
        )

    async def replace(
        self,
        res: Resource,
        name: str,
        obj: Body,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        type: type[T] | None = None,
    ) -> T:
        """PUT an object; its `metadata.resourceVersion`, where present, is a precondition."""
        path = res.path(namespace, name, subresource)
        return await self._write("PUT", "replace", res, path, obj, type=type)

    async def apply(
        self,
        res: Resource,
        obj: Mapping[str, Any],
        *,
        manager: str,
        force: bool = False,
        subresource: str | None = None,
        dry_run: bool = False,
        type: type[T] | None = None,
    ) -> T:
        """Server-side apply under a field manager; name and namespace are the object's own.

        `force` takes fields that others own; without it they are a Conflict.
        """
        meta = obj["metadata"]
        path = res.path(meta.get("namespace"), meta["name"], subresource)
        query = query_of({"fieldManager": manager, "force": "true" if force else ""})
        return await self._write(
            "PATCH",
            "apply",
            res,
            path + query,
            obj,
            content_type=PatchKind.APPLY,
            dry_run=dry_run,
            type=type,
        )

    async def patch(
        self,
        res: Resource,
        name: str,
        body: Body,
        namespace: str | None = None,
        *,
        kind: PatchKind = PatchKind.MERGE,
        subresource: str | None = None,
        dry_run: bool = False,
        type: type[T] | None = None,
    ) -> T:
        """Patch one object or its subresource.

        Put `uid` and `resourceVersion` into a merge patch's `metadata` to make them preconditions
        (see `preconditions`).
        """
        return await self._write(
            "PATCH",
            "patch",
            res,
            res.path(namespace, name, subresource),
            body,
            content_type=kind,
            dry_run=dry_run,
            type=type,
        )

    async def patch_status(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        status: Mapping[str, Any] | msgspec.Struct,
        *,
        resource_version: str | None = None,
        uid: str | None = None,
        type: type[T] | None = None,
    ) -> T:
        """Merge into the status, only while the object is at `resource_version` (else Conflict)."""
        body: dict[str, Any] = {"status": status}
        metadata = preconditions(uid=uid, resource_version=resource_version)
        if metadata:
            body["metadata"] = metadata
        return await self.patch(res, name, body, namespace, subresource="status", type=type)

    async def replace_status(
        self,
        res: Resource,
        name: str,
        namespace: str | None,
        status: Mapping[str, Any] | msgspec.Struct,
        *,
        resource_version: str,
        uid: str,
        type: type[T] | None = None,
    ) -> T:
        """Make `status` the whole status, only of the object at that version (else Conflict).

        For whoever owns every field of it: costs the server a fifth less than a patch, which it
        applies to a copy of the object in JSON. The server takes nothing else from the body.
        """
        body = {
            "apiVersion": res.api_version,
            "kind": res.kind,
            "metadata": {"name": name, **preconditions(uid=uid, resource_version=resource_version)},
            "status": status,
        }
        return await self.replace(res, name, body, namespace, subresource="status", type=type)

    async def delete(
        self,
        res: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace: int | None = None,
    ) -> None:
        """Delete one object, only if it still is the one of `uid` and `resource_version`.

        Raises Conflict where a precondition does not hold, NotFound where nothing is there.
        """
        options: dict[str, Any] = {"propagationPolicy": propagation}
        required = preconditions(uid=uid, resource_version=resource_version)
        if required:
            options["preconditions"] = required
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        self.writes["delete", res.plural] += 1
        path, body = res.path(namespace, name), _encode(options)
        await self._transport.send(
            Call("DELETE", path, "delete", res.plural, body, permit=self._permit(res))
        )

    async def _write(
        self,
        method: str,
        verb: str,
        res: Resource,
        path: str,
        obj: Body,
        *,
        content_type: str = JSON,
        dry_run: bool = False,
        type: type[T] | None = None,
    ) -> T:
        if dry_run:
            # A misspelled field would else be dropped in silence, which a trial is there to find.
            path += ("&" if "?" in path else "?") + "dryRun=All&fieldValidation=Strict"
        else:
            self.writes[verb, res.plural] += 1
        body = obj if isinstance(obj, bytes) else _encode(obj)
        permit = None if dry_run else self._permit(res)
        answer = await self._transport.send(
            Call(method, path, verb, res.plural, body, content_type, permit=permit)
        )
        return self._decode(answer, type)

    def _permit(self, _res: Resource) -> Callable[[], None] | None:
        """What a write of this kind is asked for just before it is sent; see `Call.permit`."""
        return None


def preconditions(*, uid: str | None = None, resource_version: str | None = None) -> dict[str, str]:
    """The given ones by their field names, as `metadata` of a patch or a delete's precondition."""
    found = {"uid": uid, "resourceVersion": resource_version}
    return {key: value for key, value in found.items() if value is not None}
