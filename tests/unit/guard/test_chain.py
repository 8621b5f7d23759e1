"""The user's own probes, by the rules that the kubelet has for them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from huiju.guard.chain import Chain, Judge, ask

LIVENESS = {"tcpSocket": {"port": 1}, "periodSeconds": 5, "failureThreshold": 2}
STARTUP = {"httpGet": {"port": 1}, "initialDelaySeconds": 7, "failureThreshold": 3}


def test_failures_count_only_in_a_row() -> None:
    judge = Judge(None, LIVENESS)
    for trouble in ("no", "", "no", "", "no"):
        judge.note(trouble)
        assert not judge.failed
    judge.note("refused")
    assert judge.failed == "its own liveness probe failed 2 times: refused"


def test_a_container_that_failed_stays_failed_and_is_asked_no_more() -> None:
    judge = Judge(None, LIVENESS)
    judge.note("no")
    judge.note("no")
    assert judge.probe is None
    judge.note("")
    assert judge.failed


def test_liveness_waits_for_startup() -> None:
    judge = Judge(STARTUP, LIVENESS)
    assert judge.probe is STARTUP
    assert judge.wait() == 7.0
    judge.note("not yet")
    judge.note("not yet")
    assert judge.wait() == 10.0, "the period that Kubernetes has by default"
    assert not judge.failed, "a slow start is no failed liveness"
    judge.note("")
    assert judge.probe is LIVENESS
    assert judge.wait() == 0.0, "counted from here on by its own delay"
    judge.note("no")
    assert judge.wait() == 5.0
    assert not judge.failed, "failures of the startup probe are forgotten"


def test_a_container_that_never_starts_is_stopped() -> None:
    judge = Judge(STARTUP, LIVENESS)
    for _ in range(3):
        judge.note("refused")
    assert judge.failed == "its own startup probe failed 3 times: refused"


def test_a_container_that_only_has_to_start_is_left_alone_then() -> None:
    judge = Judge(STARTUP, None)
    judge.note("")
    assert judge.probe is None
    assert not judge.failed


# --- asked for real -------------------------------------------------------------------------------


class _Application(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        good = self.path == "/healthz" and self.headers.get("X-Token") == "let-me-in"
        self.send_response({"/moved": 302}.get(self.path, 200 if good else 500))
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def application() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _Application)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_path_and_headers_are_honored(application: int) -> None:
    probe = {"httpGet": {"port": application, "path": "healthz"}}
    assert ask(probe, "127.0.0.1") == "answered 500"
    probe["httpGet"]["httpHeaders"] = [{"name": "X-Token", "value": "let-me-in"}]
    assert ask(probe, "127.0.0.1") == ""
    assert ask({"httpGet": {"port": application, "path": "/moved"}}, "127.0.0.1") == ""


def test_the_host_of_a_probe_is_honored(application: int) -> None:
    probe = {"tcpSocket": {"port": application, "host": "127.0.0.1"}}
    assert ask(probe, "192.0.2.1") == ""


def test_a_closed_port_and_a_silent_one_are_trouble() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "timed out" in ask({"httpGet": {"port": port}, "timeoutSeconds": 0.1}, "127.0.0.1")
        assert ask({"tcpSocket": {"port": port}}, "127.0.0.1") == ""
    assert ask({"tcpSocket": {"port": port}}, "127.0.0.1") != ""


def test_headers_cannot_smuggle_a_second_request(application: int) -> None:
    headers = [{"name": "X-A", "value": "b\r\nX-Token: let-me-in"}]
    probe = {"httpGet": {"port": application, "path": "/healthz", "httpHeaders": headers}}
    assert "line break" in ask(probe, "127.0.0.1")


def test_asking_begins_with_the_first_question(application: int) -> None:
    asked, go = threading.Event(), threading.Event()
    first: list[float] = []

    def wait(seconds: float) -> bool:
        first.append(seconds)
        asked.set()
        return not go.wait(10) or len(first) > 1

    probe = {"httpGet": {"port": application}, "failureThreshold": 1, "initialDelaySeconds": 3}
    chain = Chain({"liveness": probe}, "127.0.0.1", wait)
    assert not asked.wait(0.05)
    assert chain.trouble() == "", "nothing has been asked of the application yet"
    assert asked.wait(10)
    assert first[0] == 3.0
    go.set()
