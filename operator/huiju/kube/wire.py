"""What comes over the wire: pages, watch events, lines of any length, decoded into given types.

Pure but for reading chunks. Invariant: a body that is not what was asked for is `Unreadable`,
never an error of the JSON library.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Generic, cast

import msgspec

from huiju.kube.errors import Transient, Unreadable, error_of

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T = TypeVar("T", default=dict[str, Any])
else:
    from typing import TypeVar

    T = TypeVar("T")

_MAX_LINE: Final = 64 << 20
_MAX_SALVAGED: Final = 8 << 20
"""In a larger body nothing is saved from an object that is nested too deep."""
_DEEP: Final = 64
"""Objects that go deeper than this are set apart where one was too deep to decode."""
_OUTLINE: Final = 8
_NUMBER_DIGITS: Final = 9
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]', re.DOTALL)


class _TooDeep(Unreadable):
    """Nested deeper than the decoder goes."""


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
    except RecursionError as error:
        raise _TooDeep(f"the server's answer is nested too deep for a {wanted.__name__}") from error


def outline(body: bytes | msgspec.Raw, wanted: Any) -> Any:
    """Decode what lies near the surface, however deep the rest is nested; raises Unreadable."""
    try:
        return decode(body, wanted)
    except _TooDeep:
        return decode(_set_apart(bytes(body), _OUTLINE, _OUTLINE)[0], wanted)


def page_of(body: bytes, wanted: Any) -> Any:
    """Decode a list's body; raw items that are nested too deep are in it as they came."""
    try:
        return decode(body, wanted)
    except _TooDeep:
        shallow, deep = _set_apart(body, 2, _DEEP)
        page = decode(shallow, wanted)
        if page.items is not None:
            page.items = [_put_back(item, deep) for item in page.items]
        return page


def _frame_of(line: bytes) -> _Frame:
    try:
        return cast(_Frame, decode(line, _Frame))
    except _TooDeep:
        shallow, deep = _set_apart(line, 1, _DEEP)
        frame: _Frame = decode(shallow, _Frame)
        frame.object = _put_back(frame.object, deep)
        return frame


def _put_back(item: Any, deep: list[bytes]) -> Any:
    number = bytes(item) if isinstance(item, msgspec.Raw) else b""
    whole = number.isdigit() and len(number) < _NUMBER_DIGITS and int(number) < len(deep)
    return msgspec.Raw(deep[int(number)]) if whole else item


def _set_apart(body: bytes, level: int, deepest: int) -> tuple[bytes, list[bytes]]:
    """Put numbers in the place of what opens at `level` and goes deeper than `deepest`."""
    if len(body) > _MAX_SALVAGED:
        raise Unreadable(f"a body of {len(body)} bytes is nested too deep")
    kept: list[bytes] = []
    apart: list[bytes] = []
    depth = start = done = reached = 0
    for token in _TOKEN.finditer(body):
        match token[0]:
            case b"{" | b"[":
                if depth == level:
                    start, reached = token.start(), depth
                depth += 1
                reached = max(reached, depth)
            case b"}" | b"]":
                depth -= 1
                if depth == level and reached > deepest:
                    kept += (body[done:start], b"%d" % len(apart))
                    apart.append(body[start : token.end()])
                    done = token.end()
    return b"".join((*kept, body[done:])), apart


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
    frame = _frame_of(line)
    match frame.type:
        case "ADDED" | "MODIFIED" | "DELETED":
            whole = frame.object
            obj = whole if wanted is msgspec.Raw else decode(whole, wanted)
            return WatchEvent(EventKind(frame.type), obj)
        case "BOOKMARK":
            version = decode(frame.object, _Bookmark).metadata.resource_version
            return WatchEvent(EventKind.BOOKMARK, None, version)
        case "ERROR":
            raise error_of(0, bytes(frame.object))
        case unknown:
            raise Transient(f"unknown kind of watch event {unknown!r}")
