"""How long credentials say that they are good for."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from huiju.kube.credentials import Credentials
from huiju.kube.life import Life, life_of, life_of_certificate, life_of_token
from huiju.web.serving import LIFETIME, issue

SERVER = "https://center:6443"


def token(**claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"head.{body}.signature"


def test_the_life_of_a_token_is_read_by_its_issuers_clock() -> None:
    assert life_of_token(token(iat=1_000, exp=4_600)) == Life(1_000, 4_600)
    assert Life(1_000, 4_600).seconds == 3_600


def test_a_token_that_ends_before_it_begins_has_some_life() -> None:
    life = life_of_token(token(iat=10, exp=3))
    assert life is not None
    assert life.seconds == 1


@pytest.mark.parametrize(
    "given", ["", "opaque", "a.b.c", "a.####.c", token(exp=5), token(iat="x", exp=3)]
)
def test_what_does_not_say_its_life_has_none(given: str) -> None:
    assert life_of_token(given) is None
    assert life_of(Credentials(SERVER, token=given)) is None


def test_the_life_of_a_certificate_is_its_own() -> None:
    now = datetime(2027, 1, 2, tzinfo=UTC)
    pem = issue(["view"], now).cert_pem
    life = life_of_certificate(pem)
    assert life is not None
    assert life.ends == (now + LIFETIME).timestamp()
    assert life.begins < now.timestamp()
    assert life_of_certificate(b"-----BEGIN CERTIFICATE-----") is None


def test_the_earlier_end_counts() -> None:
    now = datetime(2027, 1, 2, tzinfo=UTC)
    pem = issue(["view"], now).cert_pem
    short = token(iat=now.timestamp(), exp=now.timestamp() + 60)
    both = Credentials(SERVER, token=short, client_cert_pem=pem)
    assert life_of(both) == Life(now.timestamp(), now.timestamp() + 60)
    assert life_of(Credentials(SERVER, client_cert_pem=pem)) == life_of_certificate(pem)
    assert life_of(Credentials(SERVER, username="u", password="p")) is None
