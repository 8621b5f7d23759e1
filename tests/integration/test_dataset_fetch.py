"""`kubectl huiju dataset fetch`: rclone brings data into a share's source, from another store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lab.objectstore import ObjectStore
from tests.integration.data.pulls import tree
from tests.integration.test_dataset_publish import Desk, desk  # noqa: F401  (a fixture)


def remote(store: ObjectStore, name: str = "old") -> dict[str, str]:
    """A remote of rclone's in the environment."""
    told = {
        "TYPE": "s3",
        "PROVIDER": "Rclone",
        "ENDPOINT": store.endpoint,
        "ACCESS_KEY_ID": store.key.access,
        "SECRET_ACCESS_KEY": store.key.secret,
    }
    return {f"RCLONE_CONFIG_{name.upper()}_{key}": value for key, value in told.items()}


def key(store: ObjectStore) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": store.key.access, "AWS_SECRET_ACCESS_KEY": store.key.secret}


async def test_from_bucket_to_bucket_and_published(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    old, new = tmp_path / "old", tmp_path / "new"
    data, own = old / "archive" / "zh", new / "corpora" / "zh"
    (data / "train").mkdir(parents=True)
    (data / "train" / "a b.txt").write_text("one")
    (data / "大.txt").write_text("two")
    (data / ".huiju" / "manifests").mkdir(parents=True)
    (data / ".huiju" / "manifests" / "x.ndjson").write_text("of another's")
    own.mkdir(parents=True)
    (own / "kept.txt").write_text("was here before")
    with ObjectStore(old) as source, ObjectStore(new) as target:
        s3 = {"endpoint": target.endpoint, "bucket": "corpora", "prefix": "zh"}
        await desk.share({"s3": {**s3, "secretName": "key"}})
        code, said = await desk.say("fetch", "--from", "old:archive/zh", **remote(source))
        assert code == 2
        assert "AWS_ACCESS_KEY_ID" in said
        given = {**remote(source), **key(target)}
        code, said = await desk.say("fetch", "--from", "old:archive/zh", "--dry-run", **given)
        assert code == 0, said
        assert "nothing was written" in said
        assert set(tree(own)) == {"kept.txt"}
        code, said = await desk.say("fetch", "--from", "old:archive/zh", **given)
        assert code == 0, said
        assert "2 files, 6 bytes" in said
        assert tree(own) == {**tree(data), "kept.txt": b"was here before"}
        assert not (own / ".huiju").exists()
        assert source.key.secret not in said
        code, said = await desk.publish("v1", **key(target))
        assert code == 0, said
        (version,) = (await desk.spec())["versions"]
        assert version["files"] == 3

        # What is published does not change, and what is gone elsewhere stays here.
        (data / "大.txt").unlink()
        (data / "train" / "a b.txt").write_text("two, longer")
        source.stop()  # it remembers listings
        source.start()
        code, said = await desk.say("fetch", "--from", "old:archive/zh", **given)
        assert code == 1
        assert "train/a b.txt" in said
        assert "immutable" in said
        assert tree(own)["train/a b.txt"] == b"one"
        assert tree(own)["大.txt"] == b"two"


async def test_into_a_folder_and_wrong_words(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    other = tmp_path / "other"
    other.mkdir()
    (other / "c.txt").write_text("three")
    await desk.share({"files": {"path": str(desk.folder)}})
    code, said = await desk.say("fetch", "--from", str(other))
    assert code == 0, said
    assert (desk.folder / "c.txt").read_text() == "three"
    for words, cure in (
        ((), "--from REMOTE:PATH"),
        (("--from", ":s3,secret_access_key=x:bucket"), "RCLONE_CONFIG"),
        (("--from", "old,pass=x:bucket"), "RCLONE_CONFIG"),
    ):
        code, said = await desk.say("fetch", *words)
        assert (code, cure in said) == (2, True), said
    code, said = await desk.say("publish", "--version", "v1", "--from", "x:y")
    assert (code, "--from goes with fetch" in said) == (2, True)
    code, said = await desk.say("fetch", "--from", "nosuch:bucket")
    assert code == 1
    assert "nosuch" in said


async def test_no_key_is_in_an_argument(desk: Desk, tmp_path: Path) -> None:  # noqa: F811
    old = tmp_path / "old"
    (old / "archive").mkdir(parents=True)
    (old / "archive" / "big.bin").write_bytes(bytes(20_000_000))
    seen: set[str] = set()

    async def look() -> None:
        while True:
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(file.read_bytes().decode(errors="replace"))
                except OSError:
                    continue
            await asyncio.sleep(0.02)

    (tmp_path / "new" / "corpora").mkdir(parents=True)
    with ObjectStore(old) as source, ObjectStore(tmp_path / "new") as target:
        s3 = {"endpoint": target.endpoint, "bucket": "corpora", "secretName": "key"}
        await desk.share({"s3": s3})
        task = asyncio.create_task(look())
        given = {**remote(source), **key(target), "RCLONE_BWLIMIT": "20M"}
        code, said = await desk.say("fetch", "--from", "old:archive", **given)
        task.cancel()
        assert code == 0, said
        ours = "\n".join(seen)
        assert "copy\0old:archive\0huijusource:corpora" in ours
        for store in (source, target):
            assert store.key.secret not in ours
            assert store.key.access not in ours


@pytest.mark.parametrize("source", [{"http": {"url": "https://mirror.example/sets"}}])
async def test_a_web_server_takes_no_files(desk: Desk, source: dict[str, object]) -> None:  # noqa: F811
    await desk.share(source)
    code, said = await desk.say("fetch", "--from", "old:x")
    assert (code, "takes no files" in said) == (2, True), said
