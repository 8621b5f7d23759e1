"""Grants on a real API server: who may ask, who may decide, and that versions never change."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import yaml

from huiju.data.access import share_of
from huiju.data.copies import CopyId
from huiju.hub import admission
from huiju.hub import role as hubrole
from huiju.hub.datasets.replicas import replica_body
from huiju.hub.people import PEOPLE
from huiju.kube.client import Client
from huiju.kube.errors import Forbidden, Invalid, KubeError
from huiju.kube.kubeconfig import from_secret_bytes
from huiju.kube.resources import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    DATASET_GRANTS,
    DATASET_REPLICAS,
    DATASET_SHARES,
    ROLE_BINDINGS,
    SELF_SUBJECT_REVIEWS,
    SERVICE_ACCOUNTS,
    Resource,
)
from lab import joining
from lab.cluster import Cluster
from lab.fixtures import NamespaceIn
from tests.patience import PATIENCE

GROUP = "admissionregistration.k8s.io"
POLICIES = Resource(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", False)
BINDINGS = Resource(
    GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", False
)
DIGESTS = ["sha256:" + character * 64 for character in "ab"]
Fields = dict[str, Any]


def share(namespace: str, **spec: Any) -> Fields:
    base: Fields = {
        "license": "CC-BY-4.0",
        "source": {"center": "guiyang", "files": {"path": "/exports/a"}},
        "versions": [version("v1", DIGESTS[0])],
        "access": {"namespaces": ["*"]},
    }
    return {
        "apiVersion": DATASET_SHARES.api_version,
        "kind": DATASET_SHARES.kind,
        "metadata": {"name": "corpus", "namespace": namespace},
        "spec": base | spec,
    }


def version(name: str, digest: str) -> Fields:
    return {
        "name": name,
        "manifestDigest": digest,
        "bytes": 10,
        "files": 1,
        "createdAt": "2026-01-01T00:00:00Z",
    }


def grant(namespace: str, owner: str, who: str, **spec: Any) -> Fields:
    return {
        "apiVersion": DATASET_GRANTS.api_version,
        "kind": DATASET_GRANTS.kind,
        "metadata": {"name": "corpus", "namespace": namespace},
        "spec": {
            "dataset": {"namespace": owner, "name": "corpus"},
            "requestedBy": who,
            "acceptedLicense": "CC-BY-4.0",
            **spec,
        },
    }


class People:
    """An asker in one namespace, an owner in another, both with the roles of the chart."""

    def __init__(self, admin: Client, asker: Client, owner: Client, names: tuple[str, str]) -> None:
        self.admin = admin
        self.asker = asker
        self.owner = owner
        self.asks_in, self.owns_in = names

    def name(self, who: str) -> str:
        space = self.asks_in if who == "asker" else self.owns_in
        return f"system:serviceaccount:{space}:{who}"


async def account(
    admin: Client, cluster: Cluster, space: str, name: str, role: str, everywhere: str = ""
) -> Client:
    meta = {"name": name, "namespace": space}
    await admin.create(SERVICE_ACCOUNTS, {"metadata": meta}, space)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": space}
    group = "rbac.authorization.k8s.io"
    await admin.create(
        ROLE_BINDINGS,
        {
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
            "subjects": [subject],
        },
        space,
    )
    if everywhere:
        await admin.create(
            CLUSTER_ROLE_BINDINGS,
            {
                "metadata": {"name": f"{space}-{name}"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": everywhere},
                "subjects": [subject],
            },
        )
    answer = await admin.raw(
        "POST", SERVICE_ACCOUNTS.path(space, name, "token"), body=json.dumps({"spec": {}}).encode()
    )
    config = yaml.safe_load(cluster.kubeconfig_text())
    config["users"][0]["user"] = {"token": json.loads(answer)["status"]["token"]}
    return Client(from_secret_bytes(yaml.safe_dump(config).encode()), name=name)


@pytest.fixture
async def people(hub: Cluster, namespace_in: NamespaceIn) -> AsyncIterator[People]:
    async with contextlib.AsyncExitStack() as stack:
        admin = await stack.enter_async_context(await hub.client())
        await joining.install(admin)
        asks_in, owns_in = await namespace_in(hub), await namespace_in(hub)
        for body in admission.objects():
            res = BINDINGS if body["kind"] == BINDINGS.kind else POLICIES
            await admin.apply(res, body, manager="test", force=True)
        for role in PEOPLE:
            body = {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {"name": role.name},
                "rules": [rule.manifest() for rule in role.rules],
            }
            await admin.apply(CLUSTER_ROLES, body, manager="test", force=True)
        asker = await account(admin, hub, asks_in, "asker", "huiju-jobs-edit")
        owner = await account(admin, hub, owns_in, "owner", "huiju-data-owner", "huiju-data-decide")
        await stack.enter_async_context(asker)
        await stack.enter_async_context(owner)
        made = People(admin, asker, owner, (asks_in, owns_in))
        await _in_force(made)
        await owner.create(DATASET_SHARES, share(owns_in), owns_in)
        yield made
        for res, bodies in ((BINDINGS, admission.objects()), (POLICIES, admission.objects())):
            for body in bodies:
                if body["kind"] == res.kind:
                    with contextlib.suppress(KubeError):
                        await admin.delete(res, body["metadata"]["name"])


async def _in_force(people: People) -> None:
    """A policy is in force a moment after it was made."""
    liar = grant(people.asks_in, people.owns_in, "somebody-else")
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await people.asker.create(DATASET_GRANTS, liar, people.asks_in, dry_run=True)
            except Forbidden as refusal:
                if "your own name" in str(refusal):
                    return
            await asyncio.sleep(0.1)


def decided(word: str, by: str) -> Fields:
    return {"spec": {"decision": {"decision": word, "by": by}}}


async def test_asking_and_deciding(people: People) -> None:
    space, owner = people.asks_in, people.owns_in
    me, other = people.name("asker"), people.name("owner")
    early = grant(space, owner, me, decision={"decision": "Approved", "by": other})
    with pytest.raises(Forbidden, match="does not bring its own decision"):
        await people.asker.create(DATASET_GRANTS, early, space)
    await people.asker.create(DATASET_GRANTS, grant(space, owner, me), space)
    with pytest.raises(Forbidden):
        # Users ask and withdraw; they change nothing.
        await people.asker.patch(DATASET_GRANTS, "corpus", decided("Approved", me), space)
    with pytest.raises(Forbidden, match="your own name"):
        await people.owner.patch(DATASET_GRANTS, "corpus", decided("Approved", "wang"), space)
    await people.owner.patch(DATASET_GRANTS, "corpus", decided("Approved", other), space)
    with pytest.raises(Forbidden, match="changed, never taken out"):
        await people.owner.patch(DATASET_GRANTS, "corpus", {"spec": {"decision": None}}, space)
    with pytest.raises(Invalid, match="purpose is immutable"):
        await people.owner.patch(DATASET_GRANTS, "corpus", {"spec": {"purpose": "ads"}}, space)
    await people.owner.patch(DATASET_GRANTS, "corpus", decided("Revoked", other), space)
    with pytest.raises(Invalid, match="stays so"):
        await people.owner.patch(DATASET_GRANTS, "corpus", decided("Approved", other), space)


async def test_nobody_decides_on_a_request_of_their_own(people: People) -> None:
    # An administrator may write anything, and still not be both.
    space, owner = people.asks_in, people.owns_in
    whoami = await people.admin.create(SELF_SUBJECT_REVIEWS, {})
    me = whoami["status"]["userInfo"]["username"]
    await people.admin.create(DATASET_GRANTS, grant(space, owner, me), space)
    with pytest.raises(Invalid, match="nobody decides on a request of their own"):
        await people.admin.patch(DATASET_GRANTS, "corpus", decided("Approved", me), space)


async def test_an_owner_decides_on_its_own_shares_alone(people: People) -> None:
    space, other = people.asks_in, people.name("owner")
    foreign = grant(space, "somebody-elses", people.name("asker"))
    await people.asker.create(DATASET_GRANTS, foreign, space)
    with pytest.raises(Forbidden, match="verb approve"):
        await people.owner.patch(DATASET_GRANTS, "corpus", decided("Approved", other), space)


async def test_a_version_never_changes_and_never_goes(people: People) -> None:
    space = people.owns_in
    both = [version("v1", DIGESTS[0]), version("v2", DIGESTS[1])]
    await people.owner.patch(DATASET_SHARES, "corpus", {"spec": {"versions": both}}, space)
    changed = [version("v1", DIGESTS[1]), version("v2", DIGESTS[1])]
    with pytest.raises(Invalid, match="a version never changes"):
        await people.owner.patch(DATASET_SHARES, "corpus", {"spec": {"versions": changed}}, space)
    with pytest.raises(Invalid, match="never taken out"):
        await people.owner.patch(DATASET_SHARES, "corpus", {"spec": {"versions": both[:1]}}, space)
    nowhere = {"channels": [{"name": "stable", "version": "v9"}]}
    with pytest.raises(Invalid, match="publish it first"):
        await people.owner.patch(DATASET_SHARES, "corpus", {"spec": nowhere}, space)


async def test_the_hub_s_account_orders_no_copy_in_a_person_s_name(
    people: People, hub: Cluster
) -> None:
    space = people.owns_in
    rules = [rule.manifest() for rule in hubrole.CLUSTER]
    meta = {"name": f"{space}-hub"}
    await people.admin.apply(
        CLUSTER_ROLES,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": meta,
            "rules": rules,
        },
        manager="test",
        force=True,
    )
    program = await account(people.admin, hub, space, hubrole.ACCOUNT, meta["name"])
    async with program:
        stored = await people.owner.get(DATASET_SHARES, "corpus", space)
        share = share_of(stored)
        body = replica_body(share, share.spec.versions[0], CopyId(share.uid, "v1", "north"))
        name = body["metadata"]["name"]
        lie = body | {"spec": body["spec"] | {"wanted": True}}
        with pytest.raises(Forbidden, match="in a person's name"):
            await program.create(DATASET_REPLICAS, lie, space)
        await program.create(DATASET_REPLICAS, body, space)
        with pytest.raises(Forbidden, match="changes no order"):
            await program.patch(DATASET_REPLICAS, name, {"spec": {"wanted": True}}, space)
        held = {"metadata": {"finalizers": ["huiju.dev/copy"]}}
        await program.patch(DATASET_REPLICAS, name, held, space)
        await people.owner.patch(DATASET_REPLICAS, name, {"spec": {"wanted": True}}, space)
        with pytest.raises(Forbidden):
            await program.patch(DATASET_SHARES, "corpus", {"spec": {"pins": ["north"]}}, space)
        asked = grant(space, space, "li")
        with pytest.raises(Forbidden):
            await program.create(DATASET_GRANTS, asked, space)
        free = {"metadata": {"finalizers": None}}
        await program.patch(DATASET_REPLICAS, name, free, space)
        await people.owner.delete(DATASET_REPLICAS, name, space)
    await people.admin.delete(CLUSTER_ROLES, meta["name"])
