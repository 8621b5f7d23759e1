"""Huiju's programs as a storm runs them: the real ones, in short times, with a clock that leaps.

Decides settings, and that SIGUSR1 sets the wall clock an hour on and the next one as much back.
Everything else is `huiju hub`, `huiju agent` and `huiju sentinel`. Invariant: times that are
counted on other clocks do not leap.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import uvloop

from huiju.agent.credentials import FileIdentity
from huiju.agent.run import run_agent
from huiju.agent.settings import AgentSettings
from huiju.centers.lease import PROFILES, LeaseProfile
from huiju.hub.run import run_hub
from huiju.hub.settings import HubSettings, LeaseSettings
from huiju.kube.kubeconfig import from_kubeconfig
from huiju.sentinel.run import run_sentinel
from huiju.sentinel.settings import SentinelSettings
from huiju.telemetry.logs import configure

_LEAP: Final = 3600.0
_LEASE: Final = LeaseProfile(lease=10.0, ask=0.7, poll=0.3, stop=4.0, grace=3.0)
_true_time = time.time
_offset = 0.0


def hub_settings(port: int) -> HubSettings:
    """Waiting in seconds instead of minutes; what decides about safety is as it is by default."""
    return HubSettings(
        health_port=port,
        lease=LeaseSettings(duration=5, renew=3.0, retry=0.5),
        waiting_write_delay=0.5,
        waiting_write_interval=2.0,
        center_status_interval=0.5,
        queue_figures_interval=2.0,
        center_heartbeat=1.0,
        center_lost_after=6.0,
        center_retry=1.0,
        refused_recheck=2.0,
        retry_base=0.5,
        retry_max=3.0,
        avoid_seconds=5.0,
        orphan_interval=2.0,
        tombstone_seconds=3600.0,
        fence_interval=0.3,
        guard_image="registry.invalid/huiju:1",
        lease_profiles=dict.fromkeys(PROFILES, _LEASE),
    )


def agent_settings(center: str, port: int) -> AgentSettings:
    """As `hub_settings`."""
    return AgentSettings(center, heartbeat=1.0, publish_interval=0.2, retry=0.5, health_port=port)


def sentinel_settings(port: int, lease_port: int) -> SentinelSettings:
    """As `hub_settings`."""
    return SentinelSettings(
        lease_port=lease_port,
        health_port=port,
        first_ask=0.5,
        longest_lease=_LEASE.lease,
        retry=0.3,
    )


def _leap(_number: int, _frame: object) -> None:
    global _offset
    _offset = 0.0 if _offset else _LEAP


def _now() -> float:
    return _true_time() + _offset


def main() -> int:
    """Run one of them until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("hub", "agent", "sentinel"))
    parser.add_argument("--kubeconfig", type=Path, help="of the hub")
    parser.add_argument("--center-kubeconfig", type=Path)
    parser.add_argument("--center", default="")
    parser.add_argument("--health-port", type=int, required=True)
    parser.add_argument("--lease-port", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGUSR1, _leap)
    time.time = _now
    configure("text", "info")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(given))


def _run(given: argparse.Namespace) -> Coroutine[Any, Any, int]:
    match given.program:
        case "hub":
            return run_hub(
                lambda: from_kubeconfig(given.kubeconfig), hub_settings(given.health_port)
            )
        case "agent":
            return run_agent(
                lambda _center: FileIdentity(given.kubeconfig),
                from_kubeconfig(given.center_kubeconfig),
                agent_settings(given.center, given.health_port),
            )
        case _:
            return run_sentinel(
                from_kubeconfig(given.center_kubeconfig),
                sentinel_settings(given.health_port, given.lease_port),
            )


if __name__ == "__main__":
    sys.exit(main())
