from __future__ import annotations

from typing import Any

import pytest

from huiju.web.access import Deed, review
from huiju.web.callers import Caller, FrontProxyMissing, check_certificate, front_proxy
from huiju.web.statuses import Refused

DATA = {
    "requestheader-client-ca-file": "pem",
    "requestheader-allowed-names": '["front-proxy-client"]',
    "requestheader-username-headers": '["X-Remote-User"]',
    "requestheader-group-headers": '["X-Remote-Group"]',
    "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]',
}


def certificate(*names: str) -> dict[str, Any]:
    return {"subject": tuple((("commonName", name),) for name in names)}


def test_settings_of_a_usual_api_server() -> None:
    proxy = front_proxy(DATA)
    assert proxy.allowed_names == ("front-proxy-client",)
    assert proxy.user_headers == ("X-Remote-User",)
    assert proxy.uid_headers == ()


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"client-ca-file": "pem"},
        DATA | {"requestheader-client-ca-file": ""},
        DATA | {"requestheader-username-headers": "[]"},
        DATA | {"requestheader-username-headers": "X-Remote-User"},
        DATA | {"requestheader-allowed-names": '"all"'},
    ],
)
def test_an_api_server_without_a_front_proxy(data: dict[str, str]) -> None:
    with pytest.raises(FrontProxyMissing):
        front_proxy(data)


def test_only_allowed_names_speak_for_users() -> None:
    proxy = front_proxy(DATA)
    check_certificate(certificate("front-proxy-client"), proxy)
    for other in (None, {}, certificate(), certificate("somebody"), certificate("front-proxy")):
        with pytest.raises(Refused) as refused:
            check_certificate(other, proxy)
        assert refused.value.code == 401


def test_no_names_allow_every_certificate_of_the_authority() -> None:
    proxy = front_proxy(DATA | {"requestheader-allowed-names": "[]"})
    check_certificate(certificate("anybody"), proxy)
    with pytest.raises(Refused):
        check_certificate(None, proxy)


def test_the_review_says_everything_of_the_caller() -> None:
    caller = Caller("ann", ("team-a",), "u1", (("scopes", ("a", "b")),))
    spec = review(caller, Deed("get", "team-a", "crossregionjobs", "why", "j"))["spec"]
    assert spec["user"] == "ann"
    assert spec["groups"] == ["team-a"]
    assert spec["extra"] == {"scopes": ["a", "b"]}
    assert spec["resourceAttributes"] == {
        "verb": "get",
        "group": "view.huiju.dev",
        "version": "v1alpha1",
        "namespace": "team-a",
        "resource": "crossregionjobs",
        "subresource": "why",
        "name": "j",
    }
    created = review(caller, Deed("create", "team-a", "whatif"))["spec"]["resourceAttributes"]
    assert not {"name", "subresource"} & set(created)
