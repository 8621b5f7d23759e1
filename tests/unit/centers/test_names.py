"""Names that are made in a center stay legal and apart, whatever the job is called."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huiju.centers.names import (
    LABEL_JOB_NAME,
    Origin,
    carried_name,
    center_namespace,
    own_namespace,
    workload_name,
)

UID = "3f2a9c01-7d4e-4b6a-9c55-0123456789ab"
HUB = "0a1b2c3d"
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")

_ENDS = string.ascii_lowercase + string.digits
_part = st.builds(
    lambda first, middle, last: first + middle + last,
    st.sampled_from(_ENDS),
    st.text(_ENDS + "-", max_size=70),
    st.sampled_from(_ENDS),
)
object_names = st.lists(_part, min_size=1, max_size=3).map(
    lambda parts: ".".join(parts)[:240] + "z"
)
label_names = st.builds(lambda a, b: (a + b)[:62] + "9", st.sampled_from(_ENDS), _part)
uids = st.uuids(version=4).map(str)
epochs = st.integers(min_value=1, max_value=10**6)


@given(object_names, uids, epochs)
def test_a_workload_its_service_and_its_pods_have_legal_names(
    name: str, uid: str, epoch: int
) -> None:
    workload = workload_name(name, uid, epoch)
    assert DNS_1035.fullmatch(workload)
    assert len(f"{workload}-4095-xxxxx") <= 63
    assert workload.endswith(f"-e{epoch}")


@given(object_names, object_names, uids, uids, epochs)
def test_different_jobs_have_different_workloads(
    one: str, other: str, uid: str, another: str, epoch: int
) -> None:
    if uid[:5] == another[:5]:
        return
    assert workload_name(one, uid, epoch) != workload_name(other, another, epoch)


@given(object_names, uids, epochs, epochs)
def test_each_epoch_has_a_name_of_its_own(name: str, uid: str, one: int, other: int) -> None:
    same = workload_name(name, uid, one) == workload_name(name, uid, other)
    assert same == (one == other)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("train", "train-3f2a9-e7"),
        ("a", "a-3f2a9-e7"),
        ("pangu-finetune-38b-v2", "pangu-finetune-38b-v2-3f2a9-e7"),
    ],
)
def test_a_plain_name_stays_readable(name: str, expected: str) -> None:
    assert workload_name(name, UID, 7) == expected


@pytest.mark.parametrize("name", ["9lives", "with.dots", "x" * 60, "1.2.3", "a" * 40 + "." + "b"])
def test_a_name_that_had_to_change_is_told_apart_by_a_longer_hash(name: str) -> None:
    made = workload_name(name, UID, 1)
    assert DNS_1035.fullmatch(made)
    assert re.search(r"-[0-9a-f]{12}-e1$", made)


def test_long_names_with_one_beginning_stay_apart() -> None:
    made = {workload_name("x" * 50 + f"-{i}", UID, 1) for i in range(2000)}
    assert len(made) == 2000


@given(label_names)
def test_a_namespace_is_a_label_and_a_cut_one_meets_no_other(namespace: str) -> None:
    made = own_namespace(HUB, namespace)
    assert DNS_1123.fullmatch(made)
    assert len(made) <= 63
    whole = made == f"huiju-{HUB}-{namespace}"
    assert whole == (len(made) < 63)


def test_nobody_finds_a_namespace_that_ends_where_anothers_secrets_are() -> None:
    """With 32 bits of digest a few billion tries found one; whoever may name a namespace could."""
    made = own_namespace(HUB, "team-" + "x" * 58)
    assert re.fullmatch(r"huiju-0a1b2c3d-team-x+-[0-9a-f]{20}", made)
    assert len(made) == 63


def test_a_namespace_follows_the_owners_mapping() -> None:
    assert center_namespace(HUB, "team-a", {}) == "huiju-0a1b2c3d-team-a"
    assert center_namespace(HUB, "team-a", {"team-a": "guests"}) == "guests"
    assert center_namespace(HUB, "team-b", {"team-a": "guests"}) == "huiju-0a1b2c3d-team-b"


@given(object_names, uids, object_names)
def test_a_carried_object_has_a_legal_name_with_the_epoch_in_it(
    job: str, uid: str, original: str
) -> None:
    workload = workload_name(job, uid, 3)
    made = carried_name(workload, original)
    assert SUBDOMAIN.fullmatch(made)
    assert len(made) <= 253
    assert made.startswith(f"{workload}-")


def test_long_carried_names_stay_apart() -> None:
    names = {carried_name("train-3f2a9-e1", "c" * 250 + f"-{i}") for i in range(100)}
    assert len(names) == 100


@given(object_names, uids, epochs)
def test_labels_are_legal(name: str, uid: str, epoch: int) -> None:
    origin = Origin(HUB, "team-a", name, uid, epoch)
    for value in origin.labels().values():
        assert LABEL_VALUE.fullmatch(value)
        assert len(value) <= 63
    if len(name) <= 63:
        assert origin.labels()[LABEL_JOB_NAME] == name
    assert str(origin) == f"{HUB}/team-a/{name}/{uid}/{epoch}"
    assert origin.selector().items() <= origin.labels().items()
