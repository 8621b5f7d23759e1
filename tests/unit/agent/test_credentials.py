"""Tokens and kubeconfigs of the agent, as texts."""

from __future__ import annotations

import base64
import json

import pytest

from huiju.agent.credentials import kubeconfig_of, life_of
from huiju.kube.credentials import Credentials
from huiju.kube.kubeconfig import from_secret_bytes


def token(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


def test_the_life_of_a_token_is_read_by_its_issuers_clock() -> None:
    assert life_of(token(iat=1_000, exp=4_600)) == 3_600


@pytest.mark.parametrize(
    "given", ["", "opaque", "a.b.c", "a.####.c", token(exp=5), token(iat="x", exp=3)]
)
def test_what_does_not_say_its_life_has_none(given: str) -> None:
    assert life_of(given) is None


def test_a_stored_credential_is_read_back_as_data() -> None:
    given = Credentials("https://hub:6443", ca_pem=b"pem", token="t", tls_server_name="hub.local")
    found = from_secret_bytes(kubeconfig_of(given).encode())
    assert (found.server, found.ca_pem, found.token, found.tls_server_name) == (
        "https://hub:6443",
        b"pem",
        "t",
        "hub.local",
    )
