"""The sources of the center's own data: their keys, their manifests, and links to them.

Decides how each kind of source is reached. Invariants: a key is read when links are made, used and
forgotten, and only for shares to which the center's owner offers it; a manifest is believed by its
digest alone; nothing that is logged has a key or an address with a signature in it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from huiju.agent.offers import not_offered
from huiju.agent.policy import Policy, PolicyRefused, parse
from huiju.agent.settings import AgentSettings
from huiju.api.dataset import HttpSource, S3Source
from huiju.api.reasons import Reason
from huiju.centers.agentrole import GATEWAY, POLICY
from huiju.data import manifest
from huiju.data.access import Refused, Share
from huiju.data.manifest import ManifestRefused, Reader
from huiju.data.signing import GatewayLinker, Linker, S3Linker
from huiju.data.sigv4 import Bucket, Key, Signer
from huiju.data.tokens import KEY_BYTES
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, NotFound, Transient
from huiju.kube.resources import CONFIG_MAPS, SECRETS

_MINUTE: Final = 60
_KEPT: Final = 256
"""Manifests kept in the folder; those that were not asked for longest go."""
_BLOCK: Final = 1 << 20
_PATIENCE: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)


class SourceRefused(Exception):
    """A source that cannot be served; `refused` says why."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.refused = Refused(reason, message)


class Sources:
    """Links and manifests of the center's shares. Use as a context of one event loop."""

    def __init__(self, center: Client, folder: Path, settings: AgentSettings) -> None:
        self._center = center
        self._folder = folder
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open."""
        if self._session is not None:
            await self._session.close()

    async def offered(self, share: Share) -> None:
        """Raise SourceRefused where the center's owner does not offer the source to the share."""
        try:
            found = await self._center.get(CONFIG_MAPS, POLICY, self._settings.namespace)
            policy = parse(found.get("data") or {})
        except NotFound:
            policy = Policy()
        except PolicyRefused as refusal:
            message = f"The owner's policy in center {self._settings.center}: {refusal}"
            raise SourceRefused(Reason.PERMISSION_DENIED, message) from None
        refused = not_offered(policy.data_sources, share, self._settings.center)
        if refused is not None:
            raise SourceRefused(refused.reason, refused.message)

    async def linker(self, share: Share) -> Linker:
        """What makes links; raises SourceRefused, KubeError."""
        s3 = share.spec.source.s3
        if s3 is not None:
            return S3Linker(await self._signer(s3))
        if not self._settings.gateway_url:
            raise SourceRefused(
                Reason.PEER_UNREACHABLE,
                f"Center {self._settings.center} has no gateway for folders and web servers: run"
                " `huiju gateway`, and give the agent its address.",
            )
        return GatewayLinker(self._settings.gateway_url, await self.gateway_key())

    async def _signer(self, source: S3Source) -> Signer:
        data = await self._secret(source.secret_name, ("accessKeyId", "secretAccessKey"))
        key = Key(data["accessKeyId"], data["secretAccessKey"], data.get("sessionToken", ""))
        bucket = Bucket(source.endpoint, source.bucket, source.prefix or "", source.region)
        return Signer(bucket, key)

    async def _secret(self, name: str, needed: tuple[str, ...]) -> dict[str, str]:
        where = f"Secret {name} in namespace {self._settings.namespace} of the owner's center"
        try:
            found: dict[str, Any] = await self._center.get(SECRETS, name, self._settings.namespace)
        except NotFound:
            raise SourceRefused(Reason.PERMISSION_DENIED, f"There is no {where}.") from None
        data = _plain(found.get("data") or {})
        missing = [key for key in needed if not data.get(key)]
        if missing:
            raise SourceRefused(Reason.PERMISSION_DENIED, f"{where} lacks {', '.join(missing)}.")
        return data

    async def web_token(self, source: HttpSource) -> str:
        """What a web server wants to see, empty where nothing; raises SourceRefused, KubeError."""
        if source.secret_name is None:
            return ""
        return (await self._secret(source.secret_name, ("token",)))["token"]

    async def gateway_key(self) -> bytes:
        """The key of the gateway's tokens; made once, and kept in the center alone."""
        space = self._settings.namespace
        try:
            found: dict[str, Any] = await self._center.get(SECRETS, GATEWAY, space)
        except NotFound:
            key = secrets.token_bytes(KEY_BYTES)
            body = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": GATEWAY, "namespace": space},
                "data": {"key": base64.b64encode(key).decode()},
            }
            try:
                await self._center.create(SECRETS, body, space)
            except AlreadyExists:
                raise Transient("the gateway's key was made by another just now") from None
            return key
        try:
            return base64.b64decode((found.get("data") or {}).get("key") or "", validate=True)
        except binascii.Error:
            return b""

    # --- manifests -------------------------------------------------------------------------------

    async def listed(self, share: Share, digest: str) -> Reader:
        """The manifest of a version; raises SourceRefused, KubeError."""
        file = self._folder / f"{digest.removeprefix('sha256:')}.ndjson"
        if not await asyncio.to_thread(_fresh, file):
            await self._fetch(share, digest, file)
        try:
            return await asyncio.to_thread(Reader, file)
        except (ManifestRefused, OSError) as error:
            raise SourceRefused(Reason.MANIFEST_MISSING, f"Its manifest: {error}") from None

    async def _fetch(self, share: Share, digest: str, file: Path) -> None:
        half = file.with_suffix(".half")
        source, name = share.spec.source, manifest.name_of(digest)
        try:
            await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
            if source.files is not None:
                await asyncio.to_thread(_copy, Path(source.files.path) / name, half)
            elif source.s3 is not None:
                signer = await self._signer(source.s3)
                key = signer.bucket.key(name)
                await self._get(signer.url("GET", key, time.time(), _MINUTE), {}, half)
            elif source.http is not None:
                token = await self.web_token(source.http)
                headers = {"Authorization": f"Bearer {token}"} if token else {}
                await self._get(f"{source.http.url.rstrip('/')}/{name}", headers, half)
            await asyncio.to_thread(manifest.expect, half, digest)
            await asyncio.to_thread(half.replace, file)
        except OSError as error:
            words = error.strerror or type(error).__name__
            raise SourceRefused(Reason.MANIFEST_MISSING, f"Its manifest: {words}") from None
        except ManifestRefused as error:
            raise SourceRefused(Reason.MANIFEST_MISSING, f"Its manifest: {error}") from None
        await asyncio.to_thread(_thin, self._folder)

    async def _get(self, url: str, headers: Mapping[str, str], half: Path) -> None:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, timeout=_PATIENCE)
        try:
            async with self._session.get(
                URL(url, encoded=True), headers=headers, allow_redirects=False
            ) as answer:
                if answer.status in (429, 500, 502, 503, 504):
                    raise Transient(f"the source answers {answer.status}")
                if answer.status != 200:
                    reason = (
                        Reason.MANIFEST_MISSING
                        if answer.status == 404
                        else Reason.PERMISSION_DENIED
                    )
                    raise SourceRefused(
                        reason, f"The source answers {answer.status} to its own manifest."
                    )
                opened = await asyncio.to_thread(half.open, "wb")
                try:
                    async for block in answer.content.iter_chunked(_BLOCK):
                        await asyncio.to_thread(opened.write, block)
                finally:
                    await asyncio.to_thread(opened.close)
        except (aiohttp.ClientError, TimeoutError) as error:
            # Without its words: some have the address, and that has a signature.
            raise Transient(f"the source is not reached: {type(error).__name__}") from None


def _plain(data: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name, value in data.items():
        with suppress(binascii.Error, UnicodeDecodeError):
            found[name] = base64.b64decode(value, validate=True).decode().strip()
    return found


def _fresh(file: Path) -> bool:
    """Whether the file is there; it counts as asked for now."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        file.touch()
        return True
    except OSError:
        return False
    file.unlink()
    return False


def _copy(source: Path, half: Path) -> None:
    import shutil

    shutil.copyfile(source, half)


def _thin(folder: Path) -> None:
    """Let those go that were not asked for longest."""
    files = sorted(folder.glob("*.ndjson"), key=lambda f: f.stat().st_mtime)
    for file in files[:-_KEPT]:
        file.unlink(missing_ok=True)
