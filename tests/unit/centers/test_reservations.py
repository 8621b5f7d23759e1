"""Reservations give way to bound pods, one worker for one pod."""

from __future__ import annotations

from huiju.centers.reservations import outstanding
from huiju.scheduling.model import Assignment
from tests.inventory_worlds import (
    GPU,
    H100,
    free_on,
    inventory,
    node,
    pod,
    reservation,
    tally,
)

JOB = ("job", 1)


def test_bound_pods_replace_reserved_workers_without_counting_twice() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), node("m", {GPU: "8"}, H100))
    made.reserve(reservation("job", 1, {GPU: 4}, n=2, m=1))
    assert (free_on(made, "n", GPU), free_on(made, "m", GPU)) == (0, 4)
    for uid, on in (("p0", "n"), ("p1", "n"), ("p2", "m")):
        made.set_pod(pod(uid, on, {GPU: "4"}, owner=JOB))
        assert (free_on(made, "n", GPU), free_on(made, "m", GPU)) == (0, 4)
        assert tally(made, "nvidia-h100-sxm").federated == 12


def test_a_pod_that_landed_elsewhere_replaces_some_worker() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), node("m", {GPU: "8"}, H100))
    made.reserve(reservation("job", 1, {GPU: 8}, n=1))
    made.set_pod(pod("p", "m", {GPU: "8"}, owner=JOB))
    assert (free_on(made, "n", GPU), free_on(made, "m", GPU)) == (8, 0)


def test_a_pod_of_another_epoch_replaces_nothing() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), node("m", {GPU: "8"}, H100))
    made.reserve(reservation("job", 2, {GPU: 8}, n=1))
    made.set_pod(pod("p", "m", {GPU: "8"}, owner=JOB))
    assert (free_on(made, "n", GPU), free_on(made, "m", GPU)) == (0, 0)


def test_a_lost_pod_gets_its_reservation_back_and_a_finished_one_does_not() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    made.reserve(reservation("job", 1, {GPU: 4}, n=2))
    made.set_pod(pod("p", "n", {GPU: "4"}, owner=JOB))
    made.set_pod(pod("q", "n", {GPU: "4"}, owner=JOB))
    made.drop_pod("p")
    assert free_on(made, "n", GPU) == 0, "the Job makes the lost worker anew"
    made.set_pod(pod("q", "n", {GPU: "4"}, owner=JOB, phase="Succeeded"))
    assert free_on(made, "n", GPU) == 4


def test_releasing_leaves_bound_pods_counted() -> None:
    made = inventory(node("n", {GPU: "8"}, H100))
    made.reserve(reservation("job", 1, {GPU: 2}, n=4))
    made.set_pod(pod("p", "n", {GPU: "2"}, owner=JOB))
    made.release("job", 1)
    assert free_on(made, "n", GPU) == 6


def test_reserving_again_with_another_plan_replaces_the_first() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), node("m", {GPU: "8"}, H100))
    made.reserve(reservation("job", 1, {GPU: 8}, n=1))
    made.buckets()
    made.reserve(reservation("job", 1, {GPU: 2}, n=1, m=1))
    assert (free_on(made, "n", GPU), free_on(made, "m", GPU)) == (6, 6)


def test_a_reservation_for_a_node_that_is_not_there_yet_counts_once_it_is() -> None:
    made = inventory(reservation("job", 1, {GPU: 8}, n=1))
    assert made.buckets() == ()
    made.set_node(node("n", {GPU: "8"}, H100), 0.0)
    assert free_on(made, "n", GPU) == 0


def test_free_is_never_negative_however_much_was_promised() -> None:
    made = inventory(node("n", {GPU: "8"}, H100), pod("p", "n", {GPU: "8"}))
    made.reserve(reservation("job", 1, {GPU: 8}, n=3))
    assert free_on(made, "n", GPU) == 0


def test_strays_replace_workers_in_the_order_of_node_names() -> None:
    plan = (Assignment("b", 2), Assignment("a", 1))
    assert outstanding(plan, {}) == {"a": 1, "b": 2}
    assert outstanding(plan, {"b": 1}) == {"a": 1, "b": 1}
    assert outstanding(plan, {"z": 2}) == {"b": 1}
    assert outstanding(plan, {"b": 3, "z": 9}) == {}
