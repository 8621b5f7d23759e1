"""What accounts may not do is refused by real API servers, asked from real pods."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from e2e.cluster import Cluster
from e2e.commands import run, step, until
from e2e.network import SYSTEM, WORKER_IMAGE, Network
from e2e.team import ASCEND, Team, hub_id

Fields = dict[str, Any]
HUIJU = "/apis/huiju.dev/v1alpha1"
VIEW = "/apis/view.huiju.dev/v1alpha1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
LISTENERS = """
import json
seen = {"listening": [], "established": []}
for path in ("/proc/net/tcp", "/proc/net/tcp6"):
    for line in open(path).readlines()[1:]:
        words = line.split()
        local, remote, state = words[1], words[2], words[3]
        address, port = local.split(":")
        if state == "0A":
            seen["listening"].append([int(port, 16), int(address, 16) == 0])
        elif state == "01":
            seen["established"].append([int(port, 16), int(remote.split(":")[1], 16)])
print(json.dumps(seen))
"""


class Asker:
    """A pod that asks as its account."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.name = name

    def ask(self, *questions: Fields) -> list[Fields]:
        """The answers, in order."""
        where = ("--kubeconfig", str(self.cluster.kubeconfig))
        words = ("exec", "-i", self.name, "-n", self.namespace, "--", "python3")
        text = run(
            *("kubectl", *where, *words, "/opt/e2e/ask.py"),
            stdin=json.dumps(questions),
            timeout=120,
        )
        answers: list[Fields] = json.loads(text)
        return answers

    def may(self, method: str, path: str, **more: Any) -> Fields:
        """An answer that must be good."""
        (answer,) = self.ask({"method": method, "path": path, **more})
        assert 200 <= answer["code"] < 300, (method, path, answer)
        return answer

    def may_not(self, *questions: tuple[str, str, Fields | None]) -> None:
        """Each of these must be refused with 403."""
        asked = [
            {"method": method, "path": path, **({"body": body} if body else {})}
            for method, path, body in questions
        ]
        for question, answer in zip(asked, self.ask(*asked), strict=True):
            assert answer["code"] == 403, (question["method"], question["path"], answer)


@contextmanager
def asking(cluster: Cluster, namespace: str, account: str) -> Iterator[Asker]:
    """A pod of this account, for as long as the context lasts."""
    name = f"ask-{account}"
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceAccountName": account,
            "automountServiceAccountToken": True,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": WORKER_IMAGE,
                    "command": ["python3", "-c", "import time; time.sleep(1800)"],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }
    cluster.apply(pod)
    try:
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace)
        yield Asker(cluster, namespace, name)
    finally:
        cluster.delete("pod", name, namespace)


def test_a_user_sees_no_more_than_their_namespace(net: Network, squad: Team) -> None:
    step("as a user with `edit` in one namespace")
    space = squad.namespace
    net.hub.kubectl("create", "serviceaccount", "alice", "-n", space)
    who = f"--serviceaccount={space}:alice"
    net.hub.kubectl("create", "rolebinding", "alice", "-n", space, "--clusterrole=edit", who)
    squad.submit("mine")
    squad.until_phase("mine", "Succeeded")
    mine = f"{VIEW}/namespaces/{space}/crossregionjobs/mine"
    theirs = f"{VIEW}/namespaces/kube-system/crossregionjobs/any"
    with asking(net.hub, space, "alice") as alice:
        assert '"Explanation"' in alice.may("GET", f"{mine}/why")["message"]
        assert '"event": "report"' in alice.may("GET", f"{mine}/log")["message"]
        alice.may("GET", f"{HUIJU}/namespaces/{space}/crossregionjobs")
        alice.may_not(
            ("GET", f"{theirs}/why", None),
            ("GET", f"{theirs}/log", None),
            ("GET", f"{HUIJU}/crossregionjobs", None),
            ("GET", f"{HUIJU}/computecenters", None),
            ("PATCH", f"{HUIJU}/computecenters/south", {"spec": {"cordoned": True}}),
            ("GET", f"{VIEW}/computecenters/south/cordon", None),
            ("PATCH", f"{HUIJU}/namespaces/{space}/crossregionjobs/mine/status", {"status": {}}),
            ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/center-south", None),
            ("GET", f"{HUIJU}/namespaces/huiju-center-north/centerworks", None),
        )
        pods = net.hub.list("pods", SYSTEM, "app.kubernetes.io/component=hub")
        leads = _leads_to(net)
        assert leads in {pod["status"]["podIP"] for pod in pods}
        server = f"https://{leads}:8443"
        step("past the API server, straight to the hub's pod")
        admin = {"X-Remote-User": "kubernetes-admin", "X-Remote-Group": "system:masters"}
        straight: list[Fields] = [
            {"method": "GET", "path": f"{mine}/why", "server": server},
            {"method": "GET", "path": f"{mine}/why", "server": server, "headers": admin},
            {"method": "GET", "path": f"{mine}/why", "server": server, "anonymous": True},
        ]
        for answer in alice.ask(*straight):
            assert answer["code"] in (0, 401, 403), answer


def test_the_hubs_account_does_its_work_and_nothing_else(net: Network, squad: Team) -> None:
    step("as the hub's own account, on the hub")
    squad.submit("other", suspend=True)
    space = squad.namespace
    job = f"{HUIJU}/namespaces/{space}/crossregionjobs/other"
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding"}
    with asking(net.hub, SYSTEM, "huiju-hub") as hub:
        hub.may("GET", f"{HUIJU}/crossregionjobs?limit=1")
        hub.may("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/center-south")
        hub.may_not(
            ("PATCH", job, {"spec": {"cancel": True}}),
            ("GET", "/api/v1/secrets", None),
            ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets", None),
            ("GET", "/api/v1/namespaces/kube-system/secrets/any", None),
            ("DELETE", f"/api/v1/namespaces/{SYSTEM}/secrets/center-south", None),
            ("POST", f"/api/v1/namespaces/{SYSTEM}/pods", {"kind": "Pod", "apiVersion": "v1"}),
            ("PATCH", f"{HUIJU}/computecenters/south", {"spec": {"cordoned": True}}),
            ("POST", f"{RBAC}/clusterrolebindings", binding | {"metadata": {"name": "x"}}),
        )


def test_the_hubs_account_in_a_center_is_bound_by_its_owner(net: Network, squad: Team) -> None:
    step("as the hub's account in south")
    squad.submit("made", "report")
    squad.until_phase("made", "Succeeded")
    (workload,) = [item for _, item in squad.workloads("made")]
    space = workload["metadata"]["namespace"]
    jobs = f"/apis/batch/v1/namespaces/{space}/jobs"

    def forged(name: str, *, labels: Fields | None = None, **pod: Any) -> Fields:
        container = {"name": "main", "image": WORKER_IMAGE, **pod.pop("container", {})}
        spec = {
            "restartPolicy": "Never",
            "priorityClassName": "huiju-federated",
            "containers": [container],
            **pod,
        }
        mark = {"huiju.dev/hub": hub_id(net.hub)} if labels is None else labels
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "labels": mark},
            "spec": {"suspend": True, "template": {"spec": spec}},
        }

    net.south.kubectl("create", "job", "theirs", "--image", WORKER_IMAGE, "-n", "default")
    dry = "?dryRun=All"
    with asking(net.south, SYSTEM, "huiju-hub") as hub:
        hub.may("GET", "/api/v1/nodes?limit=1")
        hub.may("POST", jobs + dry, body=forged("good"))
        hub.may_not(
            ("POST", jobs + dry, forged("unmarked", labels={})),
            ("POST", jobs + dry, forged("host-network", hostNetwork=True)),
            ("POST", jobs + dry, forged("chooser", nodeName=net.south.worker)),
            ("POST", jobs + dry, forged("account", serviceAccountName="builder")),
            ("POST", jobs + dry, forged("rank", priorityClassName="system-node-critical")),
            (
                "POST",
                jobs + dry,
                forged("privileged", container={"securityContext": {"privileged": True}}),
            ),
            ("POST", jobs + dry, forged("image", container={"image": "elsewhere/train:1"})),
            (
                "POST",
                jobs + dry,
                forged("path", volumes=[{"name": "v", "hostPath": {"path": "/etc"}}]),
            ),
            ("POST", f"/apis/batch/v1/namespaces/default/jobs{dry}", forged("elsewhere")),
            ("DELETE", f"/apis/batch/v1/namespaces/default/jobs/theirs{dry}", None),
            ("PATCH", "/apis/batch/v1/namespaces/default/jobs/theirs", {"spec": {"suspend": True}}),
            ("GET", "/api/v1/secrets", None),
            ("POST", f"/api/v1/namespaces/{space}/pods{dry}", {"kind": "Pod", "apiVersion": "v1"}),
            ("DELETE", f"/api/v1/nodes/{net.south.worker}{dry}", None),
            ("DELETE", f"/api/v1/namespaces/{space}{dry}", None),
        )
    net.south.delete("job", "theirs", "default")
    refused = squad.huiju("submit", *_elsewhere())
    assert "elsewhere" in refused
    told = squad.until("elsewhere", "refused by south's owner", lambda s: s.get("history"))
    assert told["history"][0]["reason"] == "DispatchRefused", told
    assert "imagePrefixes" in told["history"][0]["message"], told


def _elsewhere() -> tuple[str, ...]:
    model = f"{ASCEND.model}:1"
    words = ("--name", "elsewhere", "--queue", "default", "--accelerator", model)
    return (*words, "--image", "elsewhere/train:1")


def test_an_agent_reads_its_own_mailbox_alone(net: Network) -> None:
    step("as north's agent, on the hub")
    mailbox = "huiju-center-north"
    center = f"{HUIJU}/computecenters"
    # The hub gives the agent no token for pods; this pod has one of the same account.
    with asking(net.hub, mailbox, "huiju-agent") as agent:
        agent.may("GET", f"{HUIJU}/namespaces/{mailbox}/centerworks?limit=1")
        agent.may("GET", f"{center}/north")
        agent.may_not(
            ("GET", f"{center}/south", None),
            ("GET", f"{HUIJU}/crossregionjobs", None),
            ("GET", f"{HUIJU}/centerworks", None),
            ("GET", f"/api/v1/namespaces/{mailbox}/secrets", None),
            ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/center-south", None),
            ("GET", "/api/v1/namespaces/default/configmaps/any", None),
            ("PATCH", f"{center}/north", {"spec": {"connection": {"pull": {}}}}),
            ("PATCH", f"{center}/north/status", {"status": {}}),
            ("POST", f"{HUIJU}/namespaces/{mailbox}/centerworks", {"kind": "CenterWork"}),
        )


def test_pods_listen_and_call_as_their_network_policies_say(net: Network) -> None:
    step("what hub, agent and sentinel really listen on and call")
    for cluster, part in ((net.hub, "hub"), (net.north, "agent"), (net.south, "sentinel")):
        policy = cluster.get("networkpolicy", f"huiju-{part}", SYSTEM)["spec"]
        pods = cluster.list("pods", SYSTEM, f"app.kubernetes.io/component={part}")
        chosen = policy["podSelector"]["matchLabels"].items()
        assert all(chosen <= pod["metadata"]["labels"].items() for pod in pods)
        assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
        let_in = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
        let_out = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
        listening: set[int] = set()
        for pod in pods:
            words = ("exec", pod["metadata"]["name"], "-n", SYSTEM, "-c", part, "--")
            seen = json.loads(cluster.kubectl(*words, "/opt/huiju/bin/python", "-c", LISTENERS))
            assert not any(everywhere for _, everywhere in seen["listening"]), seen
            here = {port for port, _ in seen["listening"]}
            listening |= here
            called = {remote for local, remote in seen["established"] if local not in here}
            assert called <= let_out, (called, let_out)
        assert listening == let_in, (listening, let_in)


def _leads_to(net: Network) -> str:
    """The address that the view API's Service leads to."""

    def address() -> str:
        found = net.hub.get("endpointslice", "huiju-view", SYSTEM)
        return str(found["endpoints"][0]["addresses"][0])

    return until("the view API leads somewhere", address)
