"""A client that writes only while this process leads.

Decides nothing; invariant: no write leaves this process after its Lease has run out by its own
boot-time clock, so one that slept through its Lease cannot overtake its successor. The Lease is
looked at when a write is sent, not when it begins to wait for a connection or for its turn.
"""

from __future__ import annotations

from collections.abc import Callable

from huiju.kube.client import Client
from huiju.kube.errors import Transient
from huiju.kube.resources import Resource
from huiju.kube.transport import ClientSettings, CredentialsSource, Observer


class NotLeading(Transient):
    """The Lease is not held: the write was not sent."""


class LeaderClient(Client):
    """A Client whose writes need the Lease, dry runs apart."""

    def __init__(
        self,
        credentials: CredentialsSource,
        *,
        name: str,
        held: Callable[[], bool],
        settings: ClientSettings | None = None,
        observer: Observer | None = None,
    ) -> None:
        super().__init__(credentials, name=name, settings=settings, observer=observer)
        self._held = held

    def _permit(self, _res: Resource) -> Callable[[], None] | None:
        return self._check

    def _check(self) -> None:
        if not self._held():
            raise NotLeading("this process does not hold its Lease")
