"""The gateway and the signer: listed files of granted versions, asked each time anew."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from huiju.api.reasons import Reason
from huiju.data import links, manifest, tokens
from huiju.data.access import Place, Refused
from huiju.data.authority import Asked, Authority
from huiju.data.gateway import Gateway, Settings
from huiju.data.links import Batch, Need
from huiju.data.manifest import MEBIBYTE, Reader
from huiju.data.origin import FolderOrigin, Progress
from huiju.data.publish import build
from huiju.data.sealing import Recipient
from huiju.data.signing import GatewayLinker, Linker, S3Linker, Transfer, answer
from huiju.data.sigv4 import Bucket, Key, Signer

KEY = b"k" * 32
PLACES = [Place("ulanqab", "north", frozenset({"domestic"})), Place("abroad", "far")]
FILES = {"a.bin": b"0123456789", "语料/b c.txt": b"two", "z/empty": b""}


class Owner:
    """A folder with one published version, and what its center knows."""

    def __init__(self, folder: Path, digest: str, source: dict[str, Any]) -> None:
        self.folder = folder
        self.digest = digest
        self.reader = Reader(folder / manifest.name_of(digest))
        self.authority = Authority()
        version = {
            "name": "v1",
            "manifestDigest": digest,
            "bytes": 13,
            "files": 3,
            "createdAt": "2026-01-01T00:00:00Z",
        }
        self.share: dict[str, Any] = {
            "metadata": {"namespace": "owners", "name": "corpus", "uid": "u1"},
            "spec": {
                "license": "MIT",
                "source": {"center": "guiyang", **source},
                "versions": [version],
                "access": {"namespaces": ["team-*"]},
                "residency": {"classes": ["domestic"]},
            },
        }
        self.grant("Approved")

    def grant(self, decision: str, **spec: Any) -> None:
        body = {
            "metadata": {"namespace": "team-b", "name": "corpus"},
            "spec": {
                "dataset": {"namespace": "owners", "name": "corpus"},
                "requestedBy": "li",
                "acceptedLicense": "MIT",
                "decision": {"decision": decision, "by": "wang"},
                **spec,
            },
        }
        assert self.authority.tell([self.share], [body], PLACES) == []

    def asked(self, center: str = "ulanqab", namespace: str = "team-b", digest: str = "") -> Asked:
        return Asked("u1", digest or self.digest, center, (namespace,))

    def ask(
        self, linker: Linker, need: Need, now: float, puller: Recipient, **how: Any
    ) -> Batch | Refused:
        chosen = {k: how.pop(k) for k in ("include", "exclude") if k in how}
        transfer = Transfer("r1", 2, puller.public, self.asked(**how), **chosen)
        found = answer(self.authority, linker, self.reader, transfer, need, now)
        if isinstance(found, Refused):
            return found
        return links.unpack(found, puller, "r1", 2, need.seq)


async def published(folder: Path) -> str:
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    origin = FolderOrigin(folder, 1)
    with (folder.parent / "manifest").open("wb") as opened:
        summary = await build(origin, opened, MEBIBYTE, 1, Progress())
    await origin.keep(manifest.name_of(summary.digest), folder.parent / "manifest")
    origin.close()
    return summary.digest


@pytest.fixture
async def owner(tmp_path: Path) -> Owner:
    digest = await published(tmp_path / "data")
    return Owner(tmp_path / "data", digest, {"files": {"path": str(tmp_path / "data")}})


class Door:
    """A running gateway and its caller."""

    def __init__(self, owner: Owner, session: aiohttp.ClientSession, address: str) -> None:
        self.owner = owner
        self.session = session
        self.linker = GatewayLinker(address, KEY)

    def batch(self, **how: Any) -> Batch:
        found = self.owner.ask(self.linker, Need(1, 0, 9), time.time(), Recipient(), **how)
        assert isinstance(found, Batch), found
        return found

    async def get(self, url: str | None, **headers: str) -> tuple[int, bytes, str]:
        assert url is not None
        async with self.session.get(URL(url, encoded=True), headers=headers) as found:
            body = await found.read()
            reason = ""
            if found.content_type == "application/json":
                reason = str((await found.json())["reason"])
            return found.status, body, reason


async def door_of(owner: Owner, folder: Path, **how: Any) -> AsyncIterator[Door]:
    gateway = Gateway(Settings(owner.authority, lambda: KEY, folder, **how))
    runner = web.AppRunner(gateway.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Door(owner, session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


@pytest.fixture
async def door(owner: Owner, tmp_path: Path) -> AsyncIterator[Door]:
    async for each in door_of(owner, tmp_path / "kept"):
        yield each


async def test_listed_files_come_whole_and_in_ranges(door: Door) -> None:
    batch = door.batch()
    for path, content in FILES.items():
        assert await door.get(batch.url(0, path)) == (200, content, "")
    status, body, _ = await door.get(batch.url(0, "a.bin"), Range="bytes=3-5")
    assert (status, body) == (206, b"345")
    status, body, _ = await door.get(batch.manifest)
    assert status == 200
    assert body == (door.owner.folder / manifest.name_of(door.owner.digest)).read_bytes()


async def test_what_is_not_listed_is_not_there(door: Door) -> None:
    (door.owner.folder / "later.bin").write_bytes(b"new")
    (door.owner.folder.parent / "secret").write_bytes(b"secret")
    (door.owner.folder / ".huiju" / "key").write_bytes(b"secret")
    batch = door.batch()
    for path in ("later.bin", "../secret", ".huiju/key", "a.bin/", "A.bin", "a.bin%00", "."):
        status, body, _ = await door.get(f"{batch.base}/{path}?t={batch.token}")
        assert status == 404, path
        assert b"secret" not in body
    outside = f"{batch.base}/%2e%2e/%2e%2e/secret?t={batch.token}"
    assert (await door.get(outside))[0] == 404


async def test_a_link_ends_with_the_grant_and_not_a_quarter_later(door: Door) -> None:
    batch = door.batch()
    url = batch.url(0, "a.bin")
    assert (await door.get(url))[0] == 200
    door.owner.grant("Revoked")
    status, _, reason = await door.get(url)
    assert (status, reason) == (403, Reason.GRANT_REVOKED)


@pytest.mark.parametrize("wrong", ["none", "key", "share", "version", "late", "center"])
async def test_a_token_is_for_one_version_of_one_share(door: Door, wrong: str) -> None:
    owner, now = door.owner, time.time()
    claim = tokens.Claim("u1", owner.digest, "ulanqab", ("team-b",), "r1", 2, now + 60)
    fields = {name: getattr(claim, name) for name in claim.__struct_fields__}
    key = KEY
    match wrong:
        case "key":
            key = b"z" * 32
        case "share":
            fields["share"] = "u2"
        case "version":
            fields["digest"] = "sha256:" + "b" * 64
        case "late":
            fields["until"] = now - 1
        case "center":
            fields["center"] = "abroad"
    token = "" if wrong == "none" else tokens.mint(key, tokens.Claim(**fields))
    base = door.batch().base
    status, _, reason = await door.get(f"{base}/a.bin?t={token}")
    assert status == 403
    expected = {"late": Reason.GRANT_EXPIRED, "center": Reason.RESIDENCY_FORBIDS}
    assert reason == expected.get(wrong, Reason.PERMISSION_DENIED)


async def test_a_file_of_another_size_is_told_as_changed(door: Door) -> None:
    (door.owner.folder / "a.bin").write_bytes(b"longer than before")
    status, _, reason = await door.get(door.batch().url(0, "a.bin"))
    assert (status, reason) == (409, Reason.SOURCE_CHANGED)


async def test_a_link_leading_out_is_not_followed(door: Door) -> None:
    (door.owner.folder.parent / "secret").write_bytes(b"0123456789")
    (door.owner.folder / "a.bin").unlink()
    (door.owner.folder / "a.bin").symlink_to(door.owner.folder.parent / "secret")
    status, _, reason = await door.get(door.batch().url(0, "a.bin"))
    assert (status, reason) == (404, Reason.SOURCE_NOT_FOUND)


async def test_a_manifest_that_was_changed_serves_nothing(door: Door) -> None:
    file = door.owner.folder / manifest.name_of(door.owner.digest)
    file.write_bytes(file.read_bytes().replace(b'"a.bin"', b'"b.bin"'))
    status, _, reason = await door.get(door.batch().url(0, "a.bin"))
    assert (status, reason) == (404, Reason.MANIFEST_MISSING)


async def test_a_web_server_is_served_with_its_own_token(tmp_path: Path) -> None:
    digest = await published(tmp_path / "data")

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer theirs":
            return web.Response(status=401)
        file = tmp_path / "data" / request.match_info["path"]
        return web.FileResponse(file) if file.is_file() else web.Response(status=404)

    app = web.Application()
    app.router.add_get("/{path:.+}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    owner = Owner(tmp_path / "data", digest, {"http": {"url": url}})
    try:
        async for door in door_of(owner, tmp_path / "kept", token_of=lambda _: "theirs"):
            batch = door.batch()
            for path, content in FILES.items():
                assert await door.get(batch.url(0, path)) == (200, content, "")
            status, body, _ = await door.get(batch.url(0, "a.bin"), Range="bytes=3-5")
            assert (status, body) == (206, b"345")
            (owner.folder / "a.bin").write_bytes(b"longer than before")
            assert (await door.get(batch.url(0, "a.bin")))[2] == Reason.SOURCE_CHANGED
            (owner.folder / "a.bin").unlink()
            assert (await door.get(batch.url(0, "a.bin")))[2] == Reason.SOURCE_NOT_FOUND
    finally:
        await runner.cleanup()


# --- signing ----------------------------------------------------------------------------------


def bucket() -> S3Linker:
    return S3Linker(Signer(Bucket("https://s3", "corpora", "zh"), Key("AKID", "do-not-tell")))


async def test_files_are_named_by_their_number(owner: Owner) -> None:
    now, puller = time.time(), Recipient()
    batch = owner.ask(bucket(), Need(1, 1, 5), now, puller)
    assert isinstance(batch, Batch)
    assert [URL(url, encoded=True).path for url in batch.urls] == [
        "/corpora/zh/z/empty",
        "/corpora/zh/语料/b c.txt",
    ]
    assert batch.until == pytest.approx(now + 900, abs=1)
    assert "do-not-tell" not in str(batch)
    part = owner.ask(bucket(), Need(2, 0, 5), now, puller, include=("语料/*",))
    assert isinstance(part, Batch)
    assert [URL(url, encoded=True).path for url in part.urls] == ["/corpora/zh/语料/b c.txt"]
    alone = owner.ask(bucket(), Need(3, 0, 0), now, puller)
    assert isinstance(alone, Batch)
    assert alone.urls == ()
    assert manifest.name_of(owner.digest) in alone.manifest


async def test_no_link_outlives_its_grant(owner: Owner) -> None:
    now = time.time()
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 61))
    owner.grant("Approved", expiresAt=ends)
    batch = owner.ask(bucket(), Need(1, 0, 1), now, Recipient())
    assert isinstance(batch, Batch)
    assert batch.until <= now + 61
    late = owner.ask(bucket(), Need(1, 0, 1), now + 62, Recipient())
    assert isinstance(late, Refused)
    assert late.reason is Reason.GRANT_EXPIRED


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"center": "abroad"}, Reason.RESIDENCY_FORBIDS),
        ({"center": "unknown"}, Reason.PERMISSION_DENIED),
        ({"namespace": "team-c"}, Reason.NO_GRANT),
        ({"digest": "sha256:" + "b" * 64}, Reason.UNKNOWN_VERSION),
    ],
)
async def test_the_serving_side_asks_for_itself(
    owner: Owner, how: dict[str, str], reason: Reason
) -> None:
    found = owner.ask(bucket(), Need(1, 0, 1), time.time(), Recipient(), **how)
    assert isinstance(found, Refused)
    assert found.reason is reason
    own = owner.ask(bucket(), Need(1, 0, 1), time.time(), Recipient(), namespace="owners")
    assert isinstance(own, Batch)


async def test_a_retired_version_is_handed_out_no_more(owner: Owner) -> None:
    owner.share["spec"]["retired"] = ["v1"]
    owner.grant("Approved")
    found = owner.ask(bucket(), Need(1, 0, 1), time.time(), Recipient())
    assert isinstance(found, Refused)
    assert found.reason is Reason.UNKNOWN_VERSION
