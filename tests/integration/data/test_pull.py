"""The puller as a program against a real object store, over lines that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from huiju.api.reasons import Reason
from huiju.data import manifest, signature
from huiju.data.links import Batch, Need
from huiju.data.manifest import MEBIBYTE, Entry
from huiju.data.signing import Linker, Transfer
from tests.integration.data.pulls import ODD, tree, world

BIG = {"big.bin": 20 * MEBIBYTE + 5}
SLEEPER = Path(__file__).with_name("sleeper.py")
HEADERS = 200_000
"""Bytes that answers' heads and the manifest may come to."""


async def test_a_copy_appears_whole_and_once(tmp_path: Path) -> None:
    sizes = ODD | {"big.bin": 3 * MEBIBYTE + 1} | {f"many/{n:04}": n for n in range(400)}
    async with world(tmp_path, sizes) as w:
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 0, str(pull.lines[-1])
        assert w.copied() == w.copied(w.data)
        marker = json.loads((w.target / ".huiju/complete.json").read_text())
        assert marker["digest"] == w.summary.digest
        manifest.expect(w.target / manifest.name_of(w.summary.digest), w.summary.digest)
        assert w.stagings == []
        done = pull.last("done")
        assert (done["files"], done["bytes"]) == (w.summary.files, w.summary.bytes)
        told = json.dumps(pull.lines)
        assert w.store.key.secret not in told
        assert "X-Amz" not in told

        again = w.pull(epoch=2)
        await again.start()
        assert await again.end() == 0
        assert again.last("done")["fetched"] == again.needs == 0


async def test_a_part_of_a_version_moves_its_own_bytes_alone(tmp_path: Path) -> None:
    sizes = {f"shard-{n:04}.tar": 50_000 for n in range(300)}
    async with world(tmp_path, sizes) as w:
        pull = w.pull(include=["shard-000*"], exclude=["*5.tar"])
        await pull.start()
        assert await pull.end() == 0, str(pull.lines[-1])
        assert set(w.copied()) == {f"shard-{n:04}.tar" for n in range(10) if n != 5}
        assert pull.last("done")["digest"] != w.summary.digest
        assert w.relay.down < 9 * 50_000 + HEADERS


async def test_killed_at_60_percent_it_loses_a_part_a_stream_at_most(tmp_path: Path) -> None:
    async with world(tmp_path, BIG, rate=3 * MEBIBYTE) as w:
        first = w.pull(streams=3)
        await first.start()
        await first.until(lambda line: line.get("bytesDone", 0) > 0.6 * w.summary.bytes)
        await first.kill()
        assert not w.target.exists()
        second = w.pull(streams=3)
        await second.start()
        assert await second.end() == 0, second.lines
        assert w.copied() == w.copied(w.data)
        sent_again = w.relay.down - w.summary.bytes
        # What the kernels of a killed reader hold is sent, too.
        assert sent_again <= 3 * MEBIBYTE + 3 * 2 * MEBIBYTE + HEADERS, sent_again
        assert second.last("done")["fetched"] < 0.55 * w.summary.bytes


async def test_a_flipped_byte_on_the_line_is_fetched_again(tmp_path: Path) -> None:
    async with world(tmp_path, BIG) as w:
        w.relay.flips = [-1, 100_000, 200_000]
        pull = w.pull(streams=2)
        await pull.start()
        assert await pull.end() == 0, str(pull.lines[-1])
        assert w.copied() == w.copied(w.data)
        assert pull.last("done")["fetched"] >= w.summary.bytes + MEBIBYTE


async def test_a_flipped_byte_in_the_source_is_told_and_nothing_appears(tmp_path: Path) -> None:
    async with world(tmp_path, {"a.bin": 10, "b.bin": 3 * MEBIBYTE}) as w:
        with (w.data / "b.bin").open("r+b") as file:
            file.seek(2 * MEBIBYTE)
            byte = file.read(1)
            file.seek(2 * MEBIBYTE)
            file.write(bytes([byte[0] ^ 1]))
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        failed = pull.last("failed")
        assert (failed["reason"], failed["path"]) == (Reason.CHECKSUM_MISMATCH, "b.bin")
        assert not w.target.exists()


async def test_cut_lines_and_a_store_that_restarts_are_lived_through(tmp_path: Path) -> None:
    async with world(tmp_path, BIG, rate=12 * MEBIBYTE) as w:
        w.relay.cuts = [-1, 300_000, 500_000, 0, 700_000]
        pull = w.pull(streams=2)
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) > 0.3 * w.summary.bytes)
        w.store.stop()
        await asyncio.sleep(1)
        w.store.start()
        assert await pull.end() == 0, str(pull.lines[-1])
        assert w.copied() == w.copied(w.data)


async def test_a_source_that_stays_away_is_told_and_the_copy_taken_up(tmp_path: Path) -> None:
    async with world(tmp_path, BIG, rate=3 * MEBIBYTE) as w:
        pull = w.pull(patience=3)
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) > 0.2 * w.summary.bytes)
        w.relay.rate = MEBIBYTE // 16  # it is not done before the store stops
        w.store.stop()
        assert await pull.end() == 1
        assert pull.last("failed")["reason"] == Reason.PEER_UNREACHABLE
        w.store.start()
        w.relay.rate = 12 * MEBIBYTE
        again = w.pull(epoch=2)
        await again.start()
        assert await again.end() == 0, again.lines
        assert again.last("done")["fetched"] < 0.85 * w.summary.bytes
        assert w.copied() == w.copied(w.data)


async def test_a_link_that_ended_is_replaced_in_the_middle_of_a_file(tmp_path: Path) -> None:
    """The signer's clock is late: what it signs is over for the store after seconds."""
    async with world(tmp_path, BIG, rate=2 * MEBIBYTE) as w:
        late = [896.0]
        w.owner.clock = lambda: time.time() - late[0]
        pull = w.pull(streams=2)
        w.owner.linker = Optimist(w.owner.linker)
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) > 0.3 * w.summary.bytes)
        late[0] = 0.0
        assert await pull.end() == 0, str(pull.lines[-1])
        assert pull.needs >= 2
        assert w.copied() == w.copied(w.data)


class Optimist:
    """Says that links live long."""

    def __init__(self, linker: Linker) -> None:
        self._linker = linker

    def batch(
        self, transfer: Transfer, need: Need, files: Iterator[Entry], now: float, seconds: int
    ) -> Batch:
        made = self._linker.batch(transfer, need, files, now, seconds)
        return msgspec.structs.replace(made, until=time.time() + 900)


async def test_a_clock_that_is_wrong_ends_as_a_refusal(tmp_path: Path) -> None:
    async with world(tmp_path, {"a": 10}) as w:
        w.owner.clock = lambda: time.time() - 3600
        w.owner.linker = Optimist(w.owner.linker)
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        assert pull.last("failed")["reason"] in (Reason.PERMISSION_DENIED, Reason.CLOCK_SKEW)


async def test_a_revoked_grant_ends_a_transfer_at_its_next_links(tmp_path: Path) -> None:
    async with world(tmp_path, {"a": 10}) as w:
        w.grant("Revoked")
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        assert pull.last("failed")["reason"] == Reason.GRANT_REVOKED
        assert w.relay.down == 0
        assert not w.target.exists()


@pytest.mark.parametrize("signed", ["ours", "theirs", "none"])
async def test_a_signature_must_be_the_share_s(tmp_path: Path, signed: str) -> None:
    ours, theirs = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    async with world(tmp_path, {"a": 10}) as w:
        if signed != "none":
            key = ours if signed == "ours" else theirs
            file = w.data / manifest.signature_name_of(w.summary.digest)
            file.write_bytes(signature.sign(key, w.summary.digest))
        pull = w.pull(signingKey=signature.public_pem(ours))
        await pull.start()
        code = await pull.end()
        if signed == "ours":
            assert code == 0, pull.lines
        else:
            assert code == 1
            assert pull.last("failed")["reason"] == Reason.SIGNATURE_INVALID
            assert not w.target.exists()


@pytest.mark.parametrize("wrong", ["missing", "changed"])
async def test_without_its_manifest_nothing_is_fetched(tmp_path: Path, wrong: str) -> None:
    async with world(tmp_path, {"a": 10}) as w:
        file = w.data / manifest.name_of(w.summary.digest)
        if wrong == "missing":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes().replace(b'"a"', b'"b"'))
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        expected = Reason.MANIFEST_MISSING if wrong == "missing" else Reason.CHECKSUM_MISMATCH
        assert pull.last("failed")["reason"] == expected


async def test_a_file_that_was_changed_or_taken_is_told(tmp_path: Path) -> None:
    async with world(tmp_path, {"a": 10, "b": 10}) as w:
        (w.data / "b").write_bytes(b"longer than ten bytes")
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        failed = pull.last("failed")
        assert (failed["reason"], failed["path"]) == (Reason.SOURCE_CHANGED, "b")
    async with world(tmp_path / "taken", {"a": 10, "b": 10}) as w:
        (w.data / "b").unlink()
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        failed = pull.last("failed")
        assert (failed["reason"], failed["path"]) == (Reason.SOURCE_NOT_FOUND, "b")


async def test_of_two_pullers_the_later_transfer_has_the_target(tmp_path: Path) -> None:
    async with world(tmp_path, BIG, rate=3 * MEBIBYTE) as w:
        older, newer = w.pull(epoch=4, streams=2), w.pull(epoch=5, streams=2)
        await older.start()
        await older.until(lambda line: line.get("bytesDone", 0) > 0.2 * w.summary.bytes)
        w.relay.rate = MEBIBYTE // 16  # the older one is not done before the newer one has begun
        await newer.start()
        await newer.until(lambda line: line["event"] == "progress")
        w.relay.rate = 3 * MEBIBYTE
        codes = await asyncio.gather(older.end(), newer.end())
        assert tuple(codes) == (3, 0), (older.lines, newer.lines)
        assert w.copied() == w.copied(w.data)
        late = w.pull(epoch=4, mode="Remove")
        await late.start()
        assert await late.end() == 3
        assert w.target.exists()


@pytest.mark.parametrize("where", ["open", "pwrite", "log", "manifest", "link"])
async def test_one_that_was_asleep_changes_nothing_when_it_wakes(
    tmp_path: Path, where: str
) -> None:
    """It falls asleep just before a step; another publishes; it wakes up and takes that step."""
    many = {f"many/{n}": 100 for n in range(20)}
    async with world(tmp_path, BIG | many | {"zero": 3 * MEBIBYTE}) as w:
        other = w.pull(target=str(w.target.with_name("other")), include=["many/*"])
        await other.start()
        assert await other.end() == 0, other.lines
        older, newer = w.pull(epoch=1, streams=2), w.pull(epoch=2)
        await older.start(sys.executable, str(SLEEPER), where)
        await asyncio.to_thread(_fell_asleep, older.pid)
        try:
            await newer.start()
            assert await newer.end() == 0, newer.lines
            before = _facts(w.target)
            assert w.copied() == w.copied(w.data)
        finally:
            os.kill(older.pid, signal.SIGCONT)
        assert await older.end() == 3, older.lines
        assert older.last("failed")["reason"] == "Fenced"
        assert _facts(w.target) == before
        assert w.stagings == []


def _fell_asleep(pid: int) -> None:
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        assert time.monotonic() < end, "it never fell asleep"
        time.sleep(0.05)


def _facts(root: Path) -> dict[str, tuple[int, int, int, bytes]]:
    """All that a write would change, of every file and Huiju's own."""
    facts = {}
    for file in root.rglob("*"):
        if file.is_file():
            found = file.stat()
            facts[str(file)] = (
                found.st_ino,
                found.st_mtime_ns,
                found.st_size,
                file.read_bytes(),
            )
    return facts


async def test_a_repair_writes_into_no_file_that_readers_have_open(tmp_path: Path) -> None:
    async with world(tmp_path, {"big.bin": 5 * MEBIBYTE, "good.bin": 2 * MEBIBYTE}) as w:
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 0
        bad, good = w.target / "big.bin", w.target / "good.bin"
        with bad.open("r+b") as file:
            file.seek(3 * MEBIBYTE)
            file.write(b"rotten")
        kept = good.stat().st_ino
        with bad.open("rb") as reader:
            before = os.fstat(reader.fileno())
            repair = w.pull(epoch=2, mode="Repair")
            await repair.start()
            assert await repair.end() == 0, repair.lines
            after = os.fstat(reader.fileno())
            assert (after.st_mtime_ns, after.st_nlink) == (before.st_mtime_ns, 0)
            assert bad.stat().st_ino != after.st_ino
        assert good.stat().st_ino == kept
        assert w.copied() == w.copied(w.data)


async def test_a_file_that_another_copy_has_too_is_not_written_into(tmp_path: Path) -> None:
    """A puller that ended between a link and the log leaves a file that is another copy's, too."""
    async with world(tmp_path, BIG, rate=8 * MEBIBYTE) as w:
        pull = w.pull()
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) > 0.4 * w.summary.bytes)
        await pull.kill()
        [staging] = w.stagings
        other = tmp_path / "store" / "of-another-copy"
        os.link(staging / "big.bin", other)
        before = other.read_bytes()
        w.relay.rate = 0
        again = w.pull()
        await again.start()
        assert await again.end() == 0, again.lines
        assert other.read_bytes() == before
        assert w.copied() == w.copied(w.data)
        assert again.last("done")["fetched"] < 0.75 * w.summary.bytes


async def test_a_closed_window_pauses_and_terms_change_while_it_runs(tmp_path: Path) -> None:
    async with world(tmp_path, BIG) as w:
        hour = time.gmtime().tm_hour
        closed = [[(hour + 12) % 24, (hour + 12) % 24 + 1]]
        pull = w.pull(streams=2)
        pull.folder.mkdir()
        pull.terms(windows=closed, zone="UTC")
        await pull.start()
        waiting = await pull.until(lambda line: line["event"] == "waiting")
        assert waiting["reason"] == Reason.WINDOW_CLOSED
        assert waiting["until"] > time.time()
        assert w.relay.down == 0
        pull.terms(rate=2 * MEBIBYTE)
        await pull.until(lambda line: line.get("bytesDone", 0) > 2 * MEBIBYTE)
        assert pull.last("progress")["limit"] == 2 * MEBIBYTE
        pull.terms(windows=closed, zone="UTC", rate=2 * MEBIBYTE)
        closings = [line for line in pull.lines if line["event"] == "waiting"]
        await pull.until(
            lambda _: len([e for e in pull.lines if e["event"] == "waiting"]) > len(closings)
        )
        await asyncio.sleep(1.5)  # parts that had begun are finished
        before = w.relay.down
        await asyncio.sleep(1.5)
        assert w.relay.down == before
        pull.terms(stop=True)
        assert await pull.end() == 4
        again = w.pull()
        await again.start()
        assert await again.end() == 0, again.lines
        assert w.copied() == w.copied(w.data)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    place = tmp_path / "store"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


async def test_a_full_disk_is_told_before_and_during(tmp_path: Path, small_disk: Path) -> None:
    async with world(tmp_path, BIG) as w:
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 1
        assert pull.last("failed")["reason"] == Reason.DISK_FULL
        assert w.relay.down < HEADERS, "told before the first byte"
    async with world(tmp_path / "later", {"a": 5 * MEBIBYTE}, rate=MEBIBYTE) as w:
        target = small_disk / "u1" / "other"
        pull = w.pull(target=str(target), streams=1)
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) >= MEBIBYTE)
        filler = small_disk / "filler"
        with contextlib.suppress(OSError):  # it is full now
            filler.write_bytes(bytes(12 * MEBIBYTE))
        assert await pull.end() == 1
        failed = pull.last("failed")
        assert (failed["reason"], failed["path"]) == (Reason.DISK_FULL, "a")
        assert not target.exists()
        filler.unlink()
        w.relay.rate = 0
        again = w.pull(target=str(target), epoch=2)
        await again.start()
        assert await again.end() == 0, again.lines
        assert tree(target) == w.copied(w.data)


async def test_a_copy_is_read_again_repaired_and_taken_away(tmp_path: Path) -> None:
    async with world(tmp_path, ODD | {"big.bin": 5 * MEBIBYTE}) as w:
        pull = w.pull()
        await pull.start()
        assert await pull.end() == 0
        good = w.pull(mode="Verify")
        await good.start()
        assert await good.end() == 0, good.lines
        with (w.target / "big.bin").open("r+b") as file:
            file.seek(3 * MEBIBYTE)
            file.write(b"rotten")
        bad = w.pull(mode="Verify")
        await bad.start()
        assert await bad.end() == 1
        assert bad.last("failed")["path"] == "big.bin"
        assert bad.last("verified")["bad"] == 1
        repair = w.pull(epoch=2, mode="Repair")
        await repair.start()
        assert await repair.end() == 0, repair.lines
        assert repair.last("done")["fetched"] < MEBIBYTE + HEADERS
        assert w.copied() == w.copied(w.data)
        gone = w.pull(epoch=3, mode="Remove")
        await gone.start()
        assert await gone.end() == 0
        assert not w.target.exists()


async def test_after_another_boot_parts_are_read_before_they_are_believed(tmp_path: Path) -> None:
    async with world(tmp_path, BIG, rate=10 * MEBIBYTE) as w:
        pull = w.pull()
        await pull.start()
        await pull.until(lambda line: line.get("bytesDone", 0) > 0.5 * w.summary.bytes)
        await pull.kill()
        [staging] = w.stagings
        log = staging / ".huiju" / "parts"
        log.write_bytes(b"another-boot".ljust(64, b"\n") + log.read_bytes()[64:])
        with (staging / "big.bin").open("r+b") as file:
            file.write(b"lost in the page cache")
        w.relay.rate = 0
        again = w.pull()
        await again.start()
        assert await again.end() == 0, again.lines
        assert w.copied() == w.copied(w.data)
        assert again.last("done")["fetched"] < 0.75 * w.summary.bytes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"digest": "sha256:short"}, "digest"), ({"epoch": 0}, "epoch"), ({"x": 1}, "x")],
)
async def test_wrong_orders_are_refused_with_the_field(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], wrong: dict[str, object], said: str
) -> None:
    async with world(tmp_path, {"a": 1}) as w:
        pull = w.pull()
        pull.order |= wrong
        await pull.start()
        assert await pull.end() == 2
    assert said in capfd.readouterr().err


async def test_what_another_copy_of_the_share_has_is_linked_and_not_fetched(
    tmp_path: Path,
) -> None:
    sizes = {f"old/{n}.bin": 2 * MEBIBYTE for n in range(4)} | {"new/a.bin": MEBIBYTE, **ODD}
    async with world(tmp_path, sizes) as w:
        before = w.target.with_name("before")
        first = w.pull(target=str(before), include=["old/*"])
        await first.start()
        assert await first.end() == 0
        broken = before / "old" / "2.bin"
        content = bytearray(broken.read_bytes())
        content[7] ^= 1
        broken.chmod(0o644)
        broken.write_bytes(content)
        w.relay.down = 0
        second = w.pull()
        await second.start()
        assert await second.end() == 0
        assert w.copied() == tree(w.data)
        # Three files were there; the broken one came anew, and what shares no path.
        fetched = second.last("done")["fetched"]
        manifest_bytes = (w.data.parent / "draft").stat().st_size
        assert fetched <= sum(sizes.values()) - 6 * MEBIBYTE + manifest_bytes
        for n in range(4):
            mine, theirs = w.target / "old" / f"{n}.bin", before / "old" / f"{n}.bin"
            assert (mine.stat().st_ino == theirs.stat().st_ino) == (n != 2)
        # What one copy loses, the other keeps.
        gone = w.pull(target=str(before), mode="Remove", epoch=2)
        await gone.start()
        assert await gone.end() == 0
        assert w.copied() == tree(w.data)
        checked = w.pull(mode="Verify", epoch=2)
        await checked.start()
        assert await checked.end() == 0
        assert checked.last("verified")["bad"] == 0
