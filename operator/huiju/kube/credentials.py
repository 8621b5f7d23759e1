"""What it takes to call one API server, and the TLS context made of it.

Invariant: certificates are always verified, and secrets show in no repr.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from huiju.kube.errors import KubeconfigRefused


@dataclass(frozen=True, slots=True)
class Credentials:
    """Address, trust and identity for one API server.

    `refresh_seconds`: read them again with `reload` after so long (tokens in files, exec plugins).
    `reload` may block; the client calls it in a thread, also after a 401.
    """

    server: str
    ca_pem: bytes | None = field(default=None, repr=False)
    """Certificates to trust; None means those of the system."""
    token: str | None = field(default=None, repr=False)
    client_cert_pem: bytes | None = field(default=None, repr=False)
    client_key_pem: bytes | None = field(default=None, repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    namespace: str = "default"
    context: str = ""
    """Name of the kubeconfig context, for messages only."""
    refresh_seconds: float | None = None
    reload: Callable[[], Credentials] | None = field(default=None, repr=False, compare=False)

    def same_link(self, other: Credentials) -> bool:
        """Whether connections opened with these serve the other too (only the token differs)."""
        return (
            self.server == other.server
            and self.ca_pem == other.ca_pem
            and self.client_cert_pem == other.client_cert_pem
            and self.client_key_pem == other.client_key_pem
            and self.tls_server_name == other.tls_server_name
        )

    def ssl_context(self) -> ssl.SSLContext | None:
        """Make the verifying TLS context; None for a plain http server (loopback only).

        Raises KubeconfigRefused where the CA, certificate or key cannot be read.
        """
        if self.server.startswith("http://"):
            return None
        try:
            context = ssl.create_default_context(
                cadata=self.ca_pem.decode("ascii") if self.ca_pem is not None else None
            )
        except (ssl.SSLError, UnicodeDecodeError) as error:
            raise KubeconfigRefused(
                "BadCertificateAuthority",
                f"certificate-authority-data is not a PEM certificate ({error});"
                " put the base64 of the cluster's CA certificate there",
            ) from error
        # Cluster CAs often lack key identifiers, which Python 3.13 demands by default. That is a
        # rule of form; signature, dates and host name are verified as before.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        if self.client_cert_pem is not None:
            self._load_identity(context, self.client_cert_pem)
        return context

    def _load_identity(self, context: ssl.SSLContext, certificate: bytes) -> None:
        """Give the context our client certificate; a key that does not fit it is refused."""
        try:
            with as_file(certificate + b"\n" + (self.client_key_pem or b"")) as path:
                # Without a password callback an encrypted key would ask at the terminal.
                context.load_cert_chain(path, password=lambda: "")
        except (ssl.SSLError, ValueError) as error:
            raise KubeconfigRefused(
                "BadClientCertificate",
                "client-certificate-data and client-key-data are not a PEM certificate and its own"
                f" unencrypted key ({error}); take both from the same kubeconfig",
            ) from error


@contextmanager
def as_file(data: bytes) -> Iterator[str]:
    """Path of a file with this content; in memory on Linux, so that a key never meets a disk."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("huiju", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as memory:
            memory.write(data)
            memory.flush()
            yield f"/proc/self/fd/{descriptor}"
        return
    with tempfile.NamedTemporaryFile() as file:  # created with mode 0600
        file.write(data)
        file.flush()
        yield file.name
