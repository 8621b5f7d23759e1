"""How copies are mounted: read-only, everywhere, and by no other way."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.center import DataStore, NfsStore
from huiju.api.reasons import Reason
from huiju.centers.jobview import JobView
from huiju.centers.mounts import Mount
from huiju.centers.render import DispatchRefused, RenderRefused, render
from tests.unit.centers.workloads import job, pod_spec, target

SHARED = DataStore(path="/store", capacity="1T")
NFS = DataStore(nfs=NfsStore(server="nfs.example", path="/exports/huiju"), capacity="1T")
DATA = [{"dataset": "corpus", "mountPath": "/data"}]


def pods(view: JobView, **more: Any) -> Any:
    return render(view, target(**more)).objects[-1]["spec"]["template"]["spec"]


def test_every_container_sees_the_copy_read_only() -> None:
    template = pod_spec(initContainers=[{"name": "first", "image": "i"}])
    spec = pods(job(template, data=DATA), mounts=(Mount("/data", SHARED, "huiju-data/u/x"),))
    (volume,) = [v for v in spec["volumes"] if v["name"].startswith("huiju-data")]
    assert volume["hostPath"] == {"path": "/store/huiju-data/u/x", "type": "Directory"}
    for container in (*spec["containers"], *spec["initContainers"]):
        (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
        assert mount == {"name": volume["name"], "mountPath": "/data", "readOnly": True}


def test_an_export_is_mounted_read_only_itself() -> None:
    spec = pods(job(data=DATA), mounts=(Mount("/data", NFS, "huiju-data/u/x"),))
    (volume,) = [v for v in spec["volumes"] if v["name"].startswith("huiju-data")]
    assert volume["nfs"] == {
        "server": "nfs.example",
        "path": "/exports/huiju/huiju-data/u/x",
        "readOnly": True,
    }


def test_without_a_copy_nothing_is_dispatched() -> None:
    with pytest.raises(DispatchRefused) as caught:
        pods(job(data=DATA))
    assert caught.value.reason is Reason.STAGING


def test_a_path_that_is_taken_is_refused() -> None:
    main = {"name": "m", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/data/"}]}
    view = job({"spec": {"containers": [main]}}, data=DATA)
    with pytest.raises(RenderRefused) as caught:
        pods(view, mounts=(Mount("/data", SHARED, "x"),))
    assert "/data" in caught.value.message


@pytest.mark.parametrize(
    ("volume", "store"),
    [
        ({"hostPath": {"path": "/store/huiju-data/other"}}, SHARED),
        ({"hostPath": {"path": "/store"}}, SHARED),
        ({"hostPath": {"path": "/"}}, SHARED),
        ({"hostPath": {"path": "/a/../store/x"}}, SHARED),
        ({"nfs": {"server": "nfs.example", "path": "/exports"}}, NFS),
        ({"nfs": {"server": "nfs.example", "path": "/exports/huiju/huiju-data/u"}}, NFS),
    ],
)
def test_nobody_reaches_the_store_by_a_volume_of_their_own(
    volume: dict[str, Any], store: DataStore
) -> None:
    view = job(pod_spec(volumes=[{"name": "mine", **volume}]))
    with pytest.raises(DispatchRefused) as caught:
        pods(view, store=store, host_paths=None)
    assert "mine" in caught.value.message


def test_other_folders_are_the_users_own_matter() -> None:
    volumes = [
        {"name": "a", "hostPath": {"path": "/stores"}},
        {"name": "b", "nfs": {"server": "other.example", "path": "/exports/huiju"}},
        {"name": "c", "emptyDir": {}},
    ]
    view = job(pod_spec(volumes=volumes))
    assert pods(view, store=SHARED, host_paths=("/stores",))["volumes"]
