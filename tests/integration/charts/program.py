"""Helm as a program of these tests; nothing of the user's own is touched."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lab.programs import find_programs
from tests.patience import PATIENCE

ROOT: Final = Path(__file__).resolve().parents[3]
CHARTS: Final = ROOT / "helm"
PROFILES: Final = {
    "hub-dev": "huiju",
    "hub-ha": "huiju",
    "center-push": "huiju-center",
    "center-pull": "huiju-center",
}
"""Profile and the chart that it is for."""
SYSTEM: Final = "huiju-system"


class HelmFailed(AssertionError):
    """Helm ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Helm:
    """Runs Helm with folders of its own."""

    home: Path

    async def __call__(self, *words: str, kubeconfig: Path | None = None) -> str:
        process = await asyncio.create_subprocess_exec(
            os.environ.get("HUIJU_HELM") or find_programs().path("helm"),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ
            | {f"HELM_{kind}_HOME": str(self.home / kind) for kind in ("CACHE", "CONFIG", "DATA")}
            | {"KUBECONFIG": str(kubeconfig or self.home / "none")},
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        if process.returncode != 0:
            raise HelmFailed(err.decode() or out.decode())
        return out.decode()

    async def render(self, profile: str, *words: str) -> str:
        chart = PROFILES[profile]
        values = CHARTS / "profiles" / f"{profile}.yaml"
        return await self(
            *("template", chart, str(CHARTS / chart), "-n", SYSTEM, "-f", str(values)), *words
        )


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of a rendered chart."""
    return [document for document in yaml.safe_load_all(text) if document]
