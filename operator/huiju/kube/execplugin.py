"""Exec credential plugins (client.authentication.k8s.io), for the user's own kubeconfig only.

Decides how the program is run and its answer read. Invariant: what it prints never reaches a
message or a log.
"""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from huiju.kube.errors import KubeconfigRefused

_DEADLINE: Final = 60.0
_MARGIN: Final = 10.0


class EnvVar(msgspec.Struct):
    """One variable added to the program's environment."""

    name: str
    value: str = ""


class ExecSpec(msgspec.Struct, rename="camel"):
    """The `exec` part of a kubeconfig user."""

    command: str
    api_version: str = "client.authentication.k8s.io/v1"
    args: list[str] | None = None
    env: list[EnvVar] | None = None
    provide_cluster_info: bool = False
    interactive_mode: str | None = None
    install_hint: str | None = None


class _Status(msgspec.Struct, rename="camel"):
    token: str | None = None
    client_certificate_data: str | None = None
    client_key_data: str | None = None
    expiration_timestamp: datetime | None = None


class _Answer(msgspec.Struct, rename="camel"):
    status: _Status
    api_version: str = ""


class ExecCredential(msgspec.Struct, frozen=True):
    """What a plugin gave; its repr is never logged, since nobody keeps the object."""

    token: str | None
    certificate: bytes | None
    key: bytes | None
    expires: float | None
    """Seconds since the epoch."""

    def seconds_left(self, now: float) -> float | None:
        """Seconds for which it may be used, a margin kept back; None means no end."""
        return None if self.expires is None else max(1.0, self.expires - now - _MARGIN)

    def __repr__(self) -> str:
        return "ExecCredential(...)"


def run_plugin(spec: ExecSpec, folder: Path, cluster: dict[str, Any]) -> ExecCredential:
    """Run the program and read the credential it prints; raises KubeconfigRefused.

    `folder`: where the kubeconfig lies; a command that is a relative path starts there.
    """
    interactive = spec.interactive_mode != "Never" and sys.stdin is not None and sys.stdin.isatty()
    wishes: dict[str, Any] = {"interactive": interactive}
    if spec.provide_cluster_info:
        wishes["cluster"] = {key: value for key, value in cluster.items() if value}
    info = {"apiVersion": spec.api_version, "kind": "ExecCredential", "spec": wishes}
    environment = os.environ | {item.name: item.value for item in spec.env or []}
    environment["KUBERNETES_EXEC_INFO"] = msgspec.json.encode(info).decode()
    command = spec.command
    if os.sep in command and not os.path.isabs(command):
        command = str((folder / command).resolve())
    try:
        done = subprocess.run(  # noqa: S603  the user's own kubeconfig names it
            [command, *(spec.args or [])],
            stdin=None if interactive else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=environment,
            timeout=_DEADLINE,
            check=False,
        )
    except FileNotFoundError as error:
        hint = f"; {spec.install_hint.strip()}" if spec.install_hint else ""
        raise KubeconfigRefused("ExecFailed", f"user.exec: no program {command!r}{hint}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KubeconfigRefused(
            "ExecFailed", f"user.exec: {command!r} did not run ({type(error).__name__})"
        ) from None
    if done.returncode != 0:
        raise KubeconfigRefused("ExecFailed", f"user.exec: {command!r} exited {done.returncode}")
    return _read(done.stdout, command)


def _read(output: bytes, command: str) -> ExecCredential:
    try:
        status = msgspec.json.decode(output, type=_Answer).status
    except msgspec.MsgspecError:
        raise KubeconfigRefused(
            "ExecFailed", f"user.exec: {command!r} printed no ExecCredential"
        ) from None
    if status.token is None and status.client_certificate_data is None:
        raise KubeconfigRefused(
            "ExecFailed", f"user.exec: {command!r} gave neither a token nor a certificate"
        )
    expires = status.expiration_timestamp
    return ExecCredential(
        token=status.token,
        certificate=(status.client_certificate_data or "").encode() or None,
        key=(status.client_key_data or "").encode() or None,
        expires=expires.timestamp() if expires is not None else None,
    )
