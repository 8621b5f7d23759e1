"""The view API's serving certificate: made by the hub itself, kept in a Secret, renewed in time.

Decides names and lifetimes. Invariants: the authority's key is dropped as soon as it has signed,
so that nothing else can ever be signed with it; all replicas of a hub serve the same certificate.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from huiju.kube.client import Client
from huiju.kube.credentials import as_file
from huiju.kube.errors import AlreadyExists, Conflict, NotFound
from huiju.kube.resources import SECRETS

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

LIFETIME: Final = timedelta(days=365)
RENEW_BEFORE: Final = timedelta(days=90)
_SKEW: Final = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Serving:
    """A certificate with its key, and the authority that API servers are to trust."""

    ca_pem: bytes
    cert_pem: bytes
    key_pem: bytes = field(repr=False)

    def context(self) -> ssl.SSLContext:
        """A TLS context that serves the certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with as_file(self.cert_pem + b"\n" + self.key_pem) as path:
            context.load_cert_chain(path)
        return context

    def serves(self, names: Sequence[str], now: datetime) -> bool:
        """Whether the certificate is for these names and not soon at its end."""
        from cryptography import x509

        try:
            certificate = x509.load_pem_x509_certificate(self.cert_pem)
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except (ValueError, x509.ExtensionNotFound):
            return False
        known = found.value.get_values_for_type(x509.DNSName)
        return set(names) <= set(known) and certificate.not_valid_after_utc - now > RENEW_BEFORE


def issue(names: Sequence[str], now: datetime) -> Serving:
    """A new authority and a certificate of it for these DNS names."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = _named(f"huiju-view-ca-{now:%Y%m%d%H%M%S}")
    authority = (
        _builder(issuer, issuer, authority_key, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(_named(names[0][:64]), issuer, key, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    return Serving(
        ca_pem=authority.public_bytes(pem),
        cert_pem=certificate.public_bytes(pem),
        key_pem=key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _named(common_name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    issuer_key: EllipticCurvePrivateKey,
    now: datetime,
) -> x509.CertificateBuilder:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


async def load_or_issue(
    client: Client, namespace: str, secret: str, names: Sequence[str]
) -> Serving:
    """The certificate in the Secret, or a new one stored there; raises a KubeError."""
    now = datetime.now(UTC)
    try:
        found = await client.get(SECRETS, secret, namespace)
    except NotFound:
        found = None
    known = _of_secret(found) if found is not None else None
    if known is not None and known.serves(names, now):
        return known
    made = issue(names, now)
    body = _secret(made, known, secret, namespace)
    try:
        if found is None:
            return _of_secret(await client.create(SECRETS, body, namespace)) or made
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        return _of_secret(await client.replace(SECRETS, secret, body, namespace)) or made
    except (AlreadyExists, Conflict):
        # Another replica was faster: its certificate is as good.
        theirs = _of_secret(await client.get(SECRETS, secret, namespace))
        return theirs or made


def _secret(made: Serving, before: Serving | None, name: str, namespace: str) -> dict[str, Any]:
    """The Secret to store; the authority before stays trusted until API servers know the new."""
    ca = made.ca_pem
    if before is not None:
        ca += before.ca_pem.split(_END, 1)[0] + _END
    data = {"ca.crt": ca, "tls.crt": made.cert_pem, "tls.key": made.key_pem}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "huiju"},
        },
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


_END: Final = b"-----END CERTIFICATE-----\n"


def _of_secret(secret: dict[str, Any]) -> Serving | None:
    data = secret.get("data") or {}
    try:
        ca, cert, key = (
            base64.b64decode(data[k], validate=True) for k in ("ca.crt", "tls.crt", "tls.key")
        )
    except (KeyError, ValueError):
        return None
    return Serving(ca, cert, key) if cert else None
