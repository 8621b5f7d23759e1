"""The owner's policy as it is now in the center, and what the federation holds under it.

Decides whether a bundle may be made, just before it is. Invariants: a policy that was not read yet,
makes no sense or is not there lets nothing in; what was let in and has no pods yet counts as held,
so many jobs that come at once do not pass a limit together.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from huiju.agent.policy import Policy, PolicyRefused, check, parse, wanted_units
from huiju.api.reasons import Reason
from huiju.centers.agentrole import POLICY
from huiju.centers.bundle import Bundle
from huiju.centers.census import Census
from huiju.centers.objects import Meta
from huiju.centers.observe import Observation, State
from huiju.centers.refusals import DispatchRefused
from huiju.kube.client import Client
from huiju.kube.informer import Informer
from huiju.kube.resources import CONFIG_MAPS

log = logging.getLogger(__name__)
_LIVE = (State.PENDING, State.RUNNING)


class _ConfigMap(msgspec.Struct, gc=False):
    """A ConfigMap's texts."""

    metadata: Meta
    data: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Grant:
    """What one epoch was let in with."""

    workers: int
    units: dict[str, int]
    """Of each worker."""


class Owner:
    """Asked before anything is made; `run` follows the policy."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        hub_id: str,
        census: Callable[[], Census],
        observations_of: Callable[[str], Iterable[Observation]],
    ) -> None:
        self._namespace = namespace
        self.trouble = self._missing()
        """What is wrong with the policy, empty if nothing is."""
        self._hub_id = hub_id
        self._census = census
        self._observations_of = observations_of
        self._policy: Policy | None = None
        self._grants: dict[tuple[str, int], _Grant] = {}
        self._making: set[tuple[str, int]] = set()
        self._sweep_at = 64
        self._informer = Informer(
            client,
            CONFIG_MAPS,
            _ConfigMap,
            namespace=namespace,
            fields=f"metadata.name={POLICY}",
            on_change=self._changed,
        )

    @property
    def synced(self) -> asyncio.Event:
        """Set once the policy was read, or is known not to be there."""
        return self._informer.synced

    async def run(self) -> None:
        """Follow the policy until cancelled."""
        await self._informer.run()

    def _missing(self) -> str:
        return (
            f"there is no ConfigMap {POLICY} in namespace {self._namespace}; an empty one lets"
            " everything in but host paths and foreign namespaces"
        )

    def _changed(self, _old: _ConfigMap | None, new: _ConfigMap | None) -> None:
        self.follow(new.data if new is not None else None)

    def follow(self, data: Mapping[str, str] | None) -> None:
        """Take the owner's word as it is now, None where there is none."""
        self._policy, self.trouble = None, self._missing()
        if data is not None:
            try:
                self._policy, self.trouble = parse(data), ""
            except PolicyRefused as refusal:
                self.trouble = f"ConfigMap {POLICY}: {refusal}"
        if self.trouble:
            log.error("nothing is let in: %s", self.trouble)

    def admit(self, bundle: Bundle) -> None:
        """Let a bundle in, and count what it will hold; `settled` must follow.

        Raises:
            DispatchRefused: the owner does not allow it, or not so much.
        """
        policy = self._policy
        if policy is None:
            raise DispatchRefused(
                Reason.SHARING_POLICY,
                f"The owner's policy in center {bundle.center} cannot be read: {self.trouble}.",
            )
        check(policy, bundle, self._hub_id)
        workers, units = wanted_units(bundle)
        if len(self._grants) >= self._sweep_at:
            self._forget_the_ended()
            self._sweep_at = 2 * len(self._grants) + 64
        if policy.limits_units:
            self._check_units(policy, bundle, workers, units)
        self._grants[bundle.job_uid, bundle.epoch] = _Grant(workers, units)
        self._making.add((bundle.job_uid, bundle.epoch))

    def recall(self, bundle: Bundle) -> None:
        """Count what was let in before this process began."""
        self._grants[bundle.job_uid, bundle.epoch] = _Grant(*wanted_units(bundle))

    def settled(self, bundle: Bundle) -> None:
        """The making has ended, well or not: from now on only what is to be seen counts."""
        self._making.discard((bundle.job_uid, bundle.epoch))

    def _check_units(
        self, policy: Policy, bundle: Bundle, workers: int, units: dict[str, int]
    ) -> None:
        self._forget_the_ended()
        tallies = self._census().tallies
        for resource, each in units.items():
            of_it = [tally for (_, name), tally in tallies.items() if name == resource]
            if not of_it:
                continue  # no accelerator of this center, a network card perhaps: not shared out
            most = policy.most_of(resource, sum(tally.allocatable for tally in of_it))
            held = sum(tally.federated for tally in of_it) + self._coming(resource, bundle)
            if held + workers * each > most:
                raise DispatchRefused(
                    Reason.SHARING_LIMIT,
                    f"The owner of center {bundle.center} lets federated jobs hold {most} of"
                    f" {resource}: {held} are held, and {workers * each} more are asked for.",
                )

    def _coming(self, resource: str, besides: Bundle) -> int:
        """Units of workers that were let in and have no node yet."""
        return sum(
            max(grant.workers - self._bound(uid, epoch), 0) * grant.units.get(resource, 0)
            for (uid, epoch), grant in self._grants.items()
            if (uid, epoch) != (besides.job_uid, besides.epoch)
        )

    def _bound(self, uid: str, epoch: int) -> int:
        return sum(seen.bound for seen in self._observations_of(uid) if seen.epoch == epoch)

    def _forget_the_ended(self) -> None:
        for uid, epoch in list(self._grants):
            seen = [one for one in self._observations_of(uid) if one.epoch == epoch]
            making = (uid, epoch) in self._making
            if not making and not any(one.state in _LIVE for one in seen):
                del self._grants[uid, epoch]
