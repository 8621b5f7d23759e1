"""Keeps the center's gateway told of what it may hand out now.

The gateway believes the Secret that is written here, and judges each request by it. Decides what
belongs into it: shares of folders and web servers that a transfer asks for, their grants and the
centers that copy, each as the hub's API server has it now. Invariant: what the API server says no
more is taken out within `data_interval` and the kubelet's time to bring a Secret; while the API
server does not answer, what was true last stays, since every link ends within minutes anyway.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from huiju.agent.serving import Serving, places_of
from huiju.agent.settings import AgentSettings
from huiju.agent.sources import SourceRefused, Sources
from huiju.api.transfer import CenterServingSpec
from huiju.centers.agentrole import GATEWAY
from huiju.data import access
from huiju.data.gatewayrun import state_text
from huiju.kube.client import Client
from huiju.kube.errors import KubeError
from huiju.kube.resources import COMPUTE_CENTERS, DATASET_GRANTS, DATASET_SHARES, SECRETS

log = logging.getLogger(__name__)
Fields = dict[str, Any]
_KEPT: Final = ("apiVersion", "kind", "spec")


class GatewayState:
    """The writer of one center's gateway's Secret."""

    def __init__(
        self, center: Client, serving: Serving, sources: Sources, settings: AgentSettings
    ) -> None:
        self._center = center
        self._serving = serving
        self._sources = sources
        self._settings = settings
        self._written: dict[str, str] = {}

    async def run(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(self._settings.data_interval)
            try:
                await self._once()
            except (KubeError, TimeoutError) as error:
                log.info("the gateway is not told", extra={"error": str(error)})
            except SourceRefused as refusal:
                log.warning("the gateway is not told: %s", refusal)

    async def _once(self) -> None:
        found = await self._state()
        if not found.keys() - {"state.json"} and not self._written and not self._asked():
            return  # nobody asks: nothing to make a key for
        if found == self._written:
            return
        await self._sources.gateway_key()
        gone = dict.fromkeys(self._written.keys() - found.keys())
        data = {n: base64.b64encode(text.encode()).decode() for n, text in found.items()}
        await self._center.patch(SECRETS, GATEWAY, {"data": data | gone}, self._settings.namespace)
        self._written = found

    def _asked(self) -> list[CenterServingSpec]:
        found = []
        for request in self._serving.requests:
            try:
                found.append(CenterServingSpec.model_validate(request.spec))
            except ValidationError:
                continue  # refused, and told, where it is answered
        return found

    async def _state(self) -> dict[str, str]:
        """The files of the gateway's folder."""
        shares: dict[str, Fields] = {}
        grants: dict[str, Fields] = {}
        centers: dict[str, Fields] = {}
        files: dict[str, str] = {}
        for spec in self._asked():
            share = await self._serving.get(DATASET_SHARES, spec.share.name, spec.share.namespace)
            if share is None or not await self._ours(share, files):
                continue
            shares[spec.share_uid] = _bare(share)
            for ref in spec.grants:
                grant = await self._serving.get(DATASET_GRANTS, ref.name, ref.namespace)
                if grant is not None:
                    grants[f"{ref.namespace}/{ref.name}"] = _bare(grant)
            center = await self._serving.get(COMPUTE_CENTERS, spec.center, None)
            if center is not None:
                centers[spec.center] = center
        places = [place for _, each in sorted(centers.items()) for place in places_of(each)]
        offered: list[Mapping[str, Any]] = [shares[key] for key in sorted(shares)]
        agreed: list[Mapping[str, Any]] = [grants[key] for key in sorted(grants)]
        return {"state.json": state_text(offered, agreed, places), **files}

    async def _ours(self, body: Fields, files: dict[str, str]) -> bool:
        """Whether the gateway serves the share; the token of its web server goes with it."""
        try:
            share = access.share_of(body)
        except ValidationError:
            return False
        source = share.spec.source
        if source.center != self._settings.center or source.s3 is not None:
            return False
        try:
            await self._sources.offered(share)
        except SourceRefused:
            return False  # told where links are asked for
        if source.http is not None:
            token = await self._sources.web_token(source.http)
            if token:
                files[f"token-{share.uid}"] = token
        return True


def _bare(body: Fields) -> Fields:
    """An object without what changes by itself."""
    meta = {n: body["metadata"].get(n) for n in ("namespace", "name", "uid")}
    granted = (body.get("status") or {}).get("grantedAt")
    kept: Fields = {n: body[n] for n in _KEPT if n in body}
    return kept | {"metadata": meta} | ({"status": {"grantedAt": granted}} if granted else {})
