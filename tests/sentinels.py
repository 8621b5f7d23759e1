"""A sentinel that a test is: what guards ask, without a center behind it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from huiju.guard.countdown import boottime


class Sentinel:
    """Tells of a lease, or does what else a test wants."""

    def __init__(self) -> None:
        self.center = "east"
        self.until = 0.0
        self.steady = 0.0
        """So many seconds are left whenever it is asked; 0: those until `until`."""
        self.asked = 0
        self.status = 200
        sentinel = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sentinel.asked += 1
                left = sentinel.steady or max(0.0, sentinel.until - boottime())
                told = {"center": sentinel.center, "remainingSeconds": left, "leaseSeconds": 9999}
                body = json.dumps(told).encode()
                self.send_response(sentinel.status if self.path == "/lease" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/lease"

    def grant(self, seconds: float) -> None:
        self.until = boottime() + seconds

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
