"""Where credentials come from: a kubeconfig as kubectl reads it, a Secret, or the pod itself.

Decides which fields are allowed where. Invariant: a kubeconfig from a Secret is data only; it can
start no program, read no file, skip no check and send nothing through a proxy.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from huiju.kube.credentials import Credentials
from huiju.kube.errors import KubeconfigRefused
from huiju.kube.execplugin import run_plugin
from huiju.kube.kubefile import Chosen, Cluster, choose, files_of, parse

__all__ = ["KubeconfigRefused", "from_kubeconfig", "from_secret_bytes", "in_cluster"]

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_SECONDS: Final = 60.0


def from_kubeconfig(path: Path | str | None = None, context: str | None = None) -> Credentials:
    """Read credentials the way kubectl does; may run the user's exec plugin.

    `path`, else the files in KUBECONFIG, else ~/.kube/config, else the pod's service account.
    Certificates are verified all the same: `insecure-skip-tls-verify` is refused.
    """
    files = files_of(path)
    if not files:
        if path is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
            return in_cluster()
        raise KubeconfigRefused(
            "NoKubeconfig",
            f"no kubeconfig found ({path or 'KUBECONFIG, ~/.kube/config'});"
            " name one with --kubeconfig or KUBECONFIG",
        )
    chosen = choose([(file, parse(file.read_bytes(), str(file))) for file in files], context)
    _check_cluster(chosen.cluster, chosen.name)
    credentials = _base(chosen)
    return _with_user(chosen, credentials)


def from_secret_bytes(data: bytes, context: str | None = None) -> Credentials:
    """Read a kubeconfig that another party wrote; raises KubeconfigRefused for anything but data.

    The context is `context`, else the current one.
    """
    chosen = choose([(Path("/nowhere/kubeconfig"), parse(data, "kubeconfig"))], context)
    _check_cluster(chosen.cluster, chosen.name)
    _check_data_only(chosen)
    user = chosen.user
    if user.token is None and user.client_certificate_data is None and user.username is None:
        raise KubeconfigRefused(
            "NoCredential",
            f"user {chosen.context.user!r} has no token and no client-certificate-data;"
            " use `kubectl huiju join`, which makes a kubeconfig with a token of its own",
        )
    return replace(
        _base(chosen),
        token=user.token.strip() if user.token else None,
        username=user.username,
        password=user.password,
        client_cert_pem=_decoded(user.client_certificate_data, "client-certificate-data"),
        client_key_pem=_decoded(user.client_key_data, "client-key-data"),
    )


def in_cluster(folder: Path = SERVICE_ACCOUNT) -> Credentials:
    """The pod's own service account; its token file is read again each minute."""
    host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token = (folder / "token").read_text().strip()
        ca = (folder / "ca.crt").read_bytes()
        namespace = (folder / "namespace").read_text().strip()
    except OSError as error:
        raise KubeconfigRefused(
            "NoServiceAccount",
            f"{error.filename} cannot be read ({error.strerror});"
            " set automountServiceAccountToken on the pod",
        ) from error
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ca_pem=ca,
        token=token,
        namespace=namespace or "default",
        context="in-cluster",
        refresh_seconds=_TOKEN_SECONDS,
        reload=lambda: in_cluster(folder),
    )


# --- what is refused --------------------------------------------------------------------------


def _check_cluster(cluster: Cluster, context: str) -> None:
    """Refuse what would make a connection unverified, wherever the kubeconfig comes from."""
    if cluster.insecure_skip_tls_verify:
        raise KubeconfigRefused(
            "InsecureNotAllowed",
            "insecure-skip-tls-verify is set; remove it and put the cluster's CA into"
            " certificate-authority-data",
        )
    if cluster.proxy_url:
        raise KubeconfigRefused(
            "ProxyNotAllowed", "proxy-url is set; remove it and give an address reached directly"
        )
    if not _is_address(cluster.server):
        plain = cluster.server.startswith("http://")
        raise KubeconfigRefused(
            "PlainHttpNotAllowed" if plain else "BadServer",
            f"cluster.server of context {context!r} must be https://HOST[:PORT][/PATH];"
            " give the API server's https address",
        )


def _is_address(server: str) -> bool:
    """Whether this is the address of an API server: https, or http on this very machine."""
    try:
        url = urlsplit(server)
        if url.port == 0 or not url.hostname:
            return False
    except ValueError:
        return False
    if url.username or url.password or url.query or url.fragment:
        return False
    return url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname))


def _check_data_only(chosen: Chosen) -> None:
    """Refuse every field that would make the hub do or read anything but the given data."""
    cluster, user = chosen.cluster, chosen.user
    if user.exec is not None:
        raise KubeconfigRefused(
            "ExecNotAllowed",
            "user.exec would run a program on the hub; put a token or client-certificate-data"
            " there instead (`kubectl huiju join` makes one)",
        )
    if user.auth_provider is not None:
        raise KubeconfigRefused(
            "AuthProviderNotAllowed", "user.auth-provider is set; use a token instead"
        )
    if user.impersonate is not None:
        raise KubeconfigRefused(
            "ImpersonationNotAllowed", "user.as is set; use an account of its own instead"
        )
    paths = {
        "cluster.certificate-authority": cluster.certificate_authority,
        "user.client-certificate": user.client_certificate,
        "user.client-key": user.client_key,
        "user.tokenFile": user.token_file,
    }
    for name, value in paths.items():
        if value:
            raise KubeconfigRefused(
                "FilePathNotAllowed",
                f"{name} names a file, which the hub does not have; put the content in"
                " (`kubectl config view --raw --flatten --minify` does it)",
            )
    if cluster.server.startswith("http://"):
        raise KubeconfigRefused(
            "PlainHttpNotAllowed", "cluster.server is plain http; give its https address"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# --- building ---------------------------------------------------------------------------------


def _base(chosen: Chosen) -> Credentials:
    """Address and trust, no identity yet."""
    cluster = chosen.cluster
    ca = _decoded(cluster.certificate_authority_data, "certificate-authority-data")
    if ca is None and cluster.certificate_authority:
        ca = _content(chosen.cluster_folder, cluster.certificate_authority, "certificate-authority")
    return Credentials(
        server=cluster.server.rstrip("/"),
        ca_pem=ca,
        tls_server_name=cluster.tls_server_name or None,
        namespace=chosen.context.namespace or "default",
        context=chosen.name,
    )


def _with_user(chosen: Chosen, base: Credentials) -> Credentials:
    """Add the identity, from files and programs too: only for the caller's own kubeconfig."""
    user, folder = chosen.user, chosen.user_folder
    if user.impersonate:
        raise KubeconfigRefused("ImpersonationNotAllowed", "user.as is set; remove it")

    def again() -> Credentials:
        return _with_user(chosen, base)

    certificate = _decoded(user.client_certificate_data, "client-certificate-data")
    key = _decoded(user.client_key_data, "client-key-data")
    if certificate is None and user.client_certificate:
        certificate = _content(folder, user.client_certificate, "client-certificate")
    if key is None and user.client_key:
        key = _content(folder, user.client_key, "client-key")
    found = replace(base, client_cert_pem=certificate, client_key_pem=key)
    if user.token_file:
        token = _content(folder, user.token_file, "tokenFile").decode().strip()
        return replace(found, token=token, refresh_seconds=_TOKEN_SECONDS, reload=again)
    if user.token:
        return replace(found, token=user.token)
    if user.username:
        return replace(found, username=user.username, password=user.password)
    if user.exec is not None:
        cluster = {"server": base.server, "tls-server-name": base.tls_server_name}
        if base.ca_pem is not None:
            cluster["certificate-authority-data"] = base64.b64encode(base.ca_pem).decode()
        given = run_plugin(user.exec, folder, cluster)
        return replace(
            found,
            token=given.token,
            client_cert_pem=given.certificate or certificate,
            client_key_pem=given.key or key,
            refresh_seconds=given.seconds_left(time.time()),
            reload=again,
        )
    if user.auth_provider is not None:
        token = _provider_token(chosen)
        return replace(found, token=token, refresh_seconds=_TOKEN_SECONDS, reload=again)
    return found


def _provider_token(chosen: Chosen) -> str:
    """Ask the official client for the token of a legacy auth provider (oidc and the like)."""
    try:
        from kubernetes import client, config  # slow to import, rarely needed
    except ImportError as error:
        raise KubeconfigRefused(
            "AuthProviderUnavailable",
            "user.auth-provider needs the Python package kubernetes, which Huiju's image leaves"
            " out: use exec or a token, or run an installed `kubectl huiju`",
        ) from error
    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            os.pathsep.join(map(str, chosen.files)),
            context=chosen.name,
            client_configuration=settings,
            persist_config=False,
        )
    except config.ConfigException as error:
        raise KubeconfigRefused("AuthProviderFailed", str(error)) from error
    token = settings.get_api_key_with_prefix("authorization") or settings.get_api_key_with_prefix(
        "BearerToken"
    )
    if not token:
        raise KubeconfigRefused(
            "AuthProviderFailed", "user.auth-provider gave no token; log in again, or use exec"
        )
    return str(token).removeprefix("Bearer ").strip()


def _decoded(value: str | None, field: str) -> bytes | None:
    if not value:
        return None
    try:
        return base64.b64decode(value, validate=False)
    except (binascii.Error, ValueError) as error:
        raise KubeconfigRefused(
            "NotBase64", f"{field} is not base64; encode the PEM text with base64 -w0"
        ) from error


def _content(folder: Path, name: str, field: str) -> bytes:
    """Content of a file that a kubeconfig names, relative to the kubeconfig's folder."""
    path = folder / Path(name).expanduser()
    try:
        return path.read_bytes()
    except OSError as error:
        raise KubeconfigRefused(
            "FileNotReadable", f"{field}: {path} cannot be read ({error.strerror})"
        ) from error
