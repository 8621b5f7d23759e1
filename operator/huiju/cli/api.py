"""One API server for a command that ends soon: a blocking client on the standard library.

`kube.Client` serves the hub; importing its HTTP library alone would take longer than a whole
command should. Decides nothing. Invariant: certificates are verified, and every error is a
`KubeError`.
"""

from __future__ import annotations

import base64
import http.client
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from huiju.kube.credentials import Credentials
from huiju.kube.errors import Gone, Transient, Unauthorized, Unreadable, Untrusted, error_of
from huiju.kube.resources import Resource

JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
Fields = dict[str, Any]
Query = Mapping[str, str]
_PAGE: Final = 500


class Api:
    """Calls to one API server, one after the other. `timeout` in seconds bounds each answer."""

    def __init__(self, credentials: Credentials, *, timeout: float = 15.0) -> None:
        self.credentials = credentials
        self.timeout = timeout
        self._url = urlsplit(credentials.server)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, res: Resource, name: str, namespace: str | None = None) -> Fields:
        """Read one object; raises NotFound."""
        return self.call("GET", res.path(namespace, name))

    def list(
        self, res: Resource, namespace: str | None = None, *, labels: str = "", fields: str = ""
    ) -> tuple[list[Fields], str]:
        """All objects of a collection, and the resourceVersion to watch from."""
        items: list[Fields] = []
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(_PAGE)}
        while True:
            try:
                page = self.call("GET", res.path(namespace), query=query)
            except Gone:
                # The continue token is older than what the server keeps: read in one piece.
                items, query = [], query | {"continue": "", "limit": ""}
                continue
            items += page.get("items") or []
            meta = page.get("metadata") or {}
            if not meta.get("continue"):
                break
            query = query | {"continue": meta["continue"]}
        kind = {"apiVersion": res.api_version, "kind": res.kind}
        return [kind | item for item in items], str(meta.get("resourceVersion", ""))

    def create(
        self, res: Resource, obj: Fields, namespace: str | None = None, *, dry_run: bool = False
    ) -> Fields:
        """POST an object; raises AlreadyExists, and for a field that the server does not know."""
        # Else a misspelled field would be dropped in silence; kubectl asks for the same.
        query = {"dryRun": "All" if dry_run else "", "fieldValidation": "Strict"}
        return self.call("POST", res.path(namespace), obj, query=query)

    def delete(self, res: Resource, name: str, namespace: str | None = None) -> Fields:
        """Delete one object; raises NotFound."""
        return self.call("DELETE", res.path(namespace, name))

    def patch(
        self,
        res: Resource,
        name: str,
        body: Fields,
        namespace: str | None = None,
        *,
        dry_run: bool = False,
    ) -> Fields:
        """Merge into one object."""
        query = {"dryRun": "All" if dry_run else ""}
        return self.call("PATCH", res.path(namespace, name), body, query=query, content_type=MERGE)

    def watch(
        self,
        res: Resource,
        namespace: str | None = None,
        *,
        version: str,
        labels: str = "",
        fields: str = "",
        seconds: float = 300.0,
    ) -> Iterator[tuple[str, Fields]]:
        """Type and object of each change since `version`, for at most so many seconds."""
        query = {
            "watch": "1",
            "timeoutSeconds": str(max(1, round(seconds))),
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "labelSelector": labels,
            "fieldSelector": fields,
        }
        rest = b""
        for chunk in self.stream(res.path(namespace), query):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line:
                    event = _decode(line)
                    if event["type"] == "ERROR":
                        raise error_of(0, msgspec.json.encode(event["object"]))
                    yield event["type"], event["object"]

    def call(
        self,
        method: str,
        path: str,
        body: Fields | None = None,
        *,
        query: Query | None = None,
        content_type: str = JSON,
    ) -> Fields:
        """Make one call and return its decoded answer; credentials are renewed once after a 401."""
        data = None if body is None else msgspec.json.encode(body)
        for last in (False, True):
            response = self._send(method, _target(path, query), data, content_type)
            answer = self._read(response)
            if response.status < 300:
                return _decode(answer)
            error = error_of(response.status, answer, response.getheader("Retry-After"))
            reload = self.credentials.reload
            if last or not isinstance(error, Unauthorized) or reload is None:
                raise error
            self._renew(reload())
        raise AssertionError  # the loop returns or raises

    def stream(self, path: str, query: Query | None = None) -> Iterator[bytes]:
        """Chunks of a long answer as they come; silence is allowed once it has begun."""
        response = self._send("GET", _target(path, query), None, JSON, accept="*/*")
        if response.status >= 300:
            raise error_of(response.status, self._read(response), response.getheader("Retry-After"))
        try:
            if self._connection is not None and self._connection.sock is not None:
                self._connection.sock.settimeout(None)
            while chunk := response.read1(1 << 16):
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise Transient(
                f"the stream from {self.credentials.server} was cut: {error}"
            ) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- one exchange ------------------------------------------------------------------------

    def _send(
        self, method: str, target: str, data: bytes | None, content_type: str, accept: str = JSON
    ) -> http.client.HTTPResponse:
        headers = {"Accept": accept, "User-Agent": "kubectl-huiju"} | self._identity()
        if data is not None:
            headers["Content-Type"] = content_type
        fresh = self._connection is None
        connection = self._connection = self._connection or self._open()
        try:
            connection.request(method, self._url.path.rstrip("/") + target, data, headers)
            return connection.getresponse()
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise Untrusted(f"{self._where()}: {error.verify_message}") from error
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError) as error:
            self.close()
            if fresh or method != "GET":
                raise Transient(f"{self._where()} closed the connection: {error}") from error
            # The server had closed an idle connection, and a read may be sent twice.
            return self._send(method, target, data, content_type, accept)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Transient(f"{self._where()} does not answer: {_words(error)}") from error

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        try:
            return response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Transient(f"{self._where()}: answer cut short: {_words(error)}") from error

    def _open(self) -> http.client.HTTPConnection:
        host = self._url.hostname or ""
        context = self.credentials.ssl_context()
        if context is None:
            return http.client.HTTPConnection(host, self._url.port, timeout=self.timeout)
        name = self.credentials.tls_server_name or host
        return _Secure(host, self._url.port, name, context, self.timeout)

    def _identity(self) -> dict[str, str]:
        known = self.credentials
        if known.token is not None:
            return {"Authorization": f"Bearer {known.token}"}
        if known.username is not None:
            pair = f"{known.username}:{known.password or ''}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}

    def _renew(self, credentials: Credentials) -> None:
        self.close()
        self.credentials = credentials

    def _where(self) -> str:
        return f"the API server {self.credentials.server}"


class _Secure(http.client.HTTPSConnection):
    """HTTPS to one address, verified against a name that may differ from it."""

    def __init__(
        self, host: str, port: int | None, name: str, context: ssl.SSLContext, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout, context=context)
        self._name = name
        self._tls = context

    def connect(self) -> None:
        """Connect, and verify the certificate against the wanted name."""
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._name)


def _target(path: str, query: Query | None) -> str:
    kept = {key: value for key, value in (query or {}).items() if value}
    return f"{path}?{urlencode(kept)}" if kept else path


def _decode(body: bytes) -> Fields:
    try:
        decoded: Fields = msgspec.json.decode(body, type=dict)
    except msgspec.MsgspecError as error:
        raise Unreadable(f"the answer is not JSON, perhaps a proxy's: {error}") from error
    return decoded


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
