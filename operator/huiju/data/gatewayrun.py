"""`huiju gateway`: the gateway as a program beside the owner's agent.

Reads what it may hand out from a folder that the agent keeps (a mounted Secret): `key`, 32 bytes or
more that sign tokens; `state.json` with the objects `shares`, `grants` and `places`; and, for web
servers, `token-UID`. Invariants: without a state that can be read nothing is handed out; a change
is taken over within seconds; the folder is read, never written.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from huiju.data.access import Place
from huiju.data.authority import Authority
from huiju.data.gateway import Gateway, Settings
from huiju.data.tokens import KEY_BYTES

log = logging.getLogger(__name__)
_LOOK: Final = 2.0
"""Seconds between two looks at the folder: kubelets renew it once a minute."""


class State:
    """What the folder says."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority()
        self.key = b""
        self._folder = folder
        self._read = ""

    def signing_key(self) -> bytes:
        """The key of the tokens, empty where nothing may be handed out."""
        return self.key

    def token_of(self, uid: str) -> str:
        """The web server's token of a share."""
        try:
            return (self._folder / f"token-{Path(uid).name}").read_text().strip()
        except OSError:
            return ""

    def refresh(self) -> None:
        """Take over what the folder says now; what cannot be read closes the gateway."""
        try:
            text = (self._folder / "state.json").read_text(encoding="utf-8")
            key = (self._folder / "key").read_bytes()
            if len(key) < KEY_BYTES:
                raise ValueError(f"the file key must have {KEY_BYTES} bytes or more")
            if text != self._read:
                self._take(json.loads(text))
                self._read = text
            self.key = key
        except (OSError, ValueError, KeyError, TypeError) as error:
            if self._read or self.key:
                log.error("state unreadable: nothing is handed out", extra={"error": str(error)})
            self.authority.tell((), (), ())
            self.key, self._read = b"", ""

    def _take(self, state: Mapping[str, Any]) -> None:
        places = [
            Place(each["name"], each["region"], frozenset(each.get("residency", ())))
            for each in state.get("places", ())
        ]
        bad = self.authority.tell(state.get("shares", ()), state.get("grants", ()), places)
        for line in bad:
            log.warning("not served", extra={"object": line})


def write_state(
    folder: Path,
    key: bytes,
    shares: list[Mapping[str, Any]],
    grants: list[Mapping[str, Any]],
    places: list[Place],
) -> None:
    """Write what `refresh` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / ".state.json"
    half.write_text(state_text(shares, grants, places), encoding="utf-8")
    half.replace(folder / "state.json")
    (folder / "key").write_bytes(key)


def state_text(
    shares: list[Mapping[str, Any]], grants: list[Mapping[str, Any]], places: list[Place]
) -> str:
    """The text of `state.json`."""
    told = [
        {"name": place.name, "region": place.region, "residency": sorted(place.residency)}
        for place in places
    ]
    return json.dumps({"shares": shares, "grants": grants, "places": told}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """Where the gateway listens and what it reads."""

    state: Path
    bind: str = "127.0.0.1"
    port: int = 8090
    tls_cert: Path | None = None
    """Certificate chain in PEM form; without one it speaks plain HTTP, behind a TLS proxy."""
    tls_key: Path | None = None
    """Its key."""

    def context(self) -> ssl.SSLContext | None:
        """A TLS context, where there is a certificate."""
        if self.tls_cert is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.tls_cert, self.tls_key)
        return context


async def run_gateway(settings: GatewaySettings) -> int:
    """Serve until a signal; returns the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state = State(settings.state)
    await asyncio.to_thread(state.refresh)
    with tempfile.TemporaryDirectory(prefix="huiju-gateway-") as folder:
        gateway = Gateway(
            Settings(state.authority, state.signing_key, Path(folder), state.token_of)
        )
        runner = web.AppRunner(gateway.application(), access_log=None, shutdown_timeout=5)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.bind, settings.port, ssl_context=settings.context())
            await site.start()
            port = runner.addresses[0][1]
            log.info("gateway", extra={"address": f"{settings.bind}:{port}"})
            while not stop.is_set():
                try:
                    await asyncio.wait_for(stop.wait(), _LOOK)
                except TimeoutError:
                    await asyncio.to_thread(state.refresh)
        finally:
            await runner.cleanup()
    return 0
