from __future__ import annotations

import ssl
from datetime import UTC, datetime

import pytest

from huiju.web.server import ViewSettings, api_service
from huiju.web.serving import LIFETIME, RENEW_BEFORE, Serving, issue

NAMES = ("huiju-view.huiju-system.svc", "huiju-view.huiju-system.svc.cluster.local")


@pytest.fixture(scope="module")
def serving() -> Serving:
    return issue(NAMES, datetime.now(UTC))


def shake_hands(serving: Serving, name: str) -> None:
    """A TLS handshake in memory; raises what the client finds wrong."""
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    trusting = ssl.create_default_context(cadata=serving.ca_pem.decode())
    client = trusting.wrap_bio(client_in, client_out, server_hostname=name)
    server = serving.context().wrap_bio(server_in, server_out, server_side=True)
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            finally:
                server_in.write(client_out.read())
                client_in.write(server_out.read())
    assert client.getpeercert()


def test_api_servers_trust_it_for_its_names(serving: Serving) -> None:
    for name in NAMES:
        shake_hands(serving, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(serving, "other.huiju-system.svc")


def test_nobody_else_is_trusted(serving: Serving) -> None:
    other = issue(NAMES, datetime.now(UTC))
    mixed = Serving(other.ca_pem, serving.cert_pem, serving.key_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(mixed, NAMES[0])


def test_it_is_renewed_in_time(serving: Serving) -> None:
    now = datetime.now(UTC)
    assert serving.serves(NAMES, now)
    assert not serving.serves((*NAMES, "more"), now)
    assert not serving.serves(NAMES, now + LIFETIME - RENEW_BEFORE)
    assert not Serving(b"", b"no certificate", b"").serves(NAMES, now)
    assert "PRIVATE" not in repr(serving)


def test_where_the_api_server_looks_for_it() -> None:
    near = api_service(ViewSettings(bind="127.0.0.1", port=9443), b"ca")["spec"]
    assert near["service"]["port"] == 9443
    far = api_service(ViewSettings(bind="0.0.0.0", port=9443), b"ca")["spec"]
    assert far["service"]["port"] == 443
    assert far["caBundle"] == "Y2E="
    assert not ViewSettings(bind="::").local
    assert ViewSettings(bind="::1").local
