"""Credentials of push centers, read from their Secrets on the hub.

Decides only whether a kubeconfig may be used; invariant: no part of a Secret reaches a log, an
event or a status.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from huiju.api.center import SecretRef
from huiju.api.reasons import Reason
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from huiju.kube.errors import Forbidden, KubeconfigRefused, NotFound
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import SECRETS


@dataclass(frozen=True)
class CredentialProblem(Exception):
    """The center's credential cannot be used; says why and what to do."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return self.message


async def read_kubeconfig(client: Client, ref: SecretRef) -> Credentials:
    """The credentials in the Secret that `ref` names.

    Raises:
        CredentialProblem: there is no such Secret or key, or its kubeconfig is refused.
    """
    where = f"Secret {ref.namespace}/{ref.name}"
    try:
        secret = await client.get(SECRETS, ref.name, ref.namespace)
    except NotFound:
        raise CredentialProblem(
            Reason.CREDENTIAL_INVALID,
            f"{where} does not exist; create it with key {ref.key!r}, or join the center again",
        ) from None
    except Forbidden:
        raise CredentialProblem(
            Reason.CREDENTIAL_INVALID,
            f"the hub may not read {where}; keep center Secrets in the hub's namespace",
        ) from None
    encoded = (secret.get("data") or {}).get(ref.key)
    if encoded is None:
        raise CredentialProblem(
            Reason.CREDENTIAL_INVALID, f"{where} has no key {ref.key!r}; put the kubeconfig there"
        )
    try:
        return from_secret_bytes(base64.b64decode(encoded, validate=True))
    except KubeconfigRefused as refusal:
        raise CredentialProblem(Reason.CREDENTIAL_REFUSED, f"{where}: {refusal.message}") from None
    except binascii.Error:
        raise CredentialProblem(
            Reason.CREDENTIAL_INVALID, f"{where}: key {ref.key!r} is not base64"
        ) from None
