"""The guard in the pods of a placement: what is put in, what is refused, what it costs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from huiju.api.center import RegistryMirror, Sharing
from huiju.api.reasons import Reason
from huiju.centers.guarding import RESOURCES, runs_sidecars, with_guard
from huiju.centers.lease import PROFILES, LeaseTerms, sentinel_url
from huiju.centers.objects import Container, PodSpec, Resources
from huiju.centers.render import DispatchRefused, RenderRefused, render
from huiju.centers.requests import spec_requests
from huiju.guard.terms import read_terms
from huiju.scheduling.model import CPU, MEMORY
from tests.unit.centers.workloads import job, pod_spec, target

IMAGE = "huiju.example/huiju:1.2"
RESCHEDULE = {"policy": "Reschedule"}


def terms(profile: str = "default") -> LeaseTerms:
    return LeaseTerms(sentinel_url("huiju-system"), PROFILES[profile])


def workload(template: Any = None, *, profile: str = "default", **more: Any) -> dict[str, Any]:
    spec = more.pop("spec", {})
    made = job(template, failover=RESCHEDULE, **spec)
    bundle = render(made, target(lease=terms(profile), image=IMAGE, **more))
    assert bundle.guarded
    found: dict[str, Any] = bundle.objects[-1]
    return found


def guarded(template: Any = None, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = workload(template, **more)["spec"]["template"]["spec"]
    return found


def container(name: str = "train", **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": "registry.example/pangu:910b", **fields}


def told(spec: dict[str, Any]) -> dict[str, str]:
    """The guard's environment as a kubelet would hand it over."""
    found = {}
    for one in spec["initContainers"][0]["env"]:
        text = one.get("value", "10.1.2.3")
        found[one["name"]] = text.replace("$(HUIJU_POD_IP)", "10.1.2.3").replace("$$(", "$(")
    return found


def test_the_guard_comes_first_and_holds_everything_back_until_it_saw_the_lease() -> None:
    first = container("fetch")
    spec = guarded(pod_spec(initContainers=[first]))
    guard, second, last = spec["initContainers"]
    assert (second["name"], last["name"]) == ("fetch", "huiju-prepare")
    assert (guard["name"], guard["image"], guard["args"]) == ("huiju-guard", IMAGE, ["guard"])
    assert guard["restartPolicy"] == "Always"
    assert guard["startupProbe"]["httpGet"] == {"path": "/started", "port": 29490}
    assert guard["resources"] == {"requests": RESOURCES, "limits": RESOURCES}
    security = guard["securityContext"]
    assert security["runAsNonRoot"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_guard_understands_what_it_is_told() -> None:
    read = read_terms(told(guarded(profile="fast")))
    assert read.sentinel == ("huiju-sentinel.huiju-system.svc", 8083, "/lease")
    assert (read.center, read.poll, read.bind, read.pod_ip) == (
        "south",
        2.0,
        "10.1.2.3",
        "10.1.2.3",
    )
    assert read.probes == {}


def test_the_kubelet_asks_the_guard_after_every_main_container() -> None:
    spec = guarded({"spec": {"containers": [container(), container("logger")]}})
    paths = [one["livenessProbe"]["httpGet"]["path"] for one in spec["containers"]]
    assert paths == ["/alive/train", "/alive/logger"]


@pytest.mark.parametrize("name", PROFILES)
def test_two_failures_fit_into_the_time_that_the_profile_gives(name: str) -> None:
    profile = PROFILES[name]
    probe = guarded(profile=name)["containers"][0]["livenessProbe"]
    periods = probe["failureThreshold"] * probe["periodSeconds"]
    assert probe["failureThreshold"] == 2
    assert profile.stop / 2 < periods + probe["timeoutSeconds"] <= profile.stop


@pytest.mark.parametrize(
    ("given", "profile", "grace"),
    [
        (None, "default", 30),
        (600, "default", 120),
        (60, "default", 60),
        (600, "fast", 30),
        (0, "fast", 0),
    ],
)
def test_the_grace_period_is_cut_to_what_the_hub_waits(
    given: int | None, profile: str, grace: int
) -> None:
    fields = {} if given is None else {"terminationGracePeriodSeconds": given}
    assert guarded(pod_spec(**fields), profile=profile)["terminationGracePeriodSeconds"] == grace


def test_own_probes_are_asked_by_the_guard_with_numbers_for_names() -> None:
    header = {"name": "X", "value": "$(NODE_NAME)"}
    main = container(
        ports=[{"name": "web", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "web"}, "failureThreshold": 30},
        livenessProbe={"httpGet": {"port": 9000, "path": "/up", "httpHeaders": [header]}},
        readinessProbe={"exec": {"command": ["true"]}},
    )
    spec = guarded({"spec": {"containers": [main]}})
    left = spec["containers"][0]
    assert "startupProbe" not in left
    assert left["livenessProbe"]["httpGet"]["path"] == "/alive/train"
    assert left["readinessProbe"] == {"exec": {"command": ["true"]}}
    assert read_terms(told(spec)).probes == {
        "train": {
            "startup": {"tcpSocket": {"port": 8080}, "failureThreshold": 30},
            "liveness": {"httpGet": {"port": 9000, "path": "/up", "httpHeaders": [header]}},
        }
    }
    raw = next(e for e in spec["initContainers"][0]["env"] if e["name"] == "HUIJU_GUARD_PROBES")
    assert "$$(NODE_NAME)" in raw["value"], "Kubernetes would expand it"


@pytest.mark.parametrize(
    ("changes", "field", "cure"),
    [
        ({"livenessProbe": {"exec": {"command": ["ok"]}}}, "[0].livenessProbe.exec", "httpGet"),
        ({"startupProbe": {"grpc": {"port": 1}}}, "[0].startupProbe.grpc", "tcpSocket"),
        ({"livenessProbe": {}}, "[0].livenessProbe", "exactly one"),
        ({"livenessProbe": {"httpGet": {"port": "web"}}}, "[0].livenessProbe", "named ports"),
        ({"livenessProbe": {"tcpSocket": {"port": 0}}}, "spec.template.spec", "int"),
        ({"ports": [{"containerPort": 29490}]}, "port 29490", "take another"),
        ({"name": "huiju-guard"}, "huiju-guard", "rename"),
    ],
)
def test_what_no_guard_can_stand_in_is_refused_wherever_it_would_run(
    changes: dict[str, Any], field: str, cure: str
) -> None:
    template = {"spec": {"containers": [container() | changes]}}
    with pytest.raises(RenderRefused) as refusal:
        render(job(template, failover=RESCHEDULE), target())
    assert refusal.value.reason is Reason.INVALID_TEMPLATE
    assert field in refusal.value.message
    assert cure in refusal.value.message
    render(job(template), target())  # without failover it is nobody's matter


def test_a_pod_without_the_clusters_names_cannot_be_guarded() -> None:
    with pytest.raises(RenderRefused, match="dnsPolicy"):
        guarded(pod_spec(dnsPolicy="Default"))
    assert "dnsPolicy" not in guarded()
    assert guarded(pod_spec(dnsPolicy="ClusterFirst", dnsConfig={"options": [{"name": "ndots"}]}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dnsPolicy", "None"),
        ("dnsConfig", {"nameservers": ["127.0.0.1"]}),
        ("hostAliases", [{"ip": "127.0.0.1", "hostnames": ["huiju-sentinel.huiju-system.svc"]}]),
        ("shareProcessNamespace", True),
    ],
)
def test_no_pod_answers_its_own_guard_or_reaches_its_process(field: str, value: object) -> None:
    with pytest.raises(RenderRefused, match=rf"spec\.template\.spec\.{field}") as refusal:
        guarded(pod_spec(**{field: value}))
    assert refusal.value.reason is Reason.INVALID_TEMPLATE


def test_the_rendezvous_port_must_not_be_the_guards() -> None:
    with pytest.raises(RenderRefused, match=r"spec\.launch\.port"):
        guarded(spec={"launch": {"port": 29490}})


def test_the_guards_image_is_the_owners_matter_as_any_other() -> None:
    mirror = RegistryMirror(prefix="huiju.example/", replacement="mirror.local/h/")
    spec = guarded(mirrors=(mirror,))
    assert spec["initContainers"][0]["image"] == "mirror.local/h/huiju:1.2"
    with pytest.raises(DispatchRefused, match=IMAGE):
        guarded(sharing=Sharing(image_prefixes=["registry.example/"]))


def test_the_workload_says_that_it_is_guarded_and_fails_by_the_guards_word() -> None:
    made = workload(spec={"workers": 3})
    assert made["metadata"]["labels"]["huiju.dev/failover"] == "guarded"
    rule = made["spec"]["podFailurePolicy"]["rules"][1]
    assert rule["onExitCodes"]["containerName"] == "huiju-guard"
    assert rule["onExitCodes"]["values"] == [93, 94]
    plain = render(job(failover=RESCHEDULE), target())
    assert not plain.guarded
    assert plain.objects[-1]["metadata"]["labels"]["huiju.dev/failover"] == "unguarded"
    assert "huiju-guard" not in json.dumps(plain.objects)


def test_a_node_must_have_room_for_the_guard_too() -> None:
    own = PodSpec(
        containers=[Container("train", resources=Resources({"cpu": "2", "memory": "1Gi"}))]
    )
    plain, with_it = spec_requests(own), spec_requests(with_guard(own))
    assert with_it[CPU] - plain[CPU] == 100
    assert with_it[MEMORY] - plain[MEMORY] == 64 << 20
    rendered = PodSpec(
        containers=own.containers,
        init_containers=[
            Container("huiju-guard", resources=Resources(dict(RESOURCES)), restart_policy="Always")
        ],
    )
    assert spec_requests(rendered) == with_it


@pytest.mark.parametrize(
    ("version", "can"),
    [
        ("v1.28.15", False),
        ("v1.29.0", True),
        ("v1.31.4-eks-1", True),
        ("v1.30+", True),
        ("", True),
        ("v2.0.0", True),
        ("v1.9.3", False),
    ],
)
def test_which_servers_have_sidecars(version: str, can: bool) -> None:
    assert runs_sidecars(version) is can


# --- progress ---

FILE = {"deadline": "10m", "file": "/scratch/beat"}
SCRATCH: dict[str, Any] = {
    "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    "livenessProbe": {"httpGet": {"port": 1}},
}


def watched(progress: dict[str, Any], lease: LeaseTerms | None = None) -> dict[str, Any]:
    template = {"spec": {"containers": [container(**SCRATCH)], "volumes": [{"name": "scratch"}]}}
    view = job(template, progress=progress)
    bundle = render(view, target(lease=lease, image=IMAGE))
    assert bundle.guarded is (lease is not None)
    rules = bundle.objects[-1]["spec"]["podFailurePolicy"]["rules"]
    assert rules[1]["onExitCodes"]["values"] == [93, 94]
    found: dict[str, Any] = bundle.objects[-1]["spec"]["template"]["spec"]
    return found


def test_a_job_under_no_lease_has_a_guard_that_watches_its_progress() -> None:
    spec = watched(FILE)
    guard = spec["initContainers"][0]
    assert guard["volumeMounts"] == [{"name": "scratch", "mountPath": "/scratch", "readOnly": True}]
    read = read_terms(told(spec))
    assert read.sentinel is None
    assert read.progress is not None
    assert (read.progress.deadline, read.progress.file) == (600.0, "/scratch/beat")
    assert read.probes["train"]["liveness"] == {"httpGet": {"port": 1}}
    assert "terminationGracePeriodSeconds" not in spec, "no lease, no limit of it"


def test_progress_may_be_an_answer_and_goes_with_a_lease() -> None:
    spec = watched({"deadline": "90s", "http": {"port": 80, "path": "/step"}}, terms("fast"))
    read = read_terms(told(spec))
    assert read.sentinel is not None
    assert read.progress == (90.0, "", 80, "/step", 0.0)
    assert "volumeMounts" not in spec["initContainers"][0]


def test_the_guard_is_told_how_long_the_start_may_take() -> None:
    read = read_terms(told(watched({**FILE, "startDeadline": "1h"})))
    assert read.progress is not None
    assert (read.progress.deadline, read.progress.start_deadline) == (600.0, 3600.0)


def test_a_file_that_the_guard_cannot_see_is_refused() -> None:
    with pytest.raises(RenderRefused, match=r"spec\.progress\.file: /tmp/beat .*emptyDir"):
        watched({"deadline": "90s", "file": "/tmp/beat"})
