"""The guard as a process of its own, before a sentinel that the test is."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from huiju.guard.wire import WireError, get
from tests.sentinels import Sentinel

PATIENCE = 20.0


@dataclass
class Guarded:
    """A guard and its sentinel."""

    sentinel: Sentinel
    folder: Path
    probes: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    port: int = 0

    def start(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "huiju", "guard"],
            env=os.environ
            | {
                "HUIJU_GUARD_SENTINEL": f"http://127.0.0.1:{self.sentinel.port}/lease",
                "HUIJU_CENTER": "east",
                "HUIJU_GUARD_POLL": "0.05",
                "HUIJU_GUARD_BIND": "127.0.0.1",
                "HUIJU_GUARD_PORT": str(self.port),
                "HUIJU_GUARD_PROBES": json.dumps(self.probes),
                "HUIJU_GUARD_LAST_WORDS": str(self.words),
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.until("/alive/train", lambda status, _: status in (200, 503))

    @property
    def words(self) -> Path:
        return self.folder / "termination-log"

    def ask(self, path: str) -> tuple[int, str]:
        status, body = get("127.0.0.1", self.port, path, 5.0)
        return status, body.decode()

    def until(self, path: str, check: Callable[[int, str], bool]) -> str:
        end = time.monotonic() + PATIENCE
        told: tuple[int, str] | None = None
        while time.monotonic() < end:
            try:
                told = self.ask(path)
            except WireError:
                told = None
            if told is not None and check(*told):
                return told[1]
            time.sleep(0.02)
        raise AssertionError(f"{path}: {told}")

    def until_status(self, path: str, wanted: int) -> str:
        return self.until(path, lambda status, _: status == wanted)

    def end(self) -> tuple[int, str]:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    made = Guarded(Sentinel(), tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.communicate()
    made.sentinel.close()


def test_the_gate_stays_shut_until_a_lease_is_seen(guarded: Guarded) -> None:
    guarded.start()
    status, why = guarded.ask("/started")
    assert status == 503
    assert "no valid lease" in why
    guarded.sentinel.grant(1000)
    assert "the lease holds" in guarded.until_status("/started", 200)
    assert guarded.ask("/alive/train")[0] == 200


def test_the_lease_runs_out_without_any_word_of_the_sentinel(guarded: Guarded) -> None:
    guarded.start()
    guarded.sentinel.grant(3.0)
    guarded.until_status("/alive/train", 200)
    guarded.sentinel.status = 500
    why = guarded.until_status("/alive/train", 503)
    assert why.startswith("LeaseEnded: ")
    assert "answers 500" in why
    assert guarded.ask("/started")[0] == 503
    assert guarded.words.read_text().startswith("LeaseEnded: ")


def test_a_lease_that_comes_back_in_time_lets_the_pod_run(guarded: Guarded) -> None:
    guarded.start()
    guarded.sentinel.grant(3.0)
    guarded.until_status("/alive/train", 200)
    guarded.until_status("/alive/train", 503)
    guarded.sentinel.grant(1000)
    guarded.until_status("/alive/train", 200)
    assert guarded.words.read_text() == "", "its end, if it comes, has another cause"


def test_a_container_that_was_stopped_is_not_covered_up_by_another_that_lives_on(
    guarded: Guarded,
) -> None:
    guarded.start()
    guarded.sentinel.grant(3.0)
    guarded.until_status("/alive/train", 200)
    guarded.until_status("/alive/train", 503)
    guarded.sentinel.grant(1000)
    guarded.until_status("/alive/logger", 200)
    assert guarded.words.read_text().startswith("LeaseEnded: ")
    assert guarded.end()[0] == 93


def test_a_sentinel_that_restarts_costs_nothing_while_the_lease_holds(guarded: Guarded) -> None:
    guarded.sentinel.grant(1000)
    guarded.start()
    guarded.until_status("/alive/train", 200)
    guarded.sentinel.center, guarded.sentinel.until = "", 0.0
    time.sleep(0.3)  # some questions long
    assert guarded.ask("/alive/train")[0] == 200
    guarded.sentinel.close()
    time.sleep(0.3)
    assert guarded.ask("/alive/train")[0] == 200
    guarded.sentinel = Sentinel()


def test_a_guard_that_restarts_learns_the_lease_anew(guarded: Guarded) -> None:
    guarded.sentinel.grant(1000)
    guarded.start()
    guarded.until_status("/alive/train", 200)
    assert guarded.process is not None
    guarded.process.kill()
    guarded.process.communicate()
    guarded.start()
    guarded.until_status("/alive/train", 200)


def test_another_centers_lease_opens_nothing(guarded: Guarded) -> None:
    guarded.sentinel.center = "west"
    guarded.sentinel.grant(1000)
    guarded.start()
    why = guarded.until("/started", lambda _, text: "west" in text)
    assert "not 'east'" in why
    assert guarded.ask("/started")[0] == 503


def test_a_stopped_guard_answers_nobody_and_knows_the_time_when_it_wakes(guarded: Guarded) -> None:
    guarded.start()
    guarded.sentinel.grant(3.0)
    guarded.until_status("/alive/train", 200)
    assert guarded.process is not None
    guarded.process.send_signal(signal.SIGSTOP)
    with pytest.raises(WireError, match="timed out"):
        get("127.0.0.1", guarded.port, "/alive/train", 3.5)
    guarded.process.send_signal(signal.SIGCONT)
    assert guarded.ask("/alive/train")[0] == 503


def test_a_users_probe_that_fails_stops_only_its_container(guarded: Guarded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    probe = {"tcpSocket": {"port": closed}, "periodSeconds": 1, "failureThreshold": 2}
    guarded.probes = {"train": {"liveness": probe}}
    guarded.sentinel.grant(1000)
    guarded.start()
    guarded.until_status("/alive/other", 200)
    why = guarded.until("/alive/train", lambda status, text: status == 503 and "own" in text)
    assert why.startswith("train: its own liveness probe failed 2 times")
    assert guarded.ask("/alive/other")[0] == 200
    assert not guarded.words.exists() or guarded.words.read_text() == ""


def test_silent_and_broken_clients_keep_nobody_from_an_answer(guarded: Guarded) -> None:
    guarded.sentinel.grant(1000)
    guarded.start()
    guarded.until_status("/alive/train", 200)
    silent = [socket.create_connection(("127.0.0.1", guarded.port)) for _ in range(300)]
    try:
        for link, words in zip(
            silent, (b"GET", b"\x00" * 9000, b"POST / HTTP/1.1\r\n\r\n"), strict=False
        ):
            link.sendall(words)
        assert guarded.ask("/alive/train")[0] == 200
        assert guarded.ask("/nothing")[0] == 404
    finally:
        for link in silent:
            link.close()


def test_it_ends_in_order_and_says_what_it_saw(guarded: Guarded) -> None:
    guarded.sentinel.grant(1000)
    guarded.start()
    guarded.until_status("/alive/train", 200)
    code, said = guarded.end()
    assert code == 0
    assert "Traceback" not in said


def test_a_port_that_is_taken_is_named(guarded: Guarded) -> None:
    guarded.start()
    second = subprocess.run(
        [sys.executable, "-m", "huiju", "guard"],
        env=os.environ
        | {
            "HUIJU_GUARD_SENTINEL": "http://127.0.0.1:1/lease",
            "HUIJU_GUARD_BIND": "127.0.0.1",
            "HUIJU_GUARD_PORT": str(guarded.port),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert second.returncode == 1
    assert f"port {guarded.port}" in second.stderr
