"""What jobs and people are told of shares that the hub knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from huiju.api.center import DataStore
from huiju.api.model import ModelShareSpec
from huiju.data.access import Refused
from huiju.hub.datasets.catalog import Catalog
from huiju.hub.datasets.holders import store_bytes
from huiju.hub.datasets.needs import Needs
from huiju.hub.datasets.search import search
from huiju.hub.objects import DataStatus, JobObject
from huiju.hub.sites import Sites
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from tests.copy_worlds import NOW


def catalog() -> Catalog:
    """One that is told of shares by hand; its informers do not run."""
    return Catalog(Client(Credentials("https://hub.example"), name="hub"), lambda _: None)


def no_models(_share: str) -> Iterator[tuple[str, ModelShareSpec]]:
    """No data set is a model."""
    yield from ()


def body(name: str, version: int = 1, **spec: Any) -> dict[str, Any]:
    meta = {
        "namespace": "owners",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "labels": {"domain": "medical"},
    }
    base = {
        "license": "CC0-1.0",
        "source": {"center": "home", "files": {"path": "/exports"}},
        "versions": [published("v1"), published("v2")],
    }
    return {"metadata": meta, "spec": base | spec}


def published(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "manifestDigest": "sha256:" + name[1:].zfill(64),
        "bytes": 10,
        "files": 1,
        "createdAt": "2026-01-01T00:00:00Z",
    }


def job(namespace: str = "owners", *fixed: DataStatus, **data: Any) -> JobObject:
    made = {
        "metadata": {"name": "train", "namespace": namespace, "uid": "j1"},
        "spec": {
            "queue": "research",
            "accelerators": [{"model": "ascend-910b3", "perWorker": 8}],
            "template": {"spec": {"containers": [{"name": "main", "image": "i"}]}},
            "data": [{"dataset": "open", "mountPath": "/data", **data}],
        },
    }
    found = msgspec.json.decode(msgspec.json.encode(made), type=JobObject)
    status = msgspec.structs.replace(found.status, data=fixed)
    return msgspec.structs.replace(found, status=status)


def test_a_search_tells_nothing_of_what_may_not_be_asked_for() -> None:
    known = catalog()
    known.upsert(body("open", access={"namespaces": ["*"]}, keywords=["speech"]))
    known.upsert(body("closed", access={"namespaces": ["team-a"]}, description="secret speech"))
    assert [row["name"] for row in search(known, no_models, "team-b", "", {}, NOW)] == ["open"]
    assert [row["name"] for row in search(known, no_models, "team-a", "", {}, NOW)] == [
        "closed",
        "open",
    ]
    assert [row["name"] for row in search(known, no_models, "team-b", "SPEECH", {}, NOW)] == [
        "open"
    ]
    assert search(known, no_models, "team-b", "secret", {}, NOW) == []
    assert search(known, no_models, "team-b", "", {"domain": "legal"}, NOW) == []


def test_a_job_keeps_the_version_that_was_fixed_for_it_while_the_channel_moves() -> None:
    known = catalog()
    needs = Needs(known, Sites(), lambda: NOW)
    known.upsert(body("open", channels=[{"name": "stable", "version": "v1"}]))
    first = needs.bind(job(version="stable"))
    assert not isinstance(first, Refused)
    assert first[0].version.name == "v1"
    known.upsert(body("open", 2, channels=[{"name": "stable", "version": "v2"}]))
    kept = needs.bind(job("owners", first[0].fixed, version="stable"))
    assert not isinstance(kept, Refused)
    assert kept[0].version.name == "v1"
    new = needs.bind(job(version="stable"))
    assert not isinstance(new, Refused)
    assert new[0].version.name == "v2"


def test_a_share_of_the_same_name_that_came_later_is_another() -> None:
    known = catalog()
    needs = Needs(known, Sites(), lambda: NOW)
    known.upsert(body("open"))
    bound = needs.bind(job())
    assert not isinstance(bound, Refused)
    again = body("open", 2)
    again["metadata"]["uid"] = "another"
    known.upsert(again)
    refused = needs.bind(job("owners", bound[0].fixed))
    assert isinstance(refused, Refused)
    assert "is no more" in refused.message


@pytest.mark.parametrize(
    ("capacity", "found"),
    [("100G", 10**11), ("100Gi", 100 * 2**30), ("2T", 2 * 10**12), ("1Pi", 2**50)],
)
def test_a_store_says_whether_it_counts_by_tens_or_twos(capacity: str, found: int) -> None:
    assert store_bytes(DataStore(path="/store", capacity=capacity)) == found
