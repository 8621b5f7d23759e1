"""Who is asking: the user that the API server's front proxy names in its headers.

Decides which certificates may speak for users. Invariants: headers count only together with a
client certificate of the front proxy's CA and an allowed name; nothing else identifies anybody.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from aiohttp import web

from huiju.kube.client import Client
from huiju.kube.resources import CONFIG_MAPS
from huiju.web.statuses import Refused

CONFIG: Final = ("kube-system", "extension-apiserver-authentication")


class FrontProxyMissing(Exception):
    """The API server was started without front proxy settings; the message says which."""


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the API server's front proxy proves itself and names the user."""

    ca_pem: str
    allowed_names: tuple[str, ...]
    """Common names of its certificates; empty allows every certificate of the CA."""
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]
    uid_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caller:
    """A user as the API server authenticated them."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


async def read_front_proxy(client: Client) -> FrontProxy:
    """The settings that every API server publishes; raises FrontProxyMissing, or a KubeError."""
    namespace, name = CONFIG
    config = await client.get(CONFIG_MAPS, name, namespace)
    return front_proxy(config.get("data") or {})


def front_proxy(data: Mapping[str, str]) -> FrontProxy:
    """Read the ConfigMap's data; raises FrontProxyMissing."""
    ca = data.get("requestheader-client-ca-file", "")
    users = _names(data, "requestheader-username-headers")
    if not ca or not users:
        raise FrontProxyMissing(
            "the API server names no front proxy: start it with --requestheader-client-ca-file,"
            " --requestheader-username-headers and --proxy-client-cert-file"
        )
    return FrontProxy(
        ca_pem=ca,
        allowed_names=_names(data, "requestheader-allowed-names"),
        user_headers=users,
        group_headers=_names(data, "requestheader-group-headers"),
        extra_prefixes=_names(data, "requestheader-extra-headers-prefix"),
        uid_headers=_names(data, "requestheader-uid-headers"),
    )


def _names(data: Mapping[str, str], key: str) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(data.get(key) or "[]", type=list[str]))
    except msgspec.MsgspecError as error:
        raise FrontProxyMissing(f"{key} is not a JSON list of names") from error


def caller_of(request: web.Request, proxy: FrontProxy) -> Caller:
    """Who asks; raises Refused(401) for everybody but the front proxy."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    check_certificate(certificate, proxy)
    headers = request.headers
    name = next((headers[h] for h in proxy.user_headers if headers.get(h)), "")
    if not name:
        raise Refused(401, "the front proxy named no user")
    groups = tuple(g for h in proxy.group_headers for g in headers.getall(h, []))
    uid = next((headers[h] for h in proxy.uid_headers if headers.get(h)), "")
    extra: dict[str, tuple[str, ...]] = {}
    for prefix in proxy.extra_prefixes:
        for header in dict.fromkeys(h.lower() for h in headers):
            if header.startswith(prefix.lower()):
                key = unquote(header[len(prefix) :])
                extra[key] = tuple(headers.getall(header))
    return Caller(name, groups, uid, tuple(sorted(extra.items())))


def check_certificate(certificate: Mapping[str, Any] | None, proxy: FrontProxy) -> None:
    """Refuse (401) whoever is not the front proxy; TLS has checked the signature already."""
    if not certificate:
        raise Refused(401, "ask through the API server: only its front proxy may speak for users")
    subject = certificate.get("subject") or ()
    names = [value for part in subject for key, value in part if key == "commonName"]
    if proxy.allowed_names and not set(names) & set(proxy.allowed_names):
        raise Refused(401, f"a certificate for {', '.join(names) or 'nobody'} may not name users")


def server_context(certificate: ssl.SSLContext, proxy: FrontProxy) -> ssl.SSLContext:
    """Let the context ask for client certificates and believe the front proxy's CA only.

    Optional, since discovery is read without one.
    """
    certificate.load_verify_locations(cadata=proxy.ca_pem)
    certificate.verify_mode = ssl.CERT_OPTIONAL
    certificate.verify_flags &= ~ssl.VERIFY_X509_STRICT  # private CAs often lack key identifiers
    return certificate
