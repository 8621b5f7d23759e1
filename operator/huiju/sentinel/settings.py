"""Settings of the sentinel, each with its unit and why its default is what it is."""

from __future__ import annotations

from dataclasses import dataclass

from huiju.centers.lease import PROFILES, SENTINEL_PORT


@dataclass(frozen=True, slots=True)
class SentinelSettings:
    """What a center's owner may tune; everything has a default that works."""

    namespace: str = "huiju-system"
    """The sentinel's own namespace, which holds the Lease on which it asks."""
    identity: str = "huiju-sentinel"
    """Who asks, as the Lease shows it: the pod's name."""
    bind: str = "127.0.0.1"
    """Address of all that it serves."""
    lease_port: int = SENTINEL_PORT
    """Port that guards ask."""
    health_port: int = 8084
    """Port of health pages and metrics."""
    first_ask: float = 5.0
    """Seconds between two asks before the first answer: the hub answers the newest one at once when
    it comes, so more of them would bring nothing."""
    asks_in_a_lease: float = 15.0
    """So many asks fall into the length of a lease: a few may be lost without harm."""
    longest_lease: float = max(profile.lease for profile in PROFILES.values())
    """Seconds that a lease which an earlier sentinel was granted may still hold, at most."""
    retry: float = 1.0
    """Seconds after which a write that failed is tried again."""
