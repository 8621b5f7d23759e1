"""What a hostile or broken center writes costs it that object, and nobody anything else."""

from __future__ import annotations

import asyncio
import logging
import tracemalloc
from typing import Any, cast

import msgspec
import pytest

from huiju.centers.names import (
    DEPENDENTS,
    LABEL_EPOCH,
    LABEL_JOB_UID,
    SCHEDULING_DEADLINE,
    parse_epoch,
)
from huiju.centers.objects import Workload
from huiju.centers.observe import Observation, State, observe
from huiju.centers.patrol import Patrol
from huiju.centers.podusage import SensedPod, read_pod
from huiju.centers.syncer import Syncer
from huiju.centers.tracker import Tracker
from huiju.kube.client import Client, ClientSettings
from huiju.kube.errors import NotFound, Unreadable
from huiju.kube.informer import Informer, older
from huiju.kube.resources import JOBS, Resource
from huiju.kube.wire import EventKind, Page, decode, event_of, list_type, page_of
from huiju.scheduling.model import Topology
from huiju.scheduling.topology import slots
from tests.inventory_worlds import ASCEND, B3, bucket_of, inventory, node, pod
from tests.unit.centers.workloads import HUB, T0, UID, workload

DEEP = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


class Server:
    """Answers every question with what the test gave; keeps what was asked to be deleted."""

    name = "hostile"
    settings = ClientSettings()

    def __init__(self, *items: bytes) -> None:
        self.items = items
        self.asked: list[str] = []

    async def get(self, res: Resource, name: str, *_: Any, **__: Any) -> Any:
        self.asked.append(f"{res.plural}/{name}")
        raise NotFound(404, "NotFound", "gone", {})

    async def delete(self, res: Resource, name: str, *_: Any, **__: Any) -> None:
        self.asked.append(f"{res.plural}/{name}")

    async def list(self, *_: Any, **__: Any) -> Any:
        body = b'{"metadata":{"resourceVersion":"9"},"items":[' + b",".join(self.items) + b"]}"
        page = page_of(body, list_type(msgspec.Raw))
        yield Page(page.items, page.metadata.resource_version, True)


def noted(**notes: str) -> Workload:
    made = workload()
    made.metadata.annotations = {**(made.metadata.annotations or {}), **notes}
    return made


def test_dependents_that_make_no_sense_are_skipped() -> None:
    server = Server()
    syncer = Syncer(cast(Client, server), HUB, lambda _: None)
    made = noted(**{DEPENDENTS: "nodes/a,secrets,secrets/,secrets/../x,configmaps/mine,/,"})
    syncer._tracker.note(made)
    asyncio.run(syncer.remove(UID, 1))
    assert server.asked == ["configmaps/mine", f"jobs/{made.metadata.name}"]


@pytest.mark.parametrize("amount", ["1e30", "-8", "1000001"])
def test_a_device_count_beyond_belief_is_none(
    amount: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        made = inventory(node("bad", {ASCEND: amount}, B3), node("good", {ASCEND: "8"}, B3))
        made.set_node(node("bad", {ASCEND: amount}, B3), 1.0)
    (status,) = made.summary()["accelerators"]
    assert status["total"] == 8
    assert bucket_of(made, "bad") is None
    assert len(caplog.records) == 1


def test_huge_amounts_of_anything_else_stay_within_64_bits() -> None:
    made = inventory(
        node("n", {ASCEND: "8", "example.com/thing": "1e40"}, B3),
        pod("p", "n", {ASCEND: "1e40", "example.com/thing": "1e40"}),
    )
    msgspec.convert(made.summary(), dict)
    numbers = [n for group in made.summary().values() for n in _numbers(group)]
    assert max(numbers) < 2**63


def _numbers(value: Any) -> list[int]:
    match value:
        case dict():
            return [n for v in value.values() for n in _numbers(v)]
        case list() | tuple():
            return [n for v in value for n in _numbers(v)]
        case int():
            return [value]
    return []


def test_many_devices_are_counted_without_their_numbers() -> None:
    """A set of them all would be as large as the center likes to claim."""
    tracemalloc.start()
    try:
        made = inventory(node("n", {ASCEND: "1000000"}, B3))
        bucket = bucket_of(made, "n")
        assert bucket is not None
        assert bucket.free_devices is None
        for topology in Topology:
            assert 0 <= slots(topology, 4, 1_000_000, 1_000_000, None) <= 250_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("group", [Topology.RINGS_OF_4, Topology.GROUPS_OF_8])
def test_the_estimate_for_large_nodes_never_promises_too_much(group: Topology) -> None:
    assert slots(group, 4, 136, 136 - 8, None) <= slots(group, 4, 128, 120, None)


@pytest.mark.parametrize("topology", Topology)
def test_more_free_cards_than_there_are_promise_nothing_more(topology: Topology) -> None:
    """The search for the worst case took memory by what was said to be free."""
    assert slots(topology, 4, 8, 10**12, None) == slots(topology, 4, 8, 8, None)


@pytest.mark.parametrize("text", ["", "1" * 10, "9" * 5000, "x", "-1", "٣", "1.0"])
def test_an_epoch_that_no_hub_wrote_is_not_ours(text: str) -> None:
    assert parse_epoch(text) is None
    labels = {LABEL_JOB_UID: UID, LABEL_EPOCH: text}
    body = {"metadata": {"uid": "p", "labels": labels}, "spec": {"nodeName": "n"}}
    use = read_pod(msgspec.convert(body, SensedPod))
    assert use is not None
    assert use.owner is None


def test_versions_of_absurd_length_are_not_compared() -> None:
    assert older("1", "2")
    assert not older("1", "9" * 5000)


@pytest.mark.parametrize("text", ["soon", "9" * 5000 + "h", "-5m"])
def test_a_spoilt_deadline_is_the_default_one(text: str) -> None:
    made = noted(**{SCHEDULING_DEADLINE: text})
    made.metadata.creation_timestamp = "2027-01-15T08:00:00Z"
    assert observe(UID, 1, made, (), T0 + 299.0).failure is None
    assert observe(UID, 1, made, (), T0 + 301.0).failure is not None


def spoilt() -> Workload:
    made = workload()
    made.metadata.creation_timestamp = "yesterday"
    return made


def other() -> Workload:
    made = workload()
    made.metadata.annotations = {
        name: text.replace(UID, "other") for name, text in (made.metadata.annotations or {}).items()
    }
    return made


def test_a_workload_that_cannot_be_understood_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Observation] = []
    tracker = Tracker(HUB, told.append, lambda: T0)
    tracker.note(spoilt())
    tracker.note(other())
    tracker.start()
    assert [one.job_uid for one in told] == ["other"]
    assert [one.state for one in tracker.observations_of(UID)] == [State.PENDING]
    assert "workload not understood" in caplog.text


def test_the_patrol_goes_on_past_a_workload_that_cannot_be_understood() -> None:
    told: list[Observation] = []
    tracker = Tracker(HUB, told.append, lambda: T0)
    tracker.start()
    tracker.note(workload())
    tracker.note(other())
    entry = tracker.entry(UID, 1)
    assert entry is not None
    entry.workload = spoilt()
    server = Server()
    asyncio.run(Patrol(cast(Client, server), {}, tracker).round())
    assert [one.job_uid for one in tracker.unsettled()] == ["other"]
    assert tracker.entry(UID, 1) is entry


def test_what_is_nested_too_deep_is_unreadable() -> None:
    with pytest.raises(Unreadable):
        decode(DEEP, dict)


def job_bytes(name: str, extra: bytes = b"1") -> bytes:
    return (
        b'{"metadata":{"name":"%s","namespace":"a","uid":"u-%s","resourceVersion":"3"},"x":%s}'
        % (name.encode(), name.encode(), extra)
    )


def test_one_deep_object_is_left_out_of_a_list(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(job_bytes("one"), job_bytes("deep", DEEP), job_bytes("two"))
    informer = Informer(cast(Client, server), JOBS, Workload, on_change=lambda *_: None)
    asyncio.run(informer._list())
    assert set(informer.store) == {"a/one", "a/two"}
    (record,) = caplog.records
    assert "left out" in record.message
    assert record.__dict__["object"] == "deep"


def test_a_deep_object_does_not_end_a_watch() -> None:
    line = b'{"type":"ADDED","object":' + job_bytes("deep", DEEP) + b"}"
    event = event_of(line, msgspec.Raw)
    assert event.kind is EventKind.ADDED
    informer = Informer(cast(Client, Server()), JOBS, Workload, on_change=lambda *_: None)
    assert event.object is not None
    assert informer._take(event.object, None) == "3"
    assert informer._drop(event.object) == "3"
    assert not informer.store
