"""The agent's identity on the hub: obtained once, kept in the center, renewed before it ends.

Decides when a credential is exchanged and renewed. Invariants: a kubeconfig is data only, wherever
it lies; the new credential is stored before the old one is given up; the bootstrap account is
deleted once its token was exchanged; no token reaches a log or a message.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import msgspec
import yaml

from huiju.agent.settings import AgentSettings
from huiju.centers.agentrole import ACCOUNT, BOOTSTRAP, CREDENTIAL
from huiju.centers.mailbox import mailbox_of
from huiju.kube.client import Client
from huiju.kube.clock import boottime
from huiju.kube.credentials import Credentials
from huiju.kube.errors import (
    KubeconfigRefused,
    KubeError,
    NotFound,
    Transient,
    Unauthorized,
)
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.life import life_of_token
from huiju.kube.resources import SECRETS, SERVICE_ACCOUNTS

log = logging.getLogger(__name__)
_KEY: Final = "kubeconfig"
_LONGEST_SLEEP: Final = 3600.0
_LOOK_AGAIN: Final = 20.0
"""Seconds after which connections take a renewed token up; a refused one is read at once."""


class NoCredential(Transient):
    """There is nothing yet by which the hub would know this agent; the message says the cure."""


class HubIdentity(Protocol):
    """Who the agent is on the hub."""

    async def credentials(self) -> Credentials:
        """As they are now; raises NoCredential."""

    async def run(self) -> NoReturn:
        """Keep them valid until cancelled."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A kubeconfig that somebody else keeps valid; read again and again."""

    path: Path

    async def credentials(self) -> Credentials:
        """What the file holds now."""
        found = await asyncio.to_thread(_from_file, self.path)
        if found is None:
            raise NoCredential(f"{self.path}, the kubeconfig of the hub, is not there")
        return replace(found, refresh_seconds=_LOOK_AGAIN)

    async def run(self) -> NoReturn:
        """Nothing to do: whoever writes the file renews it."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


class OwnIdentity:
    """A credential of the agent's own, in a Secret of the center."""

    def __init__(self, center: Client, settings: AgentSettings, bootstrap: Path | None) -> None:
        self.renewals = 0
        """Credentials obtained by this process."""
        self._center = center
        self._settings = settings
        self._bootstrap = bootstrap
        self._current: Credentials | None = None
        self._trouble = "the agent has no credential for the hub yet"
        self._burnt = False
        self._due = float("-inf")
        """When to renew, on the boot-time clock."""

    async def credentials(self) -> Credentials:
        """The current one; a refused one is asked for again here, which brings a new exchange."""
        if self._current is None:
            raise NoCredential(self._trouble)
        return replace(self._current, refresh_seconds=_LOOK_AGAIN)

    async def run(self) -> NoReturn:
        """Obtain it, then renew it before it ends, until cancelled."""
        while True:
            pause = self._settings.retry
            try:
                await self._step()
                pause = min(max(self._due - boottime(), 0.0), _LONGEST_SLEEP)
            except Unauthorized:
                # Only a new token of the hub's platform engineers helps: look for one.
                self._current = None
                self._say(
                    "the hub refuses the agent's credential (revoked, or ended):"
                    f" kubectl huiju join {self._settings.center} --pull makes a new token"
                )
                with suppress(KubeError, TimeoutError):
                    self._current = await self._exchanged()
            except KubeconfigRefused as refusal:
                self._say(refusal.message)
            except (KubeError, TimeoutError) as error:
                self._say(str(error))
            await asyncio.sleep(pause)

    async def _step(self) -> None:
        if self._current is None:
            self._current = await self._stored()
        if self._current is None:
            self._current = await self._exchanged()
        elif boottime() >= self._due:
            # Also at each start: how old a stored token is, only the hub's clock knows.
            renewed = await self._token_by(self._current)
            await self._store(renewed)
            self._current = renewed
        if not self._burnt:
            await self._burn(self._current)
        self._trouble = ""

    # --- obtaining ---------------------------------------------------------------------------

    async def _stored(self) -> Credentials | None:
        try:
            secret = await self._center.get(SECRETS, CREDENTIAL, self._settings.namespace)
        except NotFound:
            return None
        try:
            data = base64.b64decode((secret.get("data") or {}).get(_KEY) or "", validate=True)
        except binascii.Error:
            return None
        return from_secret_bytes(data) if data else None

    async def _exchanged(self) -> Credentials:
        """The agent's own credential for the bootstrap token, which is worthless afterwards."""
        file, bootstrap = self._bootstrap, None
        if file is not None:
            bootstrap = await asyncio.to_thread(_from_file, file)
        if bootstrap is None:
            raise NoCredential(
                "the agent has no credential for the hub and no bootstrap token: kubectl huiju"
                f" join {self._settings.center} --pull makes one"
            )
        try:
            own = await self._token_by(bootstrap)
        except Unauthorized:
            raise NoCredential(
                "the hub refuses the bootstrap token (ended, or used already; if not by this agent,"
                f" revoke the center at once): kubectl huiju join {self._settings.center} --pull"
                " makes a new one"
            ) from None
        await self._store(own)
        log.info("the bootstrap token was exchanged for the agent's own credential")
        return own

    async def _burn(self, own: Credentials) -> None:
        """See to it that no bootstrap token of this center is good for anything any more."""
        async with Client(own, name="hub") as client:
            with suppress(NotFound):
                await client.delete(SERVICE_ACCOUNTS, BOOTSTRAP, mailbox_of(self._settings.center))
        self._burnt = True

    async def _token_by(self, credentials: Credentials) -> Credentials:
        path = SERVICE_ACCOUNTS.path(mailbox_of(self._settings.center), ACCOUNT, "token")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": int(self._settings.credential_lifetime)},
        }
        asked = boottime()
        async with Client(credentials, name="hub") as client:
            answer = await client.raw("POST", path, body=msgspec.json.encode(request))
        token = str(msgspec.json.decode(answer)["status"]["token"])
        # Servers may give a shorter or a longer one than was asked for.
        life = life_of_token(token)
        lasts = life.seconds if life is not None else self._settings.credential_lifetime
        self._due = asked + lasts * self._settings.credential_share
        self.renewals += 1
        return replace(credentials, token=token, refresh_seconds=None, reload=None)

    async def _store(self, credentials: Credentials) -> None:
        text = kubeconfig_of(credentials)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": CREDENTIAL, "namespace": self._settings.namespace},
            "data": {_KEY: base64.b64encode(text.encode()).decode()},
        }
        space = self._settings.namespace
        try:
            await self._center.patch(SECRETS, CREDENTIAL, {"data": body["data"]}, space)
        except NotFound:
            await self._center.create(SECRETS, body, space)

    def _say(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("no credential for the hub: %s", trouble)
        self._trouble = trouble


# --- texts ----------------------------------------------------------------------------------------


def kubeconfig_of(credentials: Credentials) -> str:
    """The kubeconfig of a token: data only, as it is read back."""
    cluster: dict[str, Any] = {"server": credentials.server}
    if credentials.ca_pem is not None:
        cluster["certificate-authority-data"] = base64.b64encode(credentials.ca_pem).decode()
    if credentials.tls_server_name:
        cluster["tls-server-name"] = credentials.tls_server_name
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "hub", "cluster": cluster}],
        "users": [{"name": ACCOUNT, "user": {"token": credentials.token}}],
        "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": ACCOUNT}}],
        "current-context": "hub",
    }
    return str(yaml.safe_dump(config, sort_keys=False))


def _from_file(path: Path) -> Credentials | None:
    """The kubeconfig in a file; None where there is none.

    Raises:
        KubeconfigRefused: it is not data only.
        Transient: it cannot be read.
    """
    try:
        return from_secret_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Transient(f"{path} cannot be read ({error.strerror})") from error
