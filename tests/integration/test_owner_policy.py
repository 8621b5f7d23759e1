"""`huiju policy` against a real cluster: what its owner reads before any job comes."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.centers.agentrole import POLICY
from huiju.kube.client import Client
from huiju.kube.resources import CONFIG_MAPS, NAMESPACES
from lab.cluster import Cluster
from lab.nodes import add_nodes
from tests.integration.hub.harness import job_body
from tests.integration.hub.pulling import say_policy
from tests.patience import PATIENCE

RESOURCE = "huawei.com/Ascend910"


@pytest.fixture
async def client(center: Cluster) -> AsyncIterator[Client]:
    async with await center.client() as made:
        yield made


@pytest.fixture
async def space(client: Client) -> AsyncIterator[str]:
    """A namespace in place of Huiju's own."""
    name = f"own-{uuid.uuid4().hex[:8]}"
    await client.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    await client.delete(NAMESPACES, name)


async def policy(center: Cluster, space: str, *words: str) -> tuple[int, list[str]]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju", "policy"),
        *(f"--center-kubeconfig={center.kubeconfig}", f"--namespace={space}", *words),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return process.returncode or 0, out.decode().splitlines()


def written(folder: Path, name: str, **spec: Any) -> str:
    """A file with one job."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(job_body("team-a", name, **spec)))
    return f"--filename={file}"


async def test_the_owner_reads_what_is_let_in_and_what_would_be_refused(
    center: Cluster, client: Client, space: str, tmp_path: Path
) -> None:
    code, lines = await policy(center, space)
    assert code == 1
    assert f"no ConfigMap {POLICY} in namespace {space}: nothing is let in" in lines[0]
    await add_nodes(client, "ascend-910b", 2)
    limits = {"maxUnits": f"{RESOURCE}=8", "imagePrefixes": "registry.example/"}
    await say_policy(client, space, **limits)
    one, two = written(tmp_path, "one"), written(tmp_path, "two", workers=2)
    code, lines = await policy(center, space, one)
    assert code == 0, lines
    assert any(f"8 of 16 {RESOURCE}, 0 held now" in line for line in lines)
    assert lines[-1] == "ok    alternative 1 (ascend-910b3): let in"
    code, lines = await policy(center, space, one, two)
    assert code == 1
    assert "job team-a/two" in lines
    assert lines[-1].startswith(f"FAIL  alternative 1 (ascend-910b3): 16 of {RESOURCE}, of which 8")
    # Another policy can be tried before it is written.
    draft = tmp_path / "draft.yaml"
    words = {"kind": CONFIG_MAPS.kind, "metadata": {"name": POLICY}, "data": {"kinds": "Service"}}
    draft.write_text(yaml.safe_dump(words))
    code, lines = await policy(center, space, f"--policy={draft}", one)
    assert code == 1
    assert "note  kinds: without Job no job at all is let in" in lines
    assert lines[-1].endswith("a Job (kinds)")
    await say_policy(client, space, imagePrefix="a misspelled key")
    code, lines = await policy(center, space)
    assert (code, "imagePrefix" in lines[0]) == (1, True)


async def test_what_is_no_job_and_what_does_not_answer_is_said_in_a_line(
    center: Cluster, client: Client, space: str, tmp_path: Path
) -> None:
    await say_policy(client, space)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump({"kind": "CrossRegionJob", "spec": {"queue": "q"}}))
    code, (line,) = await policy(center, space, f"--filename={wrong}")
    assert (code, "spec.accelerators" in line) == (1, True)
    code, (line,) = await policy(center, space, f"--filename={tmp_path}/none.yaml")
    assert (code, "No such file" in line) == (1, True)
