"""The number of series follows queues and centers, whatever users write into their jobs."""

from __future__ import annotations

from huiju.hub.population import QueueCount
from huiju.kube.life import Life
from huiju.scheduling.standing import Standing
from huiju.telemetry.metrics import MOST_QUEUES, OTHERS, OWN, SERVING, HubMetrics


def standing(queue: str, usage: int = 0, guarantee: int = 0) -> Standing:
    return Standing(queue, guarantee, usage, 0, 0, 0, 0, 0)


def shown(metrics: HubMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"huiju_{name}", labels)


def test_figures_are_in_tflops_and_gone_with_their_queue() -> None:
    metrics = HubMetrics()
    metrics.queues([standing("a", 2500, 4000), standing("b", 1000)])
    assert shown(metrics, "queue_usage_tflops", queue="a") == 2.5
    assert shown(metrics, "queue_guarantee_tflops", queue="a") == 4.0
    metrics.queues([standing("b", 3000)])
    assert shown(metrics, "queue_usage_tflops", queue="a") is None
    assert shown(metrics, "queue_usage_tflops", queue="b") == 3.0


def test_jobs_of_queues_that_there_are_not_are_counted_together() -> None:
    metrics = HubMetrics()
    metrics.queues([standing("a")])
    metrics.population({name: QueueCount(1, 2, 3000) for name in ("a", "typo-1", "typo-2")}, [])
    assert shown(metrics, "jobs", queue="a", state="queued") == 1
    assert shown(metrics, "jobs", queue=OTHERS, state="queued") == 2
    assert shown(metrics, "jobs", queue=OTHERS, state="placed") == 4
    assert shown(metrics, "queue_tflops", queue=OTHERS) == 6.0
    assert shown(metrics, "jobs", queue="typo-1", state="queued") is None


def test_beyond_so_many_queues_the_rest_is_one_series() -> None:
    metrics = HubMetrics()
    metrics.queues([standing(f"q{number:04d}", 1000) for number in range(MOST_QUEUES + 7)])
    assert shown(metrics, "queue_usage_tflops", queue="q0000") == 1.0
    assert shown(metrics, "queue_usage_tflops", queue=OTHERS) == 7.0
    lines = metrics.exposition().decode().count("\nhuiju_queue_usage_tflops{")
    assert lines == MOST_QUEUES + 1
    metrics.waited("one-more", 1.0)
    assert shown(metrics, "wait_seconds_count", queue=OTHERS) == 1.0


def test_waits_are_shown_from_the_first_and_end_with_the_queue() -> None:
    metrics = HubMetrics()
    metrics.waited("a", 5.0)
    assert shown(metrics, "wait_seconds_count", queue="a") == 1.0
    metrics.queues([standing("a")])
    assert shown(metrics, "wait_seconds_count", queue="a") == 1.0
    metrics.queues([standing("b")])
    assert shown(metrics, "wait_seconds_count", queue="a") is None


def test_credentials_are_shown_while_they_are_in_use_and_have_an_end() -> None:
    metrics = HubMetrics()
    metrics.credentials({"south": Life(100.0, 700.0), "north": None, OWN: Life(5.0, 9.0)})
    assert shown(metrics, "credential_issued_timestamp_seconds", credential="south") == 100.0
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential="south") == 700.0
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential="north") is None
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential=SERVING) is None
    metrics.serving(Life(1.0, 2.0))
    metrics.credentials({OWN: Life(6.0, 10.0)})
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential=SERVING) == 2.0
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential="south") is None
    assert shown(metrics, "credential_expiry_timestamp_seconds", credential=OWN) == 10.0


def test_every_family_is_told_of_as_it_is_exported() -> None:
    metrics = HubMetrics()
    told = {family.name.removesuffix("_total"): family for family in metrics.families}
    exported = {family.name: family for family in metrics.registry.collect()}
    assert told.keys() == exported.keys()
    assert all(told[name].kind == exported[name].type for name in told)
