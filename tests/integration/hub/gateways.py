"""Plays the kubelet for the gateway of the data's center: its Secret, its program.

Invariant: the program sees what its pod mounts, and nothing else tells it anything.
"""

from __future__ import annotations

import asyncio
import base64
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from huiju.centers.agentrole import GATEWAY
from huiju.kube.errors import NotFound
from huiju.kube.resources import SECRETS
from lab import joining
from tests.integration.hub.moving import OWNER, Moving
from tests.patience import PATIENCE


@asynccontextmanager
async def gateway(data: Moving) -> AsyncIterator[Path]:
    """Runs the gateway while it is entered; gives the file of all that it said."""
    state, log = data.folder / "gateway", data.folder / "gateway.log"
    state.mkdir()
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "huiju", "gateway", "--state", str(state)),
            *("--port", str(data.gateway_port), "--log-level", "debug"),
            stdout=out,
            stderr=out,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"},
        )
    telling = asyncio.create_task(_tell(data, state))
    try:
        yield log
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0, log.read_text()


async def _tell(data: Moving, state: Path) -> None:
    """Have the folder hold what the Secret does, each file whole."""
    client = data.world.center_clients[OWNER]
    while True:
        with suppress(NotFound):
            secret = await client.get(SECRETS, GATEWAY, joining.SYSTEM)
            for name, text in (secret.get("data") or {}).items():
                content = base64.b64decode(text)
                file = state / name
                if not file.exists() or file.read_bytes() != content:
                    half = state / f".{name}"
                    half.write_bytes(content)
                    half.replace(file)
        await asyncio.sleep(0.1)
