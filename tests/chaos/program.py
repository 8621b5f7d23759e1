"""Huiju's hub or agent as a storm runs it: the real one, in short times, with a clock that leaps.

Decides settings, and that SIGUSR1 sets the wall clock an hour on and the next one as much back.
Everything else is `huiju hub` and `huiju agent`. Invariant: times that are counted on other clocks
do not leap.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Final

import uvloop

from huiju.agent.credentials import FileIdentity
from huiju.agent.run import run_agent
from huiju.agent.settings import AgentSettings
from huiju.hub.run import run_hub
from huiju.hub.settings import HubSettings, LeaseSettings
from huiju.kube.kubeconfig import from_kubeconfig
from huiju.telemetry.logs import configure

_LEAP: Final = 3600.0
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
    )


def agent_settings(center: str, port: int) -> AgentSettings:
    """As `hub_settings`."""
    return AgentSettings(center, heartbeat=1.0, publish_interval=0.2, retry=0.5, health_port=port)


def _leap(_number: int, _frame: object) -> None:
    global _offset
    _offset = 0.0 if _offset else _LEAP


def _now() -> float:
    return _true_time() + _offset


def main() -> int:
    """Run one of the two until a signal ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("program", choices=("hub", "agent"))
    parser.add_argument("--kubeconfig", type=Path, required=True, help="of the hub")
    parser.add_argument("--center-kubeconfig", type=Path)
    parser.add_argument("--center", default="")
    parser.add_argument("--health-port", type=int, required=True)
    given = parser.parse_args()
    signal.signal(signal.SIGUSR1, _leap)
    time.time = _now
    configure("text", "info")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.program == "hub":
            return runner.run(
                run_hub(lambda: from_kubeconfig(given.kubeconfig), hub_settings(given.health_port))
            )
        return runner.run(
            run_agent(
                lambda _center: FileIdentity(given.kubeconfig),
                from_kubeconfig(given.center_kubeconfig),
                agent_settings(given.center, given.health_port),
            )
        )


if __name__ == "__main__":
    sys.exit(main())
