"""A client that writes only while this process leads.

Decides nothing; invariant: no write leaves this process after its Lease has run out by its own
boot-time clock, so one that slept through its Lease cannot overtake its successor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from huiju.kube.client import Client
from huiju.kube.errors import Transient
from huiju.kube.resources import Resource
from huiju.kube.transport import CredentialsSource, Observer


class NotLeading(Transient):
    """The Lease is not held: the write was not sent."""


class LeaderClient(Client):
    """A Client whose writes need the Lease."""

    def __init__(
        self,
        credentials: CredentialsSource,
        *,
        name: str,
        held: Callable[[], bool],
        observer: Observer | None = None,
    ) -> None:
        super().__init__(credentials, name=name, observer=observer)
        self._held = held

    def _check(self) -> None:
        if not self._held():
            raise NotLeading("this process does not hold its Lease")

    async def _write(self, *args: Any, **kwargs: Any) -> Any:
        if not kwargs.get("dry_run"):
            self._check()
        return await super()._write(*args, **kwargs)

    async def delete(self, res: Resource, name: str, *args: Any, **kwargs: Any) -> None:
        """See `Client.delete`; raises NotLeading without the Lease."""
        self._check()
        await super().delete(res, name, *args, **kwargs)
