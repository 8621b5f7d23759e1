"""A kubeconfig from a Secret is data only: whatever else it holds is refused with a reason."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.kube.errors import KubeconfigRefused
from huiju.kube.kubeconfig import from_kubeconfig, from_secret_bytes

CLUSTER = {"server": "https://center.example:6443"}
USER = {"token": "t0ken-of-the-account"}


def kubeconfig(cluster: dict[str, Any], user: dict[str, Any]) -> bytes:
    made = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    }
    return yaml.safe_dump(made).encode()


def test_data_alone_is_taken() -> None:
    taken = from_secret_bytes(kubeconfig(CLUSTER, USER))
    assert (taken.server, taken.token) == (CLUSTER["server"], USER["token"])


@pytest.mark.parametrize(
    ("cluster", "user", "reason", "words"),
    [
        (
            {},
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "aws"}},
            "ExecNotAllowed",
            "user.exec",
        ),
        ({}, {"auth-provider": {"name": "oidc"}}, "AuthProviderNotAllowed", "use a token"),
        ({}, {"as": "admin"}, "ImpersonationNotAllowed", "user.as"),
        ({}, {"tokenFile": "/etc/passwd"}, "FilePathNotAllowed", "user.tokenFile"),
        ({}, {"client-key": "/k"}, "FilePathNotAllowed", "user.client-key"),
        ({}, {"client-certificate": "/c"}, "FilePathNotAllowed", "--flatten"),
        ({"certificate-authority": "/ca"}, {}, "FilePathNotAllowed", "certificate-authority"),
        ({"insecure-skip-tls-verify": True}, {}, "InsecureNotAllowed", "insecure-skip-tls-verify"),
        ({"proxy-url": "http://p"}, {}, "ProxyNotAllowed", "proxy-url"),
        ({"server": "http://center.example"}, {}, "PlainHttpNotAllowed", "https"),
        ({"server": "http://127.0.0.1:8080"}, {}, "PlainHttpNotAllowed", "https"),
        ({"server": "ftp://x"}, {}, "BadServer", "https://HOST"),
        ({}, {"token": None}, "NoCredential", "kubectl huiju join"),
    ],
)
def test_anything_else_is_refused_with_the_cure(
    cluster: dict[str, Any], user: dict[str, Any], reason: str, words: str
) -> None:
    with pytest.raises(KubeconfigRefused) as refusal:
        from_secret_bytes(kubeconfig(CLUSTER | cluster, USER | user))
    assert refusal.value.reason == reason
    assert words in refusal.value.message
    assert USER["token"] not in refusal.value.message


def test_an_auth_provider_is_refused_with_the_cure_where_the_image_cannot_ask_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    file = tmp_path / "kubeconfig"
    file.write_bytes(kubeconfig(CLUSTER, {"auth-provider": {"name": "oidc"}}))
    with pytest.raises(KubeconfigRefused, match="use exec or a token") as refusal:
        from_kubeconfig(file)
    assert refusal.value.reason == "AuthProviderUnavailable"
