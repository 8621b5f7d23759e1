"""Signed manifests: the share's key and no other, and a manifest's digest and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from huiju.data import signature

DIGEST = "sha256:" + "a" * 64


def test_a_signature_holds_for_one_digest_and_one_key() -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    signed = signature.sign(key, DIGEST)
    signature.verify(signature.public_pem(key), DIGEST, signed)
    for public, digest, text in (
        (other, DIGEST, signed),
        (key, "sha256:" + "b" * 64, signed),
        (key, DIGEST, b"AAAA" + signed[4:]),
        (key, DIGEST, b""),
        (key, DIGEST, b"\xff"),
    ):
        with pytest.raises(signature.SignatureRefused):
            signature.verify(signature.public_pem(public), digest, text)


def test_other_keys_are_refused_with_the_cure(tmp_path: Path) -> None:
    wrong = generate_private_key(SECP256R1())
    file = tmp_path / "key.pem"
    file.write_bytes(wrong.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(signature.KeyRefused, match="openssl genpkey"):
        signature.load_private(file)
    with pytest.raises(signature.KeyRefused, match="No such file"):
        signature.load_private(tmp_path / "none")
    with pytest.raises(signature.KeyRefused, match="PEM"):
        signature.verify("no key", DIGEST, b"")
