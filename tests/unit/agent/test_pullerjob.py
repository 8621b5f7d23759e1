"""The puller's pod: what it may do, and that nothing secret is in what others see of it."""

from __future__ import annotations

import base64
import json

import pytest

from huiju.agent import pullerjob
from huiju.api.center import DataStore
from huiju.api.transfer import LinkAnswer
from tests.unit.agent.test_heard import SPEC

FOLDER = "huiju-data/0dc8deb0-1b9b-467e-97ee-c9f3f91c8325/" + "a" * 32
STORE = DataStore(path="/store", capacity="10T")


def test_the_pod_has_no_token_no_root_and_no_secret_argument() -> None:
    body = pullerjob.job_body("u1", "n", "huiju-system", STORE, "img", 65532)
    pod = body["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    (container,) = pod["containers"]
    assert container["args"] == ["pull", "--folder", "/order"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["store"]["hostPath"] == {"path": "/store", "type": "Directory"}
    assert volumes["order"]["secret"]["secretName"] == "n"
    # Root's and its group's alone: whoever is neither reads it by the pod's own group.
    assert volumes["order"]["secret"]["defaultMode"] & 0o007 == 0
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"] == 65532
    assert body["spec"]["template"]["metadata"]["labels"] == {pullerjob.LABEL_REPLICA: "u1"}


def test_nfs_stores_are_mounted_as_such() -> None:
    store = DataStore.model_validate({"nfs": {"server": "nas", "path": "/d"}, "capacity": "1T"})
    pod = pullerjob.job_body("u1", "n", "s", store, "img", 1)["spec"]["template"]["spec"]
    assert pod["volumes"][1] == {"name": "store", "nfs": {"server": "nas", "path": "/d"}}


def test_the_folder_holds_order_terms_and_the_newest_answer() -> None:
    spec = SPEC.model_copy(
        update={
            "folder": FOLDER,
            "rate": 5,
            "answer": LinkAnswer(seq=9, sealed=base64.b64encode(b"sealed").decode()),
        }
    )
    files = pullerjob.told("u1", spec)
    assert files.keys() == {"order.json", "control.json", "links-9"}
    assert files["links-9"] == b"sealed"
    order = json.loads(files["order.json"])
    assert (order["replica"], order["epoch"], order["target"]) == ("u1", 2, f"/store/{FOLDER}")
    assert json.loads(files["control.json"])["rate"] == 5
    refused = spec.model_copy(
        update={"answer": LinkAnswer(seq=10, reason="GrantRevoked", message="ended")}
    )
    files = pullerjob.told("u1", refused)
    assert json.loads(files["refused-10"]) == {"reason": "GrantRevoked", "message": "ended"}


@pytest.mark.parametrize(
    "folder",
    ["/etc", "huiju-data/..", "huiju-data/u/../../etc", "huiju-data", f"{FOLDER}/x", f"/{FOLDER}"],
)
def test_no_folder_but_a_copys_is_written_in(folder: str) -> None:
    assert not pullerjob.folder_is_ours(folder)
    assert pullerjob.folder_is_ours(FOLDER)


def test_names_tell_transfers_and_modes_apart() -> None:
    uid = "0dc8deb0-1b9b-467e-97ee-c9f3f91c8325"
    names = {
        pullerjob.job_name(uid, epoch, mode)
        for epoch in (1, 2, 999_999_999)
        for mode in ("Pull", "Verify", "Repair", "Remove")
    }
    assert len(names) == 12
    assert all(len(name) <= 63 for name in names)
