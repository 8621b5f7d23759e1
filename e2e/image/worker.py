"""What the pods of the end-to-end tests run: says in one line of JSON what a worker was given.

    worker.py report [--file PATH]... [--env NAME]...   what it sees, after meeting the others
    worker.py run SECONDS                               prints a line a second, then ends well
    worker.py digest FOLDER                             the SHA-256 of each file below it
    worker.py fail CODE                                 ends with that code

Decides nothing: what is right is the tests' to say. Every line has the time, as `at`. `report`
meets the other workers through the rendezvous that it was given: the first one waits for all, tells
each who came, and all end well, or none does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

PATIENCE = 120.0
"""Seconds that workers wait for each other."""
VISIBLE = ("ASCEND_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
PREFIXES = ("HUIJU_", "NNODES", "NPROC_PER_NODE", "NODE_RANK", "PET_", "MASTER_", "MS_", "HCCL_")


def say(**words: Any) -> None:
    """One line of JSON."""
    print(json.dumps({"at": time.time(), **words}, sort_keys=True), flush=True)


def visible() -> list[int]:
    """The devices that the device plugin gave this container."""
    text = next((os.environ[name] for name in VISIBLE if os.environ.get(name)), "")
    return [int(index) for index in text.split(",") if index]


def shared_memory() -> int:
    """Bytes that fit into /dev/shm."""
    about = os.statvfs("/dev/shm")
    return about.f_blocks * about.f_frsize


def receive(connection: socket.socket) -> Any:
    """One line of JSON from the other end."""
    with connection.makefile() as lines:
        return json.loads(lines.readline())


def send(connection: socket.socket, what: Any) -> None:
    """One line of JSON to the other end."""
    connection.sendall(json.dumps(what).encode() + b"\n")


def meet(rank: int, workers: int, mine: dict[str, Any]) -> list[dict[str, Any]]:
    """What all workers brought, by rank; raises TimeoutError where one is missing."""
    host, port = os.environ["HUIJU_MASTER_ADDR"], int(os.environ["HUIJU_MASTER_PORT"])
    if workers == 1:
        return [mine]
    if rank:
        return follow(host, port, mine)
    found = {0: mine}
    with socket.create_server(("", port), backlog=workers) as server:
        server.settimeout(PATIENCE)
        others = []
        while len(found) < workers:
            connection, _ = server.accept()
            brought = receive(connection)
            found[brought["rank"]] = brought
            others.append(connection)
        everybody = [found[rank] for rank in sorted(found)]
        for connection in others:
            send(connection, everybody)
            connection.close()
    return everybody


def follow(host: str, port: int, mine: dict[str, Any]) -> list[dict[str, Any]]:
    """Bring `mine` to the first worker, whose name may not be known yet."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.settimeout(PATIENCE)
                send(connection, mine)
                everybody: list[dict[str, Any]] = receive(connection)
                return everybody
        except OSError as error:
            if time.monotonic() > end:
                raise
            say(event="waiting", master=f"{host}:{port}", error=str(error))
            time.sleep(1)


def report(files: list[str], names: list[str]) -> int:
    """Meet the others, and say what this worker was given."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PREFIXES) or name in names
    }
    rank, workers = int(os.environ["NODE_RANK"]), int(os.environ["NNODES"])
    mine = {"rank": rank, "host": socket.gethostname(), "devices": visible()}
    everybody = meet(rank, workers, mine)
    mounted = {}
    for path in files:
        with open(path) as file:
            mounted[path] = file.read()
    say(
        event="report",
        **mine,
        env=environment,
        files=mounted,
        shared_memory=shared_memory(),
        everybody=everybody,
        uid=os.getuid(),
    )
    return 0 if [one["rank"] for one in everybody] == list(range(workers)) else 3


def run(seconds: float) -> int:
    """Be busy for a while; a polite end on SIGTERM, as a checkpoint would be written."""

    def told(_number: int, _frame: FrameType | None) -> None:
        say(event="stopped")
        sys.exit(143)

    signal.signal(signal.SIGTERM, told)
    end = time.monotonic() + seconds
    step = 0
    while time.monotonic() < end:
        say(event="step", step=step, epoch=os.environ.get("HUIJU_EPOCH"))
        step += 1
        time.sleep(1)
    say(event="done")
    return 0


def digest(folder: Path) -> int:
    """Say what is in a folder."""
    found = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    say(event="digest", files=found)
    return 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser()
    deeds = parser.add_subparsers(dest="deed", required=True)
    told = deeds.add_parser("report")
    told.add_argument("--file", action="append", default=[])
    told.add_argument("--env", action="append", default=[])
    deeds.add_parser("run").add_argument("seconds", type=float)
    deeds.add_parser("digest").add_argument("folder", type=Path)
    deeds.add_parser("fail").add_argument("code", type=int)
    given = parser.parse_args()
    match given.deed:
        case "report":
            return report(given.file, given.env)
        case "run":
            return run(given.seconds)
        case "digest":
            return digest(given.folder)
        case _:
            print("this worker fails, as it was told to", file=sys.stderr)
            return int(given.code)


if __name__ == "__main__":
    sys.exit(main())
