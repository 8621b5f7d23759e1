"""How fast data sets move, and what that takes: `make bench-data`.

A store (`rclone serve s3`) with a published version, the puller as the program that pods run, the
owner's signer beside it, and `rclone copy` from the same store over the same line. The line is a
process of its own (`lab/line.py`) with a rate and a round trip; TCP's slow start is no part of it.
Copies lie in memory (`--target`), so that no disk is measured, but in the large-set part. Each part
is run `--rounds` times, both programs in turn, and gives medians. The last line printed is one JSON
object.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from huiju.data import manifest
from huiju.data.access import Place
from huiju.data.authority import Asked, Authority
from huiju.data.budget import Line, shared
from huiju.data.manifest import MEBIBYTE, Entry, Summary, Writer
from huiju.data.origin import FolderOrigin, Progress
from huiju.data.paths import RESERVED
from huiju.data.publish import build
from huiju.data.signing import S3Linker
from lab.objectstore import ObjectStore, rclone
from lab.pulling import Owner, Pull
from tests.integration.data.pulls import grant, share
from tests.perf.machine import machine

GIGABIT: Final = 125_000_000.0
"""Bytes per second."""
ROUND_TRIP: Final = 0.030
SMALL_FILES: Final = 10_000
SMALL_BYTES: Final = 10_000
LINKED: Final = 5
"""Transfers that share a link."""
Fields = dict[str, Any]


@dataclass
class Set:
    """A published version in a bucket of the store."""

    name: str
    folder: Path
    draft: Path
    summary: Summary


@dataclass
class Bench:
    """Where everything lies."""

    folder: Path
    target: Path
    store: ObjectStore
    rounds: int
    sets: dict[str, Set] = field(default_factory=dict)
    count: int = 0

    def place(self) -> Path:
        """A folder for a copy."""
        self.count += 1
        return self.target / f"copy-{self.count}"

    # --- what is published -----------------------------------------------------------------------

    async def publish(self, name: str, fill: Callable[[Path], None]) -> Set:
        """Fill a bucket and publish it, once."""
        if name not in self.sets:
            folder = self.folder / "buckets" / name
            folder.mkdir(parents=True)
            fill(folder)
            draft = self.folder / f"{name}.ndjson"
            origin = FolderOrigin(folder, 2)
            with draft.open("wb") as opened:
                summary = await build(origin, opened, manifest.PART, 2, Progress())
            await origin.keep(manifest.name_of(summary.digest), draft)
            origin.close()
            self.sets[name] = Set(name, folder, draft, summary)
        return self.sets[name]

    def owner(self, of: Set, endpoint: str) -> Owner:
        """The owner's side of transfers of a set."""
        source = {"s3": {"endpoint": "http://s", "bucket": of.name, "secretName": "key"}}
        shared_set = share(of.summary.digest, source, of.summary)
        authority = Authority()
        refused = authority.tell([shared_set], [grant("Approved")], [Place("ulanqab", "north")])
        if refused:
            raise RuntimeError(str(refused))
        linker = S3Linker(self.store.signer(of.name, endpoint=endpoint))
        return Owner(
            authority, linker, of.draft, Asked("u1", of.summary.digest, "ulanqab", ("team-b",))
        )

    def puller(self, of: Set, endpoint: str, place: Path, **order: Any) -> Pull:
        """A transfer that is not started."""
        told = {
            "replica": f"r{self.count}",
            "epoch": 1,
            "digest": of.summary.digest,
            "target": str(place),
            **order,
        }
        return Pull(self.owner(of, endpoint), self.folder / f"pod-{place.name}", told)

    # --- one run ---------------------------------------------------------------------------------

    async def pull(self, of: Set, endpoint: str, **order: Any) -> Fields:
        """One transfer, and what it took."""
        place = self.place()
        pull = self.puller(of, endpoint, place, **order)
        file = self.folder / f"usage-{place.name}"
        began = time.monotonic()
        await pull.start(sys.executable, "-m", "tests.perf.usage", str(file))
        code = await pull.end(3600)
        if code:
            raise RuntimeError(f"the puller ended with {code}: {pull.lines[-1:]}")
        seconds = time.monotonic() - began
        shutil.rmtree(place)
        used = json.loads(file.read_text())
        return {**used, "seconds": seconds, "fetched": pull.last("done")["fetched"]}

    async def copy(self, of: Set, endpoint: str, *flags: str) -> Fields:
        """The same by `rclone copy`."""
        place = self.place()
        file = self.folder / f"usage-{place.name}"
        remote = f"bench:{of.name}"
        words = ["copy", remote, str(place), f"--exclude=/{RESERVED}/**", *flags]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.perf.usage", str(file), str(rclone()), *words),
            env={
                **os.environ,
                "RCLONE_CONFIG": os.devnull,
                "RCLONE_CONFIG_BENCH_TYPE": "s3",
                "RCLONE_CONFIG_BENCH_PROVIDER": "Rclone",
                "RCLONE_CONFIG_BENCH_ENDPOINT": endpoint,
                "RCLONE_CONFIG_BENCH_ACCESS_KEY_ID": self.store.key.access,
                "RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY": self.store.key.secret,
            },
        )
        if await process.wait():
            raise RuntimeError("rclone copy failed")
        there = [each for each in place.rglob("*") if each.is_file()]
        size = sum(each.stat().st_size for each in there)
        if (len(there), size) != (of.summary.files, of.summary.bytes):
            raise RuntimeError(f"rclone copied {len(there)} files, {size} bytes")
        shutil.rmtree(place)
        used: Fields = json.loads(file.read_text())
        return used

    async def both(self, of: Set, endpoint: str) -> Fields:
        """The pull against `rclone copy`: as it comes, and with 32 transfers; the better counts."""
        ways: dict[str, Callable[[], Coroutine[Any, Any, Fields]]] = {
            "pull": lambda: self.pull(of, endpoint),
            "rclone": lambda: self.copy(of, endpoint),
            "rclone_32": lambda: self.copy(of, endpoint, "--transfers=32", "--checkers=32"),
        }
        runs: dict[str, list[Fields]] = {name: [] for name in ways}
        await self.pull(of, self.store.endpoint)  # the store digests what it serves first
        for _ in range(self.rounds):
            for name, way in ways.items():
                runs[name].append(await way())
                told(f"{of.name} {name}: {runs[name][-1]['seconds']:.2f} s")
        found: Fields = {}
        for name, each in runs.items():
            seconds = statistics.median(run["seconds"] for run in each)
            found[name] = {
                "seconds": round(seconds, 2),
                "megabytes_per_s": round(of.summary.bytes / seconds / 1e6, 1),
                "files_per_s": round(of.summary.files / seconds, 1),
                "cpu_s": round(statistics.median(run["cpu"] for run in each), 2),
                "peak_mb": round(max(run["peak"] for run in each) / 1e6),
            }
            if of.summary.bytes >= 1e9:
                found[name]["cpu_s_per_gb"] = round(
                    found[name]["cpu_s"] / (of.summary.bytes / 1e9), 2
                )
        best = min(found["rclone"]["seconds"], found["rclone_32"]["seconds"])
        return {**found, "share_of_rclone": round(best / found["pull"]["seconds"], 3)}


def told(text: str) -> None:
    """Say how far it is."""
    print(text, file=sys.stderr, flush=True)


# --- lines ----------------------------------------------------------------------------------------


@dataclass
class LongLine:
    """A running line."""

    endpoint: str
    process: subprocess.Popen[str]

    def report(self) -> Fields:
        """What went down it."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the line has no pipes")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found: Fields = json.loads(self.process.stdout.readline())
        return found


@contextmanager
def line(port: int, rate: float = 0.0, round_trip: float = 0.0) -> Iterator[LongLine]:
    """A line to a port."""
    words = [sys.executable, "-m", "lab.line", str(port)]
    words += [f"--rate={rate}", f"--delay={round_trip / 2}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("the line has no pipes")
            yield LongLine(f"http://127.0.0.1:{int(process.stdout.readline())}", process)
        finally:
            process.kill()


# --- sets -----------------------------------------------------------------------------------------


def large(total: int, files: int) -> Callable[[Path], None]:
    """So many random bytes in so many files."""

    def fill(folder: Path) -> None:
        for number in range(files):
            with (folder / f"shard-{number:03}.bin").open("wb") as file:
                left = total // files
                while left:
                    block = os.urandom(min(left, 8 * MEBIBYTE))
                    file.write(block)
                    left -= len(block)

    return fill


def small(folder: Path) -> None:
    """Many small files."""
    for number in range(SMALL_FILES):
        file = folder / f"{number // 1000:02}" / f"{number:05}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(os.urandom(SMALL_BYTES))


def hollow(total: int, files: int) -> Callable[[Path], None]:
    """So many zeros, which take no room at the source."""

    def fill(folder: Path) -> None:
        for number in range(files):
            with (folder / f"shard-{number:03}.bin").open("wb") as file:
                file.truncate(total // files)

    return fill


# --- the parts ------------------------------------------------------------------------------------


async def streams(bench: Bench, options: argparse.Namespace) -> Fields:
    """One pull against rclone over long lines."""
    of = await bench.publish("large", large(options.bytes, 8))
    found: Fields = {"bytes": of.summary.bytes, "files": of.summary.files}
    for gigabits in (1, 10):
        with line(bench.store.port, gigabits * GIGABIT, ROUND_TRIP) as long:
            found[f"{gigabits}g_30ms"] = await bench.both(of, long.endpoint)
    return found


async def loopback(bench: Bench, options: argparse.Namespace) -> Fields:
    """The same without a line: what the processors allow."""
    of = await bench.publish("large", large(options.bytes, 8))
    return await bench.both(of, bench.store.endpoint)


async def smalls(bench: Bench, _options: argparse.Namespace) -> Fields:
    """Many small files."""
    of = await bench.publish("small", small)
    found: Fields = {"files": of.summary.files, "bytes": of.summary.bytes}
    with line(bench.store.port, GIGABIT, ROUND_TRIP) as long:
        found["1g_30ms"] = await bench.both(of, long.endpoint)
    return found | {"loopback": await bench.both(of, bench.store.endpoint)}


@contextmanager
def on_disk(bench: Bench) -> Iterator[None]:
    """Copies lie beside the sources: they are too large for memory, or too many."""
    target, bench.target = bench.target, bench.folder / "copies"
    bench.target.mkdir()
    try:
        yield
    finally:
        bench.target = target


async def large_set(bench: Bench, options: argparse.Namespace) -> Fields:
    """The most memory for a large set; its source is zeros, its copy is written to the disk."""
    of = await bench.publish("hollow", hollow(options.large_bytes, 4))
    with on_disk(bench):
        run = await bench.pull(of, bench.store.endpoint)
    told(f"large: {run['seconds']:.1f} s, {run['peak'] / 1e6:.0f} MB")
    return {
        "bytes": of.summary.bytes,
        "peak_mb": round(run["peak"] / 1e6),
        "seconds": round(run["seconds"], 1),
        "cpu_s_per_gb": round(run["cpu"] / (of.summary.bytes / 1e9), 2),
    }


async def entries(bench: Bench, options: argparse.Namespace) -> Fields:
    """The most memory for a long manifest."""
    of = await _entries(bench, options.entries)
    with on_disk(bench):
        run = await bench.pull(of, bench.store.endpoint)
    told(f"entries: {run['seconds']:.1f} s, {run['peak'] / 1e6:.0f} MB")
    return {
        "files": of.summary.files,
        "fetched_files": of.summary.bytes,
        "manifest_bytes": of.draft.stat().st_size,
        "peak_mb": round(run["peak"] / 1e6),
        "seconds": round(run["seconds"], 1),
    }


async def _entries(bench: Bench, count: int) -> Set:
    """A manifest of that many files: one of fifty has a byte to fetch, the others are empty."""
    folder = bench.folder / "buckets" / "entries"
    draft = bench.folder / "entries.ndjson"
    empty, one = (hashlib.sha256(content).hexdigest() for content in (b"", b"x"))
    with draft.open("wb") as opened:
        writer = Writer(opened)
        for number in range(count):
            path = f"{number // 1000:05}/{number:08}.json"
            if number % 50:
                writer.add(Entry(path, 0, empty))
                continue
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(b"x")
            writer.add(Entry(path, 1, one))
        summary = writer.finish()
    kept = folder / manifest.name_of(summary.digest)
    kept.parent.mkdir(parents=True)
    shutil.copy(draft, kept)
    return Set("entries", folder, draft, summary)


async def killed(bench: Bench, options: argparse.Namespace) -> Fields:
    """What is sent again after the puller was killed at 60 %."""
    of = await bench.publish("large", large(options.bytes, 8))
    runs: list[int] = []
    with line(bench.store.port, GIGABIT, ROUND_TRIP) as long:
        for _ in range(max(5, bench.rounds)):
            before = long.report()["down"]
            place = bench.place()
            first = bench.puller(of, long.endpoint, place)
            await first.start()
            await first.until(
                lambda said: said.get("bytesDone", 0) >= 0.6 * of.summary.bytes, seconds=3600
            )
            await asyncio.sleep(0.13 * len(runs))  # streams of equal speed end parts together
            os.kill(first.pid, signal.SIGKILL)
            await first.end()
            second = bench.puller(of, long.endpoint, place)
            await second.start()
            if await second.end(3600):
                raise RuntimeError(f"the second puller failed: {second.lines[-1:]}")
            again = long.report()["down"] - before - of.summary.bytes
            shutil.rmtree(place)
            runs.append(again)
            told(f"sent again: {again / 1e6:.1f} MB")
    return {
        "bytes": of.summary.bytes,
        "part_bytes": of.summary.part,
        "streams": 4,
        "sent_again_mb": [round(again / 1e6, 1) for again in runs],
    }


async def budget(bench: Bench, options: argparse.Namespace) -> Fields:
    """Transfers over one link, each with the rate that the hub would give it."""
    of = await bench.publish("large", large(options.bytes, 8))
    rate = int(GIGABIT)
    with line(bench.store.port) as long:
        pulls = {f"t{n}": bench.puller(of, long.endpoint, bench.place()) for n in range(LINKED)}
        ordered = dict.fromkeys(pulls, 0)
        began = time.monotonic()
        waiting = list(pulls)
        ends: dict[str, asyncio.Task[int]] = {}
        while waiting or any(not end.done() for end in ends.values()):
            going = [name for name, end in ends.items() if not end.done()]
            # One more joins every other second, and leaves when it is done.
            due = int((time.monotonic() - began) // 2) + 1 - len(ends)
            lines = {name: Line(ordered[name], _kept(pulls[name])) for name in going}
            lines |= {name: Line() for name in waiting[: max(0, due)]}
            for name, given in shared(rate, lines).items():
                if not given:
                    continue
                if name in waiting:
                    pulls[name].folder.mkdir(parents=True, exist_ok=True)
                    pulls[name].terms(rate=given)
                    await pulls[name].start()
                    ends[name] = asyncio.create_task(pulls[name].end(3600))
                    waiting.remove(name)
                elif given != ordered[name]:
                    pulls[name].terms(rate=given)
                ordered[name] = given
            await asyncio.sleep(0.2)
        codes = [end.result() for end in ends.values()]
        seconds = time.monotonic() - began
        seen = long.report()
    if any(codes):
        raise RuntimeError(f"pullers ended with {codes}")
    for pull in pulls.values():
        shutil.rmtree(Path(pull.order["target"]))
    told(f"busiest ten seconds: {seen['busiest10s'] / (10 * rate):.3f} of the budget")
    return {
        "transfers": LINKED,
        "bytes_each": of.summary.bytes,
        "budget_bytes_per_s": rate,
        "busiest_10s_of_budget": round(seen["busiest10s"] / (10 * rate), 3),
        "mean_of_budget": round(seen["down"] / seconds / rate, 3),
    }


def _kept(pull: Pull) -> int:
    """The rate that a puller says it keeps to."""
    said = [line["limit"] for line in pull.lines if line["event"] == "progress"]
    return int(said[-1]) if said else 0


async def publishing(bench: Bench, options: argparse.Namespace) -> Fields:
    """How fast manifests are made of files that are in the page cache."""
    found: Fields = {}
    for name, fill in (("large", large(options.bytes, 8)), ("small", small)):
        of = await bench.publish(name, fill)
        for threads in (1, 2, 4):
            took = []
            for _ in range(bench.rounds):
                origin = FolderOrigin(of.folder, threads)
                began = time.monotonic()
                with (bench.folder / "again.ndjson").open("wb") as opened:
                    summary = await build(origin, opened, manifest.PART, threads, Progress())
                took.append(time.monotonic() - began)
                origin.close()
                if summary.digest != of.summary.digest:
                    raise RuntimeError("another manifest of the same files")
            seconds = statistics.median(took)
            found[f"{name}_{threads}_threads"] = {
                "gb_per_s": round(summary.bytes / seconds / 1e9, 2),
                "files_per_s": round(summary.files / seconds),
            }
    return found


PARTS: Final[dict[str, Callable[[Bench, argparse.Namespace], Coroutine[Any, Any, Fields]]]] = {
    "streams": streams,
    "loopback": loopback,
    "small": smalls,
    "large": large_set,
    "entries": entries,
    "killed": killed,
    "budget": budget,
    "publish": publishing,
}


@asynccontextmanager
async def bench_in(options: argparse.Namespace) -> AsyncIterator[Bench]:
    """Folders and the store."""
    with (
        tempfile.TemporaryDirectory(prefix="huiju-bench-", dir=options.folder) as folder,
        tempfile.TemporaryDirectory(prefix="huiju-bench-", dir=options.target) as target,
    ):
        (Path(folder) / "buckets").mkdir()
        with ObjectStore(Path(folder) / "buckets") as store:
            yield Bench(Path(folder), Path(target), store, options.rounds)


async def run(options: argparse.Namespace) -> Fields:
    """All parts that are asked for."""
    result: Fields = {}
    for name in options.only or PARTS:
        # A store of its own for each: it remembers listings, and caches what it has served.
        async with bench_in(options) as bench:
            told(name)
            result[name] = await PARTS[name](bench, options)
            told(json.dumps({name: result[name]}))  # what is measured is not lost with the rest
    return result | {"machine": machine()}


def main() -> int:
    """Parse, run, print the JSON object as the last line."""
    memory_folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), help="these parts")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program")
    parser.add_argument("--bytes", type=int, default=2 << 30, help="bytes of the set of few files")
    parser.add_argument("--large-bytes", type=int, default=20_000_000_000, help="of the large set")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the long manifest")
    parser.add_argument("--folder", help="where sources lie (default: the temporary folder)")
    parser.add_argument("--target", default=memory_folder, help="where copies lie (memory)")
    print(json.dumps(asyncio.run(run(parser.parse_args()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
