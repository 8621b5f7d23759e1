"""What comes over the wire: pages, watch events, lines of any length, decoded into given types.

Pure but for reading chunks. Invariant: a body that is not what was asked for is `Unreadable`,
never an error of the JSON library.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic

import msgspec

from huiju.kube.errors import Transient, Unreadable, error_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=dict[str, Any])
else:
    from typing import TypeVar

    T = TypeVar("T")

_MAX_LINE: Final = 64 << 20


class EventKind(StrEnum):
    """What a watch event tells."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"
    """No change; the resourceVersion to go on from."""
    OPENED = "OPENED"
    """Ours, not the server's: the stream was accepted."""


class Page(msgspec.Struct, Generic[T], frozen=True):
    """One page of a list. When `first` comes again the list was restarted: drop what came."""

    items: list[T]
    resource_version: str
    first: bool


class WatchEvent(msgspec.Struct, Generic[T], frozen=True):
    """One event; `object` is None and `resource_version` set for a bookmark."""

    kind: EventKind
    object: T | None
    resource_version: str = ""


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class ListBody(msgspec.Struct, Generic[T]):
    """The body of a list call."""

    metadata: _ListMeta
    items: list[T] | None = None


class _Frame(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct):
    metadata: _ListMeta


@lru_cache(maxsize=256)
def _decoder(wanted: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(wanted)


@lru_cache(maxsize=256)
def list_type(item: Any) -> Any:
    """The type of a list call's body with items of the given type."""
    return ListBody[item]


def decode(body: bytes | msgspec.Raw, wanted: Any) -> Any:
    """Decode JSON into `wanted` (a Struct, Raw or dict); raises Unreadable."""
    try:
        return _decoder(wanted).decode(body)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"the server's answer is not a {wanted.__name__}: {error}") from error


async def lines(chunks: AsyncIterator[bytes], name: str) -> AsyncIterator[bytes]:
    """Split chunks into lines of any length; the empty opening mark passes through."""
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks:
        if not chunk:
            yield chunk
            continue
        head, *rest = chunk.split(b"\n")
        if not rest:
            parts.append(head)
            size += len(head)
            if size > _MAX_LINE:
                raise Transient(f"{name}: a watch event of more than {_MAX_LINE} bytes")
            continue
        line = b"".join((*parts, head)) if parts else head
        if line:
            yield line
        last = rest.pop()
        for line in rest:
            if line:
                yield line
        parts = [last] if last else []
        size = len(last)


def event_of(line: bytes, wanted: Any) -> WatchEvent[Any]:
    """Read one watch line; an ERROR event is raised as what it means."""
    frame: _Frame = decode(line, _Frame)
    match frame.type:
        case "ADDED" | "MODIFIED" | "DELETED":
            return WatchEvent(EventKind(frame.type), decode(frame.object, wanted))
        case "BOOKMARK":
            version = decode(frame.object, _Bookmark).metadata.resource_version
            return WatchEvent(EventKind.BOOKMARK, None, version)
        case "ERROR":
            raise error_of(0, bytes(frame.object))
        case unknown:
            raise Transient(f"unknown kind of watch event {unknown!r}")
