"""`kubectl huiju dataset publish` on a real API server: a version appears, and never changes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from huiju.data import manifest, signature
from huiju.kube.client import Client
from huiju.kube.resources import CROSS_REGION_JOBS, DATASET_SHARES, MODEL_SHARES
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from lab.objectstore import ObjectStore
from tests.integration.hub.harness import job_body
from tests.patience import PATIENCE


@dataclass(frozen=True)
class Desk:
    """A person at a terminal with the data of a share."""

    cluster: Cluster
    admin: Client
    namespace: str
    folder: Path

    async def publish(self, version: str, *flags: str, **env: str) -> tuple[int, str]:
        return await self.say("publish", "--version", version, *flags, **env)

    async def say(self, action: str, *flags: str, **env: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "huiju.cli.main", f"--kubeconfig={self.cluster.kubeconfig}"),
            *("-n", self.namespace, "dataset", action, "corpus", *flags),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | env,
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, out.decode()

    async def share(self, source: dict[str, Any], **spec: Any) -> None:
        body = {
            "apiVersion": DATASET_SHARES.api_version,
            "kind": DATASET_SHARES.kind,
            "metadata": {"name": "corpus", "namespace": self.namespace},
            "spec": {"license": "CC-BY-4.0", "source": {"center": "guiyang", **source}, **spec},
        }
        await self.admin.create(DATASET_SHARES, body, self.namespace)

    async def spec(self) -> dict[str, Any]:
        found = await self.admin.get(DATASET_SHARES, "corpus", self.namespace)
        return dict(found["spec"])


@pytest.fixture
async def desk(hub: Cluster, namespace_in: NamespaceIn, tmp_path: Path) -> AsyncIterator[Desk]:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    async with await hub.client() as admin:
        yield Desk(hub, admin, await namespace_in(hub), folder)


async def test_a_folder_becomes_a_version_once(desk: Desk) -> None:
    await desk.share({"files": {"path": str(desk.folder)}})
    code, out = await desk.publish("v1", "--dry-run")
    assert code == 0, out
    assert not (desk.folder / ".huiju").exists()
    assert not (await desk.spec()).get("versions")

    code, out = await desk.publish("v1", "--channel", "stable")
    assert code == 0, out
    spec = await desk.spec()
    (first,) = spec["versions"]
    assert (first["name"], first["files"], first["bytes"]) == ("v1", 2, 6)
    assert spec["channels"] == [{"name": "stable", "version": "v1"}]
    manifest.expect(
        desk.folder / manifest.name_of(first["manifestDigest"]), first["manifestDigest"]
    )

    code, out = await desk.publish("v1")
    assert (code, "published already" in out) == (0, True), out
    (desk.folder / "b.txt").write_text("owt")
    code, out = await desk.publish("v1")
    assert code == 1
    assert "versions never change" in out
    parent = first["manifestDigest"]
    code, out = await desk.publish("v2", "--derived-from", parent, "--channel", "stable")
    assert code == 0, out
    spec = await desk.spec()
    assert [v["name"] for v in spec["versions"]] == ["v1", "v2"]
    assert spec["versions"][1]["derivedFrom"] == [parent]
    assert spec["channels"] == [{"name": "stable", "version": "v2"}]


async def test_a_share_with_a_key_takes_signed_versions_only(desk: Desk, tmp_path: Path) -> None:
    keys = [Ed25519PrivateKey.generate() for _ in range(2)]
    files = [tmp_path / "ours.pem", tmp_path / "theirs.pem"]
    for key, file in zip(keys, files, strict=True):
        file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = signature.public_pem(keys[0])
    await desk.share({"files": {"path": str(desk.folder)}}, signingKey=public)
    for flags in ((), ("--sign-key", str(files[1]))):
        code, out = await desk.publish("v1", *flags)
        assert code == 2, out
        assert "signingKey" in out
    code, out = await desk.publish("v1", "--sign-key", str(files[0]))
    assert code == 0, out
    digest = (await desk.spec())["versions"][0]["manifestDigest"]
    signed = (desk.folder / manifest.signature_name_of(digest)).read_bytes()
    signature.verify(public, digest, signed)


async def test_a_bucket_is_published_with_a_key_from_the_environment(
    desk: Desk, tmp_path: Path
) -> None:
    root = tmp_path / "store"
    (root / "corpora" / "zh").mkdir(parents=True)
    (root / "corpora" / "zh" / "a.tar").write_bytes(b"x" * 1000)
    with ObjectStore(root) as store:
        source = {"endpoint": store.endpoint, "bucket": "corpora", "prefix": "zh"}
        await desk.share({"s3": {**source, "secretName": "key"}})
        code, out = await desk.publish("v1", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
        assert (code, "AWS_ACCESS_KEY_ID" in out) == (2, True), out
        code, out = await desk.publish(
            "v1", AWS_ACCESS_KEY_ID=store.key.access, AWS_SECRET_ACCESS_KEY="wrong" * 8
        )
        assert (code, "PermissionDenied" in out) == (1, True), out
        code, out = await desk.publish(
            "v1", AWS_ACCESS_KEY_ID=store.key.access, AWS_SECRET_ACCESS_KEY=store.key.secret
        )
        assert code == 0, out
        assert store.key.secret not in out
    (version,) = (await desk.spec())["versions"]
    kept = root / "corpora/zh" / manifest.name_of(version["manifestDigest"])
    manifest.expect(kept, version["manifestDigest"])


async def test_the_output_of_a_job_tells_what_it_was_made_from(desk: Desk) -> None:
    await desk.share({"files": {"path": str(desk.folder)}})
    job = job_body(desk.namespace, "train")
    made = await desk.admin.create(CROSS_REGION_JOBS, job, desk.namespace)
    code, out = await desk.publish("v1", "--from-job", "train")
    assert code != 0
    assert "is new" in out
    read = [f"sha256:{digit * 64}" for digit in "ab"]
    status = {
        "phase": "Succeeded",
        "placement": {
            "center": "guiyang",
            "epoch": 3,
            "alternative": 0,
            "model": "ascend-910b3",
            "resource": "huawei.com/Ascend910",
            "namespace": "team",
            "workload": "train-1",
            "placedAt": "2026-11-28T08:00:00Z",
        },
        "data": [
            {
                "mountPath": f"/data/{n}",
                "namespace": "team-a",
                "dataset": f"corpus-{n}",
                "shareUid": f"u{n}",
                "version": "v1",
                "manifestDigest": digest,
            }
            for n, digest in enumerate(read)
        ],
    }
    await desk.admin.patch_status(CROSS_REGION_JOBS, "train", desk.namespace, status)
    base = f"sha256:{'c' * 64}"
    code, out = await desk.publish("v1", "--from-job", "train", "--derived-from", base)
    assert code == 0, out
    (version,) = (await desk.spec())["versions"]
    assert version["derivedFrom"] == [base, *read]
    assert version["madeBy"] == {
        "namespace": desk.namespace,
        "name": "train",
        "uid": made["metadata"]["uid"],
        "epoch": 3,
    }


async def test_a_description_goes_out_as_croissant_and_comes_in(desk: Desk, tmp_path: Path) -> None:
    words = {"description": "Chinese text", "keywords": ["web", "clean"], "citation": "Li 2026"}
    await desk.share({"files": {"path": str(desk.folder)}}, modality=["text"], **words)
    code, out = await desk.publish("v1")
    assert code == 0, out
    (version,) = (await desk.spec())["versions"]
    listed = desk.folder / manifest.name_of(version["manifestDigest"])
    code, out = await desk.say("export", "--manifest", str(listed))
    assert code == 0, out
    told = json.loads(out)
    assert told["license"] == "https://spdx.org/licenses/CC-BY-4.0"
    assert told["identifier"] == version["manifestDigest"]
    assert {f["contentUrl"] for f in told["distribution"]} >= {"a.txt", "b.txt"}
    assert str(desk.folder) not in out, "where the data lies is nobody's business"

    told |= {"description": "Chinese text, cleaned", "license": "MIT"}
    file = tmp_path / "croissant.json"
    file.write_text(json.dumps(told))
    code, out = await desk.say("import", "--croissant", str(file), "--manifest", str(listed))
    assert code == 0, out
    assert "2 files have the digests" in out
    assert "grants stand on it" in out
    spec = await desk.spec()
    assert spec["description"] == "Chinese text, cleaned"
    assert spec["license"] == "CC-BY-4.0"
    assert set(spec["keywords"]) == {"web", "clean", "text"}
    told["distribution"][1]["sha256"] = "0" * 64
    file.write_text(json.dumps(told))
    code, out = await desk.say("import", "--croissant", str(file), "--manifest", str(listed))
    assert code != 0
    assert "a.txt" in out


async def test_a_version_of_a_model_has_what_its_card_promises(desk: Desk) -> None:
    await desk.share({"files": {"path": str(desk.folder)}})
    card = {
        "apiVersion": MODEL_SHARES.api_version,
        "kind": MODEL_SHARES.kind,
        "metadata": {"name": "chat", "namespace": desk.namespace},
        "spec": {"weights": {"dataset": "corpus"}, "format": "safetensors"},
    }
    await desk.admin.create(MODEL_SHARES, card, desk.namespace)
    (desk.folder / "pytorch_model.bin").write_bytes(b"x")
    code, out = await desk.publish("v1")
    assert code != 0
    assert "model chat: it has no config.json; pytorch_model.bin may run code" in out
    assert not (desk.folder / ".huiju").exists()
    (desk.folder / "pytorch_model.bin").unlink()
    (desk.folder / "config.json").write_text("{}")
    code, out = await desk.publish("v1")
    assert code == 0, out
