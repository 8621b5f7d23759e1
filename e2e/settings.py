"""What a run may be told by its environment; docs/testing.md says when to.

Decides defaults that suit a machine which reaches public registries. Invariant: a run uses what is
said here and nothing of the user's own: no kubeconfig, no context, no Helm repository.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from huiju import __version__

ROOT: Final = Path(__file__).resolve().parents[1]
ARTIFACTS: Final = ROOT / "out" / "e2e"


@dataclass(frozen=True, slots=True)
class Edition:
    """One version of Huiju: the charts, and the image that goes with them."""

    charts: Path
    image: str
    """The engine must have it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One run's."""

    prefix: str
    """Begins the names of the clusters; another run beside this one takes another."""
    node_image: str
    """Node image for kind; empty is kind's own."""
    edition: Edition
    """What is tested."""
    previous: Edition | None
    """The version before it, which an upgrade starts from; None: `make e2e` gave none."""
    base: str
    """Image with Python 3.11 that the workers' image is built from."""
    plugin_image: str
    """Image of a device plugin with the arguments of `image/plugin.py`; empty is that one."""
    wheels: Path
    """Folder with what the workers' image needs, as `make e2e` collects it."""
    keep: bool
    """Leave the clusters, and use them again in the next run."""


def from_environment() -> Settings:
    """The settings of this run."""
    say = os.environ.get
    return Settings(
        prefix=say("E2E_PREFIX") or "huiju-e2e",
        node_image=say("E2E_NODE_IMAGE") or "",
        edition=Edition(ROOT / "helm", say("E2E_IMAGE") or f"huiju/huiju:{__version__}"),
        previous=_previous(say("E2E_PREVIOUS") or ""),
        base=say("E2E_BASE") or "docker.io/library/python:3.11-slim-bookworm",
        plugin_image=say("E2E_DEVICE_PLUGIN_IMAGE") or "",
        wheels=Path(say("E2E_WHEELS") or ROOT / "dist" / "e2e"),
        keep=say("E2E_KEEP", "") not in ("", "0"),
    )


def _previous(folder: str) -> Edition | None:
    """The edition whose tree lies in a folder; its image is named as `make image` names it."""
    if not folder:
        return None
    tree = Path(folder)
    project = tomllib.loads((tree / "pyproject.toml").read_text())
    return Edition(tree / "helm", f"huiju/huiju:{project['project']['version']}")
