"""The definitions on a real API server: taken, explained, defaulted, and refusing in our words.

The same objects go to the models, so that the two never drift apart.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from huiju.api.crd import KINDS, definition, root_schema
from huiju.api.meta import GROUP, VERSION, KubeObject
from huiju.api.structural import walk
from huiju.kube.client import Client
from huiju.kube.errors import AlreadyExists, ApiStatus
from huiju.kube.resources import (
    CENTER_COPIES,
    CENTER_INVENTORIES,
    CENTER_SERVINGS,
    CENTER_WORKS,
    COMPUTE_CENTERS,
    COMPUTE_QUEUES,
    CONFIG_MAPS,
    CRDS,
    CROSS_REGION_JOBS,
    DATASET_GRANTS,
    DATASET_REPLICAS,
    DATASET_SHARES,
    MODEL_SHARES,
    NAMESPACES,
    SECRETS,
    Resource,
)
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn, in_thread, install_crds
from tests.manifests import Case, Manifest, base, changed, changes, refused
from tests.property.api_objects import objects_of, spoiled

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RESOURCES = {
    "ComputeCenter": COMPUTE_CENTERS,
    "ComputeQueue": COMPUTE_QUEUES,
    "CrossRegionJob": CROSS_REGION_JOBS,
    "DatasetShare": DATASET_SHARES,
    "DatasetGrant": DATASET_GRANTS,
    "DatasetReplica": DATASET_REPLICAS,
    "ModelShare": MODEL_SHARES,
    "CenterWork": CENTER_WORKS,
    "CenterInventory": CENTER_INVENTORIES,
    "CenterCopy": CENTER_COPIES,
    "CenterServing": CENTER_SERVINGS,
    "Secret": SECRETS,
    "ConfigMap": CONFIG_MAPS,
}
BATCH = 12
PATIENT = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,
    ],
)

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.info.kind)


@pytest.fixture(scope="module")
def server(bare_lab: Cluster) -> Cluster:
    in_thread(install_crds(bare_lab))
    return bare_lab


def resource_of(manifest: Manifest) -> Resource:
    return RESOURCES[manifest["kind"]]


def space_of(manifest: Manifest, space: str = "default") -> str | None:
    own = manifest["metadata"].get("namespace", space)
    return own if resource_of(manifest).namespaced else None


async def tried(client: Client, manifest: Manifest) -> Manifest | str:
    """What the server would store, or what it says against it."""
    try:
        return await client.create(
            resource_of(manifest), manifest, space_of(manifest), dry_run=True
        )
    except AlreadyExists:
        return manifest
    except ApiStatus as refusal:
        return refusal.message


@kinds
async def test_the_definition_is_taken(server: Cluster, kind: type[KubeObject]) -> None:
    async with await server.client() as client:
        stored = await client.get(CRDS, f"{kind.info.plural}.{GROUP}")
    conditions = {each["type"]: each["status"] for each in stored["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert conditions.get("NonStructuralSchema", "False") == "False"


@kinds
async def test_the_server_changes_nothing_in_the_schema(
    server: Cluster, kind: type[KubeObject]
) -> None:
    async with await server.client() as client:
        stored = await client.get(CRDS, f"{kind.info.plural}.{GROUP}")
    sent = definition(kind)["spec"]["versions"][0]["schema"]
    assert stored["spec"]["versions"][0]["schema"] == sent


@pytest.mark.parametrize("manifest", list(base().values()), ids=list(base()))
async def test_a_good_object_is_taken(server: Cluster, manifest: Manifest) -> None:
    async with await server.client() as client:
        answer = await tried(client, changed(manifest, {"metadata.name": "t-good"}))
    assert isinstance(answer, dict), answer


@pytest.mark.parametrize("case", refused(), ids=lambda case: case.name)
async def test_a_bad_object_is_refused_in_these_words(server: Cluster, case: Case) -> None:
    async with await server.client() as client:
        assert await tried(client, case.manifest) == case.says


@pytest.mark.parametrize("case", changes(), ids=lambda case: case.name)
async def test_a_bad_change_is_refused_in_these_words(
    server: Cluster, case: Case, namespace_in: NamespaceIn
) -> None:
    assert case.then is not None
    space = await namespace_in(server)
    name = case.manifest["metadata"]["name"]
    async with await server.client() as client:
        res = resource_of(case.manifest)
        await client.create(res, case.manifest, space)
        with pytest.raises(ApiStatus) as refusal:
            await client.replace(res, name, await newest(client, case, space), space)
    assert refusal.value.message == case.says


async def newest(client: Client, case: Case, space: str) -> Manifest:
    """The change, made to the object as it is stored now."""
    assert case.then is not None
    name = case.manifest["metadata"]["name"]
    stored = await client.get(resource_of(case.manifest), name, space)
    version = stored["metadata"]["resourceVersion"]
    return changed(case.then, {"metadata.resourceVersion": version})


async def test_what_may_change_does(server: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(server)
    name = base()["job"]["metadata"]["name"]
    allowed = {
        "priority": 7,
        "suspend": True,
        "placement": {"regions": ["south"]},
        "maxRuntime": "2h",
        "retry": {"maxAttempts": 3},
        "cancel": True,
    }
    async with await server.client() as client:
        await client.create(CROSS_REGION_JOBS, base()["job"], space)
        after = await client.patch(CROSS_REGION_JOBS, name, {"spec": allowed}, space)
    assert allowed.items() <= after["spec"].items()


@kinds
async def test_every_field_is_explained(server: Cluster, kind: type[KubeObject]) -> None:
    async with await server.client() as client:
        raw = await client.raw("GET", f"/openapi/v3/apis/{GROUP}/{VERSION}")
    published = json.loads(raw)["components"]["schemas"][f"dev.huiju.{VERSION}.{kind.info.kind}"]
    for part in ("spec", "status"):
        wanted = dict(walk(root_schema(kind)["properties"][part], part))
        found = dict(walk(published["properties"][part], part))
        assert found.keys() == wanted.keys()
        for path, node in found.items():
            if not path.endswith(("[]", "{}")):
                assert node["description"] == wanted[path]["description"], path


async def kubectl(server: Cluster, *words: str) -> str:
    """Run kubectl, fail on any complaint, return what it printed."""
    program = server.programs.path("kubectl")
    process = await asyncio.create_subprocess_exec(
        program,
        f"--kubeconfig={server.kubeconfig}",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate()
    assert (process.returncode, complaint.decode()) == (0, ""), complaint.decode()
    return out.decode()


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("crossregionjob.spec.accelerators.perWorker", "Units per worker as the node advertises"),
        ("computequeue.spec.lendingLimit", "How much of an unused guarantee others may borrow"),
        ("computecenter.status.buckets", "Largest groups of equal nodes"),
    ],
)
async def test_kubectl_explains(server: Cluster, path: str, sentence: str) -> None:
    assert sentence in " ".join((await kubectl(server, "explain", path)).split())


async def test_kubectl_shows_the_columns(server: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(server)
    async with await server.client() as client:
        for manifest in base().values():
            made = changed(manifest, {"metadata.name": space})
            await client.create(resource_of(made), made, space_of(made, space))
        try:
            for kind in KINDS:
                shown = await kubectl(
                    server, "get", kind.info.short_names[0], space, "-n", space, "-o", "wide"
                )
                header, row = (line.split() for line in shown.splitlines())
                columns = [column.name.upper() for column in kind.info.columns]
                assert header == ["NAME", *columns]
                assert row[0] == space
            everything = await kubectl(server, "get", "huiju", "-n", space, "-o", "name")
            for kind in KINDS:
                assert f"{kind.info.singular}.{GROUP}/{space}" in everything.split()
        finally:
            for res in (COMPUTE_CENTERS, COMPUTE_QUEUES):
                await client.delete(res, space)


async def test_jobs_are_selected_by_queue(server: Cluster, namespace_in: NamespaceIn) -> None:
    space = await namespace_in(server)
    async with await server.client() as client:
        for queue in ("vision", "speech"):
            members = {"metadata.name": f"of-{queue}", "spec.queue": queue}
            await client.create(CROSS_REGION_JOBS, changed(base()["job"], members), space)
        pages = [
            page.items
            async for page in client.list(CROSS_REGION_JOBS, space, fields="spec.queue=speech")
        ]
    assert [job["metadata"]["name"] for page in pages for job in page] == ["of-speech"]


@pytest.mark.parametrize("manifest", list(base().values()), ids=list(base()))
async def test_the_server_fills_in_what_the_model_fills_in(
    server: Cluster, manifest: Manifest
) -> None:
    kind = next(kind for kind in KINDS if kind.info.kind == manifest["kind"])
    async with await server.client() as client:
        stored = await tried(client, changed(manifest, {"metadata.name": "t-defaults"}))
    assert isinstance(stored, dict), stored
    ours = kind.model_validate(manifest).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert _without_empty(stored["spec"]) == _without_empty(ours["spec"])


def _without_empty(value: Any) -> Any:
    """Without members that are empty: the server does not store those."""
    match value:
        case dict():
            kept = {key: _without_empty(child) for key, child in value.items()}
            return {key: child for key, child in kept.items() if child not in ({}, [])}
        case list():
            return [_without_empty(child) for child in value]
        case _:
            return value


# --- examples ---------------------------------------------------------------------------------


def examples() -> Iterator[Any]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield pytest.param(
                document, id=f"{path.name}-{document['kind']}-{document['metadata']['name']}"
            )


@pytest.mark.parametrize("document", list(examples()))
async def test_an_example_is_taken_and_nothing_in_it_is_lost(
    server: Cluster, document: Manifest
) -> None:
    async with await server.client() as client:
        await ensure_system_namespace(client)
        stored = await tried(client, document)
    assert isinstance(stored, dict), stored
    assert _holds(stored.get("spec", {}), document.get("spec", {}))


async def ensure_system_namespace(client: Client) -> None:
    for name in ("huiju-system", "team-a", "team-b"):
        with suppress(AlreadyExists):
            await client.create(NAMESPACES, {"metadata": {"name": name}})


def _holds(whole: Any, part: Any) -> bool:
    """Whether everything in `part` is in `whole`."""
    match part:
        case dict():
            return all(key in whole and _holds(whole[key], child) for key, child in part.items())
        case list():
            pairs = zip(whole, part, strict=True)
            return all(_holds(left, right) for left, right in pairs)
        case _:
            return bool(whole == part)


async def test_kubectl_applies_the_examples(server: Cluster) -> None:
    async with await server.client() as client:
        await ensure_system_namespace(client)
    said = await kubectl(
        server, "apply", "--dry-run=server", "--validate=strict", "-f", str(EXAMPLES)
    )
    assert len(said.splitlines()) == len(list(examples()))


# --- the models and the server agree ----------------------------------------------------------


async def outcomes(server: Cluster, documents: list[Manifest]) -> list[Manifest | str]:
    async with await server.client() as client:
        return await asyncio.gather(*(tried(client, document) for document in documents))


def refusal_of(kind: type[KubeObject], document: Manifest) -> str | None:
    try:
        kind.model_validate(document)
    except ValidationError as refusal:
        return str(refusal)
    return None


@kinds
@PATIENT
@given(data=st.data())
def test_what_the_model_takes_the_server_takes(
    server: Cluster, kind: type[KubeObject], data: st.DataObject
) -> None:
    documents = data.draw(st.lists(objects_of(kind), min_size=BATCH, max_size=BATCH))
    for document, answer in zip(documents, in_thread(outcomes(server, documents)), strict=True):
        refusal = refusal_of(kind, document)
        taken = isinstance(answer, dict)
        assert taken == (refusal is None), f"server: {answer}\nmodel: {refusal}"


@kinds
@PATIENT
@given(data=st.data())
def test_what_the_server_refuses_the_model_refuses(
    server: Cluster, kind: type[KubeObject], data: st.DataObject
) -> None:
    documents = data.draw(st.lists(spoiled(kind), min_size=BATCH, max_size=BATCH))
    for document, answer in zip(documents, in_thread(outcomes(server, documents)), strict=True):
        if isinstance(answer, str):
            assert refusal_of(kind, document) is not None, f"{answer}\n{document}"


@kinds
@PATIENT
@given(data=st.data())
def test_a_status_that_the_model_takes_the_server_takes(
    server: Cluster, kind: type[KubeObject], data: st.DataObject
) -> None:
    documents = data.draw(st.lists(objects_of(kind, status=True), min_size=4, max_size=4))
    statuses = [document["status"] for document in documents if refusal_of(kind, document) is None]
    assert in_thread(_status_outcomes(server, kind, statuses)) == []


async def _status_outcomes(
    server: Cluster, kind: type[KubeObject], statuses: list[Manifest]
) -> list[str]:
    """What the server says against statuses; each is only tried on."""
    good = next(each for each in base().values() if each["kind"] == kind.info.kind)
    manifest = changed(good, {"metadata.name": "t-status"})
    res, space, refusals = resource_of(manifest), space_of(manifest), []
    async with await server.client() as client:
        with suppress(AlreadyExists):
            await client.create(res, manifest, space)
        for status in statuses:
            try:
                await client.patch(
                    res, "t-status", {"status": status}, space, subresource="status", dry_run=True
                )
            except ApiStatus as refusal:
                refusals.append(refusal.message)
        await client.delete(res, "t-status", space)
    return refusals
