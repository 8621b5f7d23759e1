"""From a job and its placement to the objects that run it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from huiju.api.center import NamespaceMapping, RegistryMirror, Sharing
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle
from huiju.centers.carried import Carried, CarriedObject
from huiju.centers.images import mirrored
from huiju.centers.jobview import JobView
from huiju.centers.render import DispatchRefused, RenderRefused, render
from tests.unit.centers.workloads import HUB, RESOURCE, UID, job, pod_spec, target


def made(view: JobView | None = None, **fields: Any) -> Bundle:
    return render(view or job(), target(**fields))


def spec_of(view: JobView | None = None, **fields: Any) -> Any:
    return made(view, **fields).objects[-1]["spec"]["template"]["spec"]


def names_of(spec: dict[str, Any]) -> set[str]:
    return {one["name"] for one in spec["containers"][0]["env"]}


# --- the objects ---


def test_a_single_pod_job_is_one_object() -> None:
    bundle = made()
    assert [one["kind"] for one in bundle.objects] == ["Job"]
    workload = bundle.objects[0]
    assert workload["metadata"]["name"] == bundle.workload == "train-3f2a9-e1"
    assert workload["metadata"]["namespace"] == bundle.center_namespace
    assert "huiju.dev/dependents" not in workload["metadata"]["annotations"]
    assert "subdomain" not in workload["spec"]["template"]["spec"]


def test_an_attempt_is_one_try() -> None:
    spec = made().objects[0]["spec"]
    assert (spec["parallelism"], spec["completions"], spec["backoffLimit"]) == (1, 1, 0)
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert "ttlSecondsAfterFinished" not in spec
    assert "suspend" not in spec


def test_a_gang_is_an_indexed_job_behind_a_headless_service() -> None:
    bundle = made(job(workers=4, launch={"port": 4000}))
    service, workload = bundle.objects
    assert service["kind"] == "Service"
    assert service["metadata"]["name"] == bundle.workload
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["ports"][0]["port"] == 4000
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["selector"]["huiju.dev/epoch"] == "1"
    assert (workload["spec"]["parallelism"], workload["spec"]["completions"]) == (4, 4)
    assert workload["spec"]["completionMode"] == "Indexed"
    assert workload["spec"]["template"]["spec"]["subdomain"] == bundle.workload
    notes = workload["metadata"]["annotations"]
    assert notes["huiju.dev/dependents"] == f"services/{bundle.workload}"


def test_everything_says_whose_it_is() -> None:
    carried = Carried((CarriedObject("Secret", "token", {"data": {}}),))
    bundle = made(job(workers=2), carried=carried, epoch=7)
    assert [one["kind"] for one in bundle.objects] == ["Secret", "Service", "Job"]
    for one in bundle.objects:
        labels = one["metadata"]["labels"]
        assert labels["huiju.dev/hub"] == HUB
        assert labels["huiju.dev/job-uid"] == UID
        assert labels["huiju.dev/epoch"] == "7"
        origin = one["metadata"]["annotations"]["huiju.dev/origin"]
        assert origin == f"{HUB}/team-a/train/{UID}/7"
        assert "-e7" in one["metadata"]["name"]
    pods = bundle.objects[-1]["spec"]["template"]["metadata"]["labels"]
    assert bundle.objects[-1]["metadata"]["labels"] == pods
    assert bundle.objects[-1]["metadata"]["annotations"]["huiju.dev/dependents"] == (
        f"secrets/{bundle.workload}-token,services/{bundle.workload}"
    )


def test_times_become_what_the_center_enforces_or_remembers() -> None:
    workload = made(job(maxRuntime="1h30m", schedulingDeadline="2m")).objects[-1]
    assert workload["spec"]["activeDeadlineSeconds"] == 5400
    assert workload["metadata"]["annotations"]["huiju.dev/scheduling-deadline"] == "2m"
    assert made(job(maxRuntime="10ms")).objects[-1]["spec"]["activeDeadlineSeconds"] == 1
    assert "activeDeadlineSeconds" not in made().objects[-1]["spec"]


def test_the_same_input_gives_the_same_bundle_and_leaves_the_template_alone() -> None:
    view = job(workers=2)
    before = copy.deepcopy(view.spec.template)
    assert made(view) == made(view)
    assert made(view).hash == made(view).hash
    assert made(view).hash != made(view, epoch=2).hash
    assert view.spec.template == before


def test_the_owner_may_map_a_namespace() -> None:
    mapping = NamespaceMapping(hub="team-a", center="guests")
    bundle = made(sharing=Sharing(namespace_mappings=[mapping]))
    assert bundle.center_namespace == "guests"
    assert made().center_namespace == f"huiju-{HUB}-team-a"


# --- the pods ---


def test_image_and_accelerators_are_filled_in() -> None:
    chosen = [{"model": "ascend-910b3", "perWorker": 4, "image": "registry.example/other:1"}]
    container = spec_of(job(accelerators=chosen))["containers"][0]
    assert container["image"] == "registry.example/other:1"
    assert container["resources"]["requests"] == {RESOURCE: "4"}
    assert container["resources"]["limits"] == {RESOURCE: "4"}


def test_other_resources_stay_as_the_user_wrote_them() -> None:
    wanted = {"requests": {"cpu": "32", RESOURCE: 8}, "limits": {"memory": "1Gi"}}
    template = {"spec": {"containers": [{"name": "a", "image": "i", "resources": wanted}]}}
    resources = spec_of(job(template))["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "32", RESOURCE: "8"}
    assert resources["limits"] == {"memory": "1Gi", RESOURCE: "8"}


def test_only_the_first_container_gets_the_accelerators() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}
    main, other = spec_of(job(template))["containers"]
    assert main["resources"]["limits"][RESOURCE] == "8"
    assert "resources" not in other
    assert {one["name"] for one in other["env"]} >= {"HUIJU_JOB", "NNODES"}


def test_every_container_knows_job_center_and_epoch() -> None:
    template = pod_spec(initContainers=[{"name": "prepare", "image": "registry.example/p"}])
    spec = spec_of(job(template), epoch=3)
    for container in (*spec["containers"], *spec["initContainers"]):
        values = {one["name"]: one.get("value") for one in container["env"]}
        assert values["HUIJU_JOB"] == "train"
        assert values["HUIJU_CENTER"] == "south"
        assert values["HUIJU_EPOCH"] == "3"


def test_shared_memory_is_mounted_unless_the_user_does_it() -> None:
    spec = spec_of(job(launch={"sharedMemory": "64Gi"}))
    volume = spec["volumes"][0]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "64Gi"}
    mount = {"name": volume["name"], "mountPath": "/dev/shm"}
    assert spec["containers"][0]["volumeMounts"] == [mount]
    own = {"name": "mine", "mountPath": "/dev/shm/"}
    template = {
        "spec": {
            "containers": [{"name": "a", "image": "i", "volumeMounts": [own]}],
            "volumes": [{"name": "mine", "emptyDir": {}}],
        }
    }
    spec = spec_of(job(template))
    assert spec["volumes"] == [{"name": "mine", "emptyDir": {}}]
    assert spec["containers"][0]["volumeMounts"] == [own]


def test_pods_get_no_token_unless_the_user_wants_one() -> None:
    assert spec_of()["automountServiceAccountToken"] is False
    wanted = job(pod_spec(automountServiceAccountToken=True, serviceAccountName="trainer"))
    assert spec_of(wanted)["automountServiceAccountToken"] is True
    assert spec_of(wanted)["serviceAccountName"] == "trainer"


def test_the_centers_priority_class_is_set() -> None:
    assert "priorityClassName" not in spec_of()
    lent = Sharing(priority_class_name="federated")
    assert spec_of(sharing=lent)["priorityClassName"] == "federated"


def test_labels_and_annotations_of_the_user_stay_but_for_ours() -> None:
    template = pod_spec()
    template["metadata"] = {
        "name": "ignored",
        "labels": {"team": "a", "huiju.dev/epoch": "99"},
        "annotations": {"note": "n"},
    }
    metadata = made(job(template)).objects[-1]["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["labels"]["huiju.dev/epoch"] == "1"
    assert metadata["annotations"] == {"note": "n"}
    assert "name" not in metadata


def test_what_travels_is_what_the_pods_refer_to() -> None:
    volume = {"name": "v", "secret": {"secretName": "token"}}
    carried = Carried((CarriedObject("Secret", "token", {"data": {"a": "Yg=="}}),), ("token",))
    bundle = made(job(pod_spec(volumes=[volume])), carried=carried)
    name = bundle.objects[0]["metadata"]["name"]
    spec = bundle.objects[-1]["spec"]["template"]["spec"]
    assert spec["volumes"][0]["secret"]["secretName"] == name
    assert spec["imagePullSecrets"] == [{"name": name}]


# --- where ---

LABELS = {"accelerator-type": "module-910b-8", "chip": "910B3"}
OURS = [
    {"key": "accelerator-type", "operator": "In", "values": ["module-910b-8"]},
    {"key": "chip", "operator": "In", "values": ["910B3"]},
]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def test_the_models_labels_are_required_and_the_planned_nodes_preferred() -> None:
    affinity = spec_of(model_labels=LABELS, nodes=("n1", "n2"))["affinity"]["nodeAffinity"]
    assert affinity[REQUIRED] == {"nodeSelectorTerms": [{"matchExpressions": OURS}]}
    (preference,) = affinity[PREFERRED]
    assert preference["preference"]["matchExpressions"][0]["values"] == ["n1", "n2"]
    assert "n1" not in str(affinity[REQUIRED])


def test_without_labels_and_nodes_there_is_no_affinity() -> None:
    assert "affinity" not in spec_of()


def test_the_users_own_affinity_still_holds() -> None:
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    disk = {"key": "disk", "operator": "Exists"}
    field = {"key": "metadata.name", "operator": "NotIn", "values": ["bad"]}
    wish = {"weight": 1, "preference": {"matchExpressions": [disk]}}
    own = {
        "podAntiAffinity": {"x": 1},
        "nodeAffinity": {
            REQUIRED: {
                "nodeSelectorTerms": [
                    {"matchExpressions": [zone]},
                    {"matchFields": [field]},
                    {},
                ]
            },
            PREFERRED: [wish],
        },
    }
    view = job(pod_spec(affinity=own))
    affinity = spec_of(view, model_labels=LABELS, nodes=("n1",))["affinity"]
    assert affinity["podAntiAffinity"] == {"x": 1}
    first, second, third = affinity["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert first == {"matchExpressions": [zone, *OURS]}
    assert second == {"matchFields": [field], "matchExpressions": OURS}
    assert third == {}
    assert affinity["nodeAffinity"][PREFERRED][0] == wish


def test_avoided_nodes_are_kept_off_by_name_in_every_alternative() -> None:
    ban = [{"key": "metadata.name", "operator": "NotIn", "values": [name]} for name in ("n3", "n7")]
    plain = spec_of(avoided=("n7", "n3"))["affinity"]["nodeAffinity"]
    assert plain == {REQUIRED: {"nodeSelectorTerms": [{"matchFields": ban}]}}
    zone = {"key": "zone", "operator": "In", "values": ["a"]}
    own = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [zone]}, {}]}}}
    terms = spec_of(job(pod_spec(affinity=own)), model_labels=LABELS, avoided=("n7", "n3"))
    assert terms["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"] == [
        {"matchExpressions": [zone, *OURS], "matchFields": ban},
        {},
    ]


def test_the_jobs_node_selector_joins_the_templates() -> None:
    view = job(pod_spec(nodeSelector={"a": "1"}), placement={"nodeSelector": {"b": "2"}})
    assert spec_of(view)["nodeSelector"] == {"a": "1", "b": "2"}


# --- images ---

MIRRORS = (
    RegistryMirror(prefix="registry.example/", replacement="mirror.south/r/"),
    RegistryMirror(prefix="registry.example/pangu", replacement="mirror.south/special"),
)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("registry.example/pangu:1", "mirror.south/special:1"),
        ("registry.example/llama@sha256:00", "mirror.south/r/llama@sha256:00"),
        ("elsewhere/pangu:1", "elsewhere/pangu:1"),
        ("docker.io/registry.example/pangu", "docker.io/registry.example/pangu"),
    ],
)
def test_the_longest_prefix_of_a_mirror_holds(image: str, expected: str) -> None:
    assert mirrored(image, MIRRORS) == expected
    assert mirrored(image, MIRRORS[::-1]) == expected


def test_every_image_of_the_pods_comes_from_the_mirror() -> None:
    template = pod_spec(
        initContainers=[{"name": "i", "image": "registry.example/i"}],
        volumes=[{"name": "w", "image": {"reference": "registry.example/w"}}],
    )
    spec = spec_of(job(template), mirrors=MIRRORS)
    assert spec["containers"][0]["image"] == "mirror.south/special:910b"
    assert spec["initContainers"][0]["image"] == "mirror.south/r/i"
    assert spec["volumes"][0]["image"]["reference"] == "mirror.south/r/w"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"initContainers": [{"name": "i", "image": "evil.example/i"}]},
        {"volumes": [{"name": "w", "image": {"reference": "evil.example/w"}}]},
    ],
)
def test_an_image_that_the_owner_does_not_allow_is_refused_by_its_own_name(
    fields: dict[str, Any],
) -> None:
    prefix = "registry.example/" if fields else "trusted.example/"
    lent = Sharing(image_prefixes=[prefix])
    with pytest.raises(DispatchRefused, match="imagePrefixes") as caught:
        made(job(pod_spec(**fields)), sharing=lent, mirrors=MIRRORS)
    assert caught.value.reason is Reason.SHARING_POLICY


def test_images_are_judged_before_they_are_rewritten() -> None:
    made(sharing=Sharing(image_prefixes=["registry.example/"]), mirrors=MIRRORS)


# --- what is refused ---

CONTAINERS = [{"name": "a", "image": "i"}]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({}, "spec"),
        ({"spec": {"containers": []}}, "containers"),
        ({"spec": {"containers": "a"}}, "$.spec.containers"),
        ({"spec": {"containers": [{"name": "a", "env": {"A": "1"}}]}}, "env"),
        ({"spec": {"containers": CONTAINERS, "volumes": {"v": {}}}}, "volumes"),
        ({"spec": {"containers": CONTAINERS, "affinity": []}}, "affinity"),
        ({"spec": {"containers": CONTAINERS}, "metadata": {"labels": {"a": 1}}}, "labels"),
        ({"spec": {"containers": CONTAINERS, "nodeName": "n1"}}, "nodeName"),
        ({"spec": {"containers": CONTAINERS, "subdomain": "x"}}, "subdomain"),
        ({"spec": {"containers": CONTAINERS, "priorityClassName": "high"}}, "priorityClassName"),
        ({"spec": {"containers": CONTAINERS, "schedulingGates": [{"name": "g"}]}}, "Gates"),
        ({"spec": {"containers": CONTAINERS, "restartPolicy": "OnFailure"}}, "restartPolicy"),
        (
            {
                "spec": {
                    "containers": [
                        {"name": "a", "image": "i", "resources": {"limits": {RESOURCE: 2}}}
                    ]
                }
            },
            "perWorker asks for 8",
        ),
    ],
)
def test_a_template_that_cannot_be_run_is_refused_with_its_field(
    template: dict[str, Any], words: str
) -> None:
    view = job()
    view.spec.template = template
    with pytest.raises(RenderRefused) as caught:
        made(view)
    assert caught.value.reason is Reason.INVALID_TEMPLATE
    assert caught.value.message.startswith("spec.template")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (job({"spec": {"containers": [{"name": "a"}]}}), "spec.accelerators[0].image"),
        (
            job(pod_spec(nodeSelector={"a": "1"}), placement={"nodeSelector": {"a": "2"}}),
            "spec.placement.nodeSelector: a is '2' here and '1' in the template",
        ),
    ],
)
def test_a_spec_that_cannot_be_run_is_refused_with_its_field(view: JobView, words: str) -> None:
    with pytest.raises(RenderRefused) as caught:
        made(view)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert words in caught.value.message
