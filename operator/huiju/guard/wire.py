"""HTTP as far as a guard asks it: one GET, and whether a port answers.

Decides bounds: a deadline for the whole exchange, and how much is read. Invariant: nothing that the
other side does keeps the caller longer than its deadline (name resolution apart, which has its own
limits in the system's resolver).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Final

_MOST: Final = 65536
_AGENT: Final = "kube-probe/huiju-guard"
"""Applications that leave probes out of their logs know them by the beginning of this."""


class WireError(Exception):
    """No answer, or none that is HTTP."""


def get(
    host: str,
    port: int,
    path: str,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    *,
    tls: bool = False,
) -> tuple[int, bytes]:
    """Status and body of a GET; redirects are not followed.

    Raises:
        WireError: there was no answer in time.
    """
    until = time.monotonic() + seconds
    try:
        with socket.create_connection((host, port), timeout=seconds) as plain:
            link = _encrypted(plain, host, until) if tls else plain
            link.settimeout(_left(until))
            link.sendall(_request(host, port, path, headers or {}))
            return _answer(link, until)
    except (OSError, ValueError) as error:
        raise WireError(f"{host}:{port}{path}: {error}") from None


def connects(host: str, port: int, seconds: float) -> None:
    """Open a connection and close it.

    Raises:
        WireError: the port did not answer in time.
    """
    try:
        socket.create_connection((host, port), timeout=seconds).close()
    except OSError as error:
        raise WireError(f"{host}:{port}: {error}") from None


def _request(host: str, port: int, path: str, headers: Mapping[str, str]) -> bytes:
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    given = {name.lower() for name in headers}
    lines = [f"GET {path} HTTP/1.1"]
    defaults = {"Host": place, "User-Agent": _AGENT, "Accept": "*/*"}
    lines += [f"{name}: {value}" for name, value in defaults.items() if name.lower() not in given]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: close", "", ""]
    if any("\n" in line or "\r" in line for line in lines):
        raise ValueError("a line break in the path or a header")
    return "\r\n".join(lines).encode("latin-1", "replace")


def _answer(link: socket.socket, until: float) -> tuple[int, bytes]:
    """Read to the end that Content-Length names, or to the end of the stream."""
    read = b""
    while True:
        head, found, body = read.partition(b"\r\n\r\n")
        if found:
            status = _status(head)
            length = _length(head)
            if length is not None and len(body) >= length:
                return status, body[:length]
        if len(read) > _MOST:
            raise ValueError("the answer is too long")
        link.settimeout(_left(until))
        more = link.recv(8192)
        if not more:
            if not found:
                raise ValueError("the answer broke off")
            if length is not None:
                raise ValueError("the body broke off")
            return status, body
        read += more


def _status(head: bytes) -> int:
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    return int(words[1])


def _length(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return None


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _encrypted(plain: socket.socket, host: str, until: float) -> socket.socket:
    # Only here: TLS costs more memory than all the rest of a guard.
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # As the kubelet probes: it is asked whether the application answers, nothing is told to it.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain.settimeout(_left(until))
    return context.wrap_socket(plain, server_hostname=host)
