"""The owner's gateway: hands out listed files of granted versions, range by range.

For sources that sign no URLs of their own: folders (PVC, NFS, a parallel file system) and web
servers. Decides each request by its token, by what the authority says now, and by the manifest.
Invariants: a path that the version's manifest does not list is not there; a file that is not what
the manifest says is not handed out; nothing is listed, written or logged with its token.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web
from yarl import URL

from huiju.api.reasons import Reason
from huiju.data import manifest, tokens
from huiju.data.access import Refused, Share
from huiju.data.authority import Asked, Authority
from huiju.data.manifest import Entry, ManifestRefused, Reader
from huiju.data.paths import RESERVED

MOST_REQUESTS: Final = 256
"""Answered at once; more are asked to wait."""
_BLOCK: Final = 1 << 20
_UPSTREAM: Final = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=60)
_PASSED_ON: Final = ("Content-Length", "Content-Range", "Content-Type")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway is given."""

    authority: Authority
    key: Callable[[], bytes]
    """The key of its tokens."""
    folder: Path
    """Where manifests of web servers are kept."""
    token_of: Callable[[str], str] = field(default=lambda _: "", repr=False)
    """The web server's token, by the share's UID."""
    now: Callable[[], float] = time.time


class Gateway:
    """The handlers. One per process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readers: dict[str, Reader] = {}
        self._loading = asyncio.Lock()
        self._slots = asyncio.Semaphore(MOST_REQUESTS)
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """The application; it owns a client for the web servers behind it."""
        app = web.Application(client_max_size=1)
        app.router.add_get("/v1/{share}/{digest:[0-9a-f]{64}}/{path:.+}", self._handle)
        app.on_cleanup.append(self._close)
        return app

    async def _close(self, app: web.Application) -> None:
        if self._session is not None:
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._slots.locked():
            return _refuse(503, Refused(Reason.THROTTLED, "too many at once"), wait=1)
        async with self._slots:
            return await self._judge(request)

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        share_uid, digest = request.match_info["share"], f"sha256:{request.match_info['digest']}"
        now = self._settings.now()
        try:
            claim = tokens.read(self._settings.key(), request.query.get("t", ""), now)
        except tokens.TokenRefused as refusal:
            reason = Reason.GRANT_EXPIRED if refusal.late else Reason.PERMISSION_DENIED
            return _refuse(403, Refused(reason, str(refusal)), late=refusal.late)
        if (claim.share, claim.digest) != (share_uid, digest):
            return _refuse(403, Refused(Reason.PERMISSION_DENIED, "the token is for other data"))
        asked = Asked(share_uid, digest, claim.center, claim.namespaces)
        verdict = self._settings.authority.judge(asked, now)
        if isinstance(verdict, Refused):
            return _refuse(403, verdict)
        return await self._serve(request, verdict.share, digest, request.match_info["path"])

    async def _serve(
        self, request: web.Request, share: Share, digest: str, path: str
    ) -> web.StreamResponse:
        source = share.spec.source
        own = path in (manifest.name_of(digest), manifest.signature_name_of(digest))
        try:
            entry = None if own else await self._entry(share, digest, path)
        except (ManifestRefused, OSError) as error:
            return _refuse(404, Refused(Reason.MANIFEST_MISSING, _words(error)))
        if entry is None and not own:
            return _refuse(404, Refused(Reason.SOURCE_NOT_FOUND, "the version has no such file"))
        if source.files is not None:
            return await asyncio.to_thread(_from_folder, Path(source.files.path), path, entry)
        if source.http is not None:
            return await self._from_web(request, share, source.http.url, path, entry)
        return _refuse(404, Refused(Reason.SOURCE_NOT_FOUND, "the source signs its own links"))

    async def _entry(self, share: Share, digest: str, path: str) -> Entry | None:
        """What the manifest says of a path; raises ManifestRefused, OSError."""
        if path.startswith(f"{RESERVED}/"):
            return None
        async with self._loading:
            reader = self._readers.get(digest)
            if reader is None:
                reader = self._readers[digest] = await self._load(share, digest)
        return await asyncio.to_thread(reader.find, path)

    async def _load(self, share: Share, digest: str) -> Reader:
        """The manifest, checked; what was checked is read from a copy of ours from now on."""
        folder, source = self._settings.folder, share.spec.source
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        if source.files is not None:
            file = Path(source.files.path) / manifest.name_of(digest)
        else:
            file = await self._fetched(share, digest)
        return await asyncio.to_thread(lambda: Reader(_kept(folder, digest, file)))

    async def _fetched(self, share: Share, digest: str) -> Path:
        """The manifest of a web server, in a file of ours."""
        web_source = share.spec.source.http
        if web_source is None:
            raise ManifestRefused("the source signs its own links")
        file = self._settings.folder / "fetched"
        answer = await self._get(share, web_source.url, manifest.name_of(digest), {})
        async with answer:
            if answer.status != 200:
                raise ManifestRefused(f"the source answers {answer.status} to its manifest")
            opened = await asyncio.to_thread(file.open, "wb")
            try:
                async for block in answer.content.iter_chunked(_BLOCK):
                    await asyncio.to_thread(opened.write, block)
            finally:
                opened.close()
        return file

    async def _get(
        self, share: Share, url: str, path: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False, timeout=_UPSTREAM)
        token = self._settings.token_of(share.uid)
        if token:
            headers = headers | {"Authorization": f"Bearer {token}"}
        address = URL(url.rstrip("/")).joinpath(*path.split("/"))
        return await self._session.get(address, headers=headers, allow_redirects=False)

    async def _from_web(
        self, request: web.Request, share: Share, url: str, path: str, entry: Entry | None
    ) -> web.StreamResponse:
        wanted = {n: request.headers[n] for n in ("Range",) if n in request.headers}
        try:
            answer = await self._get(share, url, path, wanted)
        except (aiohttp.ClientError, TimeoutError) as error:
            return _refuse(502, Refused(Reason.PEER_UNREACHABLE, type(error).__name__))
        async with answer:
            if answer.status not in (200, 206):
                reason = Reason.SOURCE_NOT_FOUND if answer.status == 404 else Reason.THROTTLED
                status = 404 if answer.status == 404 else 502
                return _refuse(status, Refused(reason, f"the source answers {answer.status}"))
            if entry is not None and _total(answer) not in (None, entry.size):
                return _refuse(409, Refused(Reason.SOURCE_CHANGED, "another size than published"))
            response = web.StreamResponse(status=answer.status)
            for name in _PASSED_ON:
                if name in answer.headers:
                    response.headers[name] = answer.headers[name]
            await response.prepare(request)
            async for block in answer.content.iter_any():
                await response.write(block)
            await response.write_eof()
            return response


def _total(answer: aiohttp.ClientResponse) -> int | None:
    """Bytes of the whole file, as the source says."""
    if answer.status == 206:
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        total = answer.headers.get("Content-Length", "")
    return int(total) if total.isdigit() else None


def _from_folder(root: Path, path: str, entry: Entry | None) -> web.StreamResponse:
    """A file of the folder; ranges and the kernel's own copying are the server's."""
    place = os.path.realpath(root / path)
    if not Path(place).is_relative_to(os.path.realpath(root)):
        return _refuse(404, Refused(Reason.SOURCE_NOT_FOUND, "the file leads out of its folder"))
    try:
        size = os.stat(place).st_size
    except OSError as error:
        return _refuse(404, Refused(Reason.SOURCE_NOT_FOUND, error.strerror or "gone"))
    if entry is not None and size != entry.size:
        return _refuse(409, Refused(Reason.SOURCE_CHANGED, "another size than published"))
    return web.FileResponse(place, chunk_size=_BLOCK)


def _kept(folder: Path, digest: str, file: Path) -> Path:
    """Our own copy of a manifest, checked; raises ManifestRefused where it is another."""
    place = folder / f"{digest.removeprefix('sha256:')}.ndjson"
    half = place.with_suffix(".half")
    shutil.copyfile(file, half)
    manifest.expect(half, digest)
    half.replace(place)
    return place


def _words(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"the manifest cannot be read: {error.strerror}"
    return str(error)


def _refuse(status: int, refused: Refused, *, wait: int = 0, late: bool = False) -> web.Response:
    headers = {"Retry-After": str(wait)} if wait else {}
    body = {"reason": str(refused.reason), "message": refused.message, "late": late}
    return web.json_response(body, status=status, headers=headers)
