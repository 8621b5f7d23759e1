"""A local copy of one collection that follows the server: list, diff, watch, resume.

Decides when to list again and what changed; what that means is the caller's. Invariant: every
change reaches `on_change` exactly once and in order, deletes that a lost watch missed included,
and `age` tells how old the last proof is that the copy is current.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, Generic, NoReturn, TypeVar, cast, get_type_hints

import msgspec

from huiju.kube.clock import boottime
from huiju.kube.errors import Gone, KubeError, Silent, TooMany, Unreadable
from huiju.kube.reader import Reader
from huiju.kube.resources import Resource
from huiju.kube.wire import EventKind, decode, outline

T = TypeVar("T", bound=msgspec.Struct)

log = logging.getLogger(__name__)
_SHORT_LIFE: Final = 5.0
_VERSION_DIGITS: Final = 20
"""A stream that ends sooner, in seconds, is followed by a pause."""

OnChange = Callable[[T | None, T | None], None]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between tries, in seconds, doubling from `first` to `last` and shortened by chance."""

    first: float = 0.25
    last: float = 20.0

    def seconds(self, failures: int) -> float:
        """The pause after so many failures in a row."""
        ceiling = min(self.last, self.first * 2.0 ** min(failures, 30))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311  jitter, no secret


class _Meta(msgspec.Struct, rename="camel", gc=False):
    """The metadata that diffing needs, for objects that do not fit their type."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Any(msgspec.Struct, gc=False):
    metadata: _Meta


class _Keys(Generic[T]):
    """How to read key, UID and version of a Struct, whatever the case of its field names."""

    __slots__ = ("_namespaced", "name", "namespace", "uid", "version")

    def __init__(self, wanted: type[T], *, namespaced: bool) -> None:
        fields = set(get_type_hints(wanted)["metadata"].__struct_fields__)
        version = "resource_version" if "resource_version" in fields else "resourceVersion"
        missing = {"name", "uid", version} | ({"namespace"} if namespaced else set())
        if missing - fields:
            raise TypeError(f"{wanted.__name__}.metadata lacks {sorted(missing - fields)}")
        self.name: Callable[[Any], str] = attrgetter("metadata.name")
        self.namespace: Callable[[Any], str] = attrgetter("metadata.namespace")
        self.uid: Callable[[Any], str] = attrgetter("metadata.uid")
        self.version: Callable[[Any], str] = attrgetter(f"metadata.{version}")
        self._namespaced = namespaced

    def key(self, obj: Any) -> str:
        return f"{self.namespace(obj)}/{self.name(obj)}" if self._namespaced else self.name(obj)


class _View(Mapping[str, T]):
    """Read-only window on the store."""

    __slots__ = ("_items",)

    def __init__(self, items: dict[str, T]) -> None:
        self._items = items

    def __getitem__(self, key: str) -> T:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Informer(Generic[T]):
    """Follows one collection of one server; `type.metadata` needs name, uid, resourceVersion.

    `on_change(old, new)` is called in the event loop and must only note what changed; what it
    raises is logged as a bug and stops nothing. One task runs `run()`.
    """

    def __init__(
        self,
        client: Reader,
        res: Resource,
        type: type[T],
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        on_change: OnChange[T],
        backoff: Backoff | None = None,
    ) -> None:
        self.resource = res
        self.synced = asyncio.Event()
        """Set once the first list is complete."""
        self.failure: KubeError | None = None
        """Why the server cannot be followed just now; None while it can."""
        self.relists = 0
        """How often the collection was listed."""
        self._client = client
        self._type = type
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._on_change = on_change
        self._backoff = backoff or Backoff()
        most = client.settings.most
        self._most = most.get(res.plural, most.get("")) if most is not None else None
        self._items: dict[str, T] = {}
        self._keys = _Keys(type, namespaced=res.namespaced)
        self._plain_keys = _Keys(_Any, namespaced=res.namespaced)
        self._proof: float | None = None
        self._version = ""
        self.store: Mapping[str, T] = _View(self._items)
        """What the server holds, by `namespace/name` or, where there are none, `name`."""

    def age(self) -> float:
        """Seconds since the server last proved that this copy is current; infinite before."""
        return float("inf") if self._proof is None else boottime() - self._proof

    async def run(self) -> NoReturn:
        """Follow the server for ever, through every failure, until cancelled.

        Raises:
            TooMany: it shows more objects than the client's settings allow.
        """
        failures = 0
        shaken = False
        while True:
            started = boottime()
            ended_well = False
            try:
                if shaken and self._version:
                    await self._check()
                shaken = False
                if not self._version:
                    await self._list()
                await self._watch()
                ended_well = True
            except Gone:
                self._version = ""
            except TooMany:
                raise
            except KubeError as error:
                shaken = True
                self._note(error)
            lived = boottime() - started
            if ended_well and lived > _SHORT_LIFE:
                failures = 0
                continue
            failures = 1 if lived > _SHORT_LIFE else failures + 1
            await asyncio.sleep(self._backoff.seconds(failures - 1))

    # --- following ---------------------------------------------------------------------------

    async def _list(self) -> None:
        """Read the whole collection, tell the differences, and the deletes that were missed."""
        seen: set[str] = set()
        version = ""
        told = 0
        pages = self._client.list(
            self.resource,
            self._namespace,
            type=msgspec.Raw,
            labels=self._labels,
            fields=self._fields,
        )
        async with aclosing(cast(Any, pages)):
            async for page in pages:
                if page.first:
                    seen.clear()
                told += max(1, len(page.items))  # empty pages must not go on for ever either
                self._bound(told)
                for raw in page.items:
                    self._take(raw, seen)
                version = page.resource_version
        for key in [key for key in self._items if key not in seen]:
            self._tell(self._items.pop(key), None)
        self._version = version
        self.relists += 1
        self._alive()
        self.synced.set()

    async def _check(self) -> None:
        """List again from a server that is behind what we saw: its store was reset or restored.

        It would accept a watch from a version of its future and never say a word.
        """
        pages = self._client.list(
            self.resource,
            self._namespace,
            type=msgspec.Raw,
            labels=self._labels,
            fields=self._fields,
            limit=1,
        )
        async with aclosing(cast(Any, pages)):
            page = await anext(pages)
        if older(page.resource_version, self._version):
            log.warning("the server forgot what it had told", extra=self._context())
            self._version = ""

    async def _watch(self) -> None:
        """Follow changes until the server ends the stream, which it does every few minutes."""
        events = self._client.watch(
            self.resource,
            self._namespace,
            type=msgspec.Raw,
            resource_version=self._version,
            labels=self._labels,
            fields=self._fields,
        )
        async with aclosing(cast(Any, events)):
            async for event in events:
                self._alive()
                if event.object is None:  # a bookmark, or the opening
                    if older(event.resource_version, self._version):
                        self._version = ""
                        return
                    self._version = event.resource_version or self._version
                elif event.kind is EventKind.DELETED:
                    self._version = self._drop(event.object)
                else:
                    self._version = self._take(event.object, None)

    def _take(self, raw: msgspec.Raw, seen: set[str] | None) -> str:
        """Note one object as it is now; returns its version. `seen` gathers the keys of a list."""
        obj = self._readable(raw)
        found: T | _Any = obj if obj is not None else outline(raw, _Any)
        keys = self._keys if obj is not None else self._plain_keys
        key = keys.key(found)
        if seen is not None:
            seen.add(key)
        if obj is None:
            return keys.version(found)
        version = keys.version(obj)
        old = self._items.get(key)
        if old is not None and keys.uid(old) != keys.uid(obj):
            # Deleted and made anew while we were not looking: two changes, not one.
            del self._items[key]
            self._tell(old, None)
            old = None
        if old is None:
            self._bound(len(self._items) + 1)
        if old is None or keys.version(old) != version:
            self._items[key] = obj
            self._tell(old, obj)
        return version

    def _bound(self, number: int) -> None:
        if self._most is not None and number > self._most:
            raise TooMany(
                f"more than {self._most:,} {self.resource.plural}: the hub keeps no more of one"
                " center"
            )

    def _drop(self, raw: msgspec.Raw) -> str:
        """Note that an object is gone; returns the version of its end."""
        gone: _Any = outline(raw, _Any)
        old = self._items.pop(self._plain_keys.key(gone), None)
        if old is not None:
            self._tell(old, None)
        return gone.metadata.resource_version

    def _readable(self, raw: msgspec.Raw) -> T | None:
        """The object in its type; one that does not fit is logged and left out, old state kept."""
        try:
            return cast(T, decode(raw, self._type))
        except Unreadable as error:
            name = outline(raw, _Any).metadata.name
            log.error("object left out: %s", error, extra=self._context(object=name))
            return None

    def _tell(self, old: T | None, new: T | None) -> None:
        """Call the listener; its failure is a bug of its own and must not make us deaf."""
        try:
            self._on_change(old, new)
        except Exception:
            some = new if new is not None else old
            name = self._keys.key(some) if some is not None else ""
            log.exception("listener failed", extra=self._context(object=name))

    # --- life --------------------------------------------------------------------------------

    def _alive(self) -> None:
        self._proof = boottime()
        if self.failure is not None:
            self.failure = None
            log.info("following again", extra=self._context())

    def _note(self, error: KubeError) -> None:
        """Log a failure when it begins, not each time it goes on."""
        if self.failure is None and not isinstance(error, Silent):
            log.warning("cannot follow: %s", error, extra=self._context())
        self.failure = error

    def _context(self, **more: str) -> dict[str, str]:
        return {"server": self._client.name, "resource": self.resource.plural, **more}


def older(version: str, seen: str) -> bool:
    """Whether a resourceVersion is older than another; not, where they cannot be compared."""
    return _comparable(version) and _comparable(seen) and int(version) < int(seen)


def _comparable(version: str) -> bool:
    return version.isdecimal() and len(version) <= _VERSION_DIGITS
