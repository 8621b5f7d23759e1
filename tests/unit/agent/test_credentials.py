"""Tokens and kubeconfigs of the agent, as texts."""

from __future__ import annotations

from huiju.agent.credentials import kubeconfig_of
from huiju.kube.credentials import Credentials
from huiju.kube.kubeconfig import from_secret_bytes


def test_a_stored_credential_is_read_back_as_data() -> None:
    given = Credentials("https://hub:6443", ca_pem=b"pem", token="t", tls_server_name="hub.local")
    found = from_secret_bytes(kubeconfig_of(given).encode())
    assert (found.server, found.ca_pem, found.token, found.tls_server_name) == (
        "https://hub:6443",
        b"pem",
        "t",
        "hub.local",
    )
