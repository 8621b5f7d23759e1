"""Publishing from a real object store and a real web server."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from huiju.api.reasons import Reason
from huiju.data import manifest
from huiju.data.manifest import MEBIBYTE, Reader, Summary
from huiju.data.origin import FolderOrigin, Origin, OriginRefused, Progress
from huiju.data.publish import build
from huiju.data.remote import HttpOrigin, S3Origin
from huiju.data.sigv4 import Key, Signer
from lab.objectstore import ObjectStore

ODD = ["a b+c&d=e.bin", "语料/中文 文本.txt", "deep/er/x~y.tar", "per%20cent", "q?uestion#hash"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    root = tmp_path_factory.mktemp("store")
    fill(root / "corpora" / "zh")
    (root / "keys").mkdir()
    for name in "xy":
        (root / "keys" / name).write_bytes(b"secret")
    with ObjectStore(root) as running:
        yield running


def fill(folder: Path) -> list[str]:
    names = [*ODD, "big.bin", *(f"many/{n:05}" for n in range(1200))]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        size = 3 * MEBIBYTE + 1 if name == "big.bin" else len(name)
        (folder / name).write_bytes(os.urandom(size))
    return names


async def built(origin: Origin, file: Path) -> Summary:
    with file.open("wb") as opened:
        return await build(origin, opened, MEBIBYTE, 4, Progress())


async def test_a_bucket_has_the_manifest_of_its_folder(store: ObjectStore, tmp_path: Path) -> None:
    folder = FolderOrigin(store.root / "corpora" / "zh", 2)
    wanted = await built(folder, tmp_path / "folder")
    folder.close()
    async with aiohttp.ClientSession() as session:
        origin = S3Origin(session, store.signer("corpora", "zh/"))
        found = await built(origin, tmp_path / "bucket")
        assert found == wanted
        await origin.keep(manifest.name_of(found.digest), tmp_path / "bucket")
        assert await built(origin, tmp_path / "again") == wanted, "what is ours is no data"
    manifest.expect(store.root / "corpora/zh" / manifest.name_of(found.digest), found.digest)


@pytest.mark.parametrize("wrong", ["secret", "access", "late", "path", "method"])
async def test_a_store_takes_no_url_that_was_not_signed(store: ObjectStore, wrong: str) -> None:
    key, signer = store.key, store.signer("keys")
    now = time.time()
    match wrong:
        case "secret":
            url = Signer(store.bucket("keys"), Key(key.access, "z" * 40)).url("GET", "x", now, 60)
        case "access":
            url = Signer(store.bucket("keys"), Key("z" * 20, key.secret)).url("GET", "x", now, 60)
        case "late":
            url = signer.url("GET", "x", now - 61, 60)
        case "path":
            url = signer.url("GET", "x", now, 60).replace("/keys/x", "/keys/y")
        case _:
            url = signer.url("PUT", "x", now, 60)
    async with aiohttp.ClientSession() as session:
        async with session.get(URL(url, encoded=True)) as answer:
            assert answer.status in (400, 403)
            assert await answer.read() != b"secret"
        good = signer.url("GET", "x", time.time(), 60)
        async with session.get(URL(good, encoded=True)) as answer:
            assert (answer.status, await answer.read()) == (200, b"secret")


async def test_a_wrong_key_is_told_without_the_address(store: ObjectStore, tmp_path: Path) -> None:
    signer = Signer(store.bucket("corpora"), Key(store.key.access, "z" * 40))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(OriginRefused) as caught:
            await built(S3Origin(session, signer), tmp_path / "m")
    assert caught.value.reason is Reason.PERMISSION_DENIED
    assert "X-Amz" not in str(caught.value)


async def test_a_web_server_is_read_by_list(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    names = fill(folder)
    local = FolderOrigin(folder, 2)
    wanted = await built(local, tmp_path / "folder")
    local.close()
    cuts = {"big.bin": 2}

    async def serve(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer lab":
            return web.Response(status=401)
        name = request.match_info["path"]
        if name not in names:
            return web.Response(status=404)
        if request.method == "GET" and cuts.get(name, 0):
            cuts[name] -= 1
            answer = web.StreamResponse()
            answer.content_length = (folder / name).stat().st_size
            await answer.prepare(request)
            await answer.write(b"x" * 70_000)
            assert request.transport is not None
            request.transport.close()
            return answer
        return web.FileResponse(folder / name)

    app = web.Application()
    app.router.add_get("/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession() as session:
            assert await built(HttpOrigin(session, url, names, "lab"), tmp_path / "web") == wanted
            assert cuts["big.bin"] == 0
            for listed, token, reason in (
                ([*names, "gone"], "lab", Reason.SOURCE_NOT_FOUND),
                (names, "wrong", Reason.PERMISSION_DENIED),
                (["../etc/passwd"], "lab", Reason.INVALID_SPEC),
            ):
                with pytest.raises(OriginRefused) as caught:
                    await built(HttpOrigin(session, url, listed, token), tmp_path / "bad")
                assert caught.value.reason is reason
    finally:
        await runner.cleanup()
    assert [each.path for each in Reader(tmp_path / "web")] == sorted(names, key=str.encode)
