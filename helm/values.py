"""What may be set in the values of the two charts: names, types, defaults and what each is for.

Decides the interface of the charts and nothing of their objects. `values.yaml`,
`values.schema.json` and the tables of the READMEs are generated from here, so an unknown or
misspelled value is refused by Helm with its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$")]
Port = Annotated[int, Field(ge=1, le=65535)]
Labels = dict[str, str]
Free = dict[str, Any]
"""Handed on to Kubernetes, whose own schema judges it."""


def camel(name: str) -> str:
    """`pod_security` as `podSecurity`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


class Values(BaseModel):
    """A level of values; what it does not name is refused."""

    model_config = ConfigDict(extra="forbid", alias_generator=camel, validate_by_name=True)


class Image(Values):
    """The one image of every program."""

    registry: str = Field("", description="Prefix, such as the mirror of an air-gapped site.")
    repository: str = Field("huiju/huiju", min_length=1, description="Name in the registry.")
    tag: str = Field("", description="Tag; the chart's appVersion where empty.")
    digest: str = Field(
        "",
        pattern=r"^(sha256:[0-9a-f]{64})?$",
        description="`sha256:…`; where given it is pulled, whatever the tag.",
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        "IfNotPresent", description="When the kubelet pulls it."
    )
    pull_secrets: list[str] = Field([], description="Names of Secrets with pull credentials.")


class Crds(Values):
    """The kinds of Huiju."""

    enabled: bool = Field(True, description="Install them; off where `crds/` was applied by hand.")
    keep: bool = Field(True, description="Keep them, and with them every job, on uninstall.")


class Amounts(Values):
    """Amounts of one container."""

    cpu: Quantity | None = Field(None, description="CPU; none where null.")
    memory: Quantity | None = Field(None, description="Memory; none where null.")


class Resources(Values):
    """What the hub asks for and may take."""

    requests: Amounts = Field(Amounts(cpu="100m", memory="256Mi"), description="Asked for.")
    limits: Amounts = Field(Amounts(memory="1Gi"), description="At most.")


class Log(Values):
    """What the program prints."""

    format: Literal["text", "json"] = Field("json", description="One line of text, or JSON.")
    level: Literal["debug", "info", "warning"] = Field("info", description="Least level.")


class View(Values):
    """The aggregated API that answers `kubectl huiju why`, `logs` and `whatif`."""

    enabled: bool = Field(True, description="Serve and register `view.huiju.dev`.")
    port: Port = Field(8443, description="Port of the pod; API servers must reach it.")


class Carry(Values):
    """Whose ConfigMaps and Secrets may travel with a job."""

    namespaces: list[str] = Field(
        [],
        description="Namespaces where the hub may read, by name, what a job carries. The owner of"
        " another one can grant it any time by binding ClusterRole `huiju-carry` there.",
    )


class Roles(Values):
    """Roles for people."""

    aggregate: bool = Field(
        True, description="Add the rights on jobs to Kubernetes' own view, edit and admin roles."
    )


class Disruption(Values):
    """How many hubs a drain may take at once."""

    enabled: bool = Field(True, description="Make the budget where there are several replicas.")


class Peers(Values):
    """Who may speak with the hub."""

    enabled: bool = Field(True, description="Make a NetworkPolicy for the hub's pods.")
    metrics_from: list[Free] = Field(
        [], description="NetworkPolicyPeers that may scrape metrics; everybody where empty."
    )
    view_from: list[Free] = Field(
        [],
        description="NetworkPolicyPeers (of type ipBlock: API servers are no pods) that may reach"
        " the view API; everybody where empty, since callers prove themselves by certificate.",
    )
    api_servers: list[str] = Field(
        [], description="CIDRs of the API servers of the hub and its push centers; any if empty."
    )
    api_ports: list[Port] = Field([443, 6443], description="Their ports.")


class ServiceMonitor(Values):
    """For the Prometheus operator."""

    enabled: bool = Field(False, description="Make a ServiceMonitor; needs its CRD.")
    labels: Labels = Field({}, description="More labels, as your Prometheus selects by.")
    interval: str = Field("30s", pattern=r"^[0-9]+(ms|s|m)$", description="Time between scrapes.")


class Rules(Values):
    """Alerts for the Prometheus operator."""

    enabled: bool = Field(False, description="Make a PrometheusRule; needs its CRD.")
    labels: Labels = Field({}, description="More labels, as your Prometheus selects by.")


class Dashboards(Values):
    """Dashboards for Grafana's sidecar."""

    enabled: bool = Field(False, description="Make a ConfigMap of the dashboards.")
    labels: Labels = Field({"grafana_dashboard": "1"}, description="What the sidecar looks for.")


class Failover(Values):
    """Jobs that leave lost centers."""

    enabled: bool = Field(True, description="Let them; false keeps every job where it is.")
    per_minute: int = Field(120, ge=1, description="Jobs that may leave in a minute, all together.")


class Audit(Values):
    """The trail of data sets: who asked, who decided, what was signed, moved, read and removed."""

    claim: str = Field(
        "",
        description="PersistentVolumeClaim for it, ReadWriteMany where hubs stand by: each hub adds"
        " lines to a file of its pod's name. None is kept where empty.",
    )


class Hub(Values):
    """Values of the chart `huiju`."""

    image: Image = Field(Image(), description="The image.")
    guard_image: str = Field(
        "",
        description="Image of the guard in the pods of jobs with automatic failover, as centers"
        " pull it; the hub's own where empty.",
    )
    failover: Failover = Field(Failover(), description="Jobs that leave lost centers.")
    audit: Audit = Field(Audit(), description="The trail of what is done with data sets.")
    replicas: int = Field(2, ge=1, le=5, description="Hubs; one leads, the others stand by.")
    crds: Crds = Field(Crds(), description="The CustomResourceDefinitions.")
    resources: Resources = Field(Resources(), description="Resources of a hub.")
    log: Log = Field(Log(), description="Logging.")
    health_port: Port = Field(8081, description="Port of health pages and metrics.")
    view: View = Field(View(), description="The view API.")
    carry: Carry = Field(Carry(), description="What may travel with jobs.")
    roles: Roles = Field(Roles(), description="Roles for people.")
    disruption_budget: Disruption = Field(Disruption(), description="PodDisruptionBudget.")
    network_policy: Peers = Field(Peers(), description="NetworkPolicy.")
    service_monitor: ServiceMonitor = Field(ServiceMonitor(), description="Scraping.")
    prometheus_rule: Rules = Field(Rules(), description="Alerts.")
    dashboards: Dashboards = Field(Dashboards(), description="Dashboards.")
    priority_class_name: str = Field("", description="PriorityClass of the hub's pods.")
    node_selector: Labels = Field({}, description="Nodes that hubs may run on.")
    tolerations: list[Free] = Field([], description="Taints that hubs stand.")
    pod_annotations: Labels = Field({}, description="More annotations of the pods.")
    pod_labels: Labels = Field({}, description="More labels of the pods.")


class Priority(Values):
    """The class of federated pods."""

    create: bool = Field(True, description="Make PriorityClass `huiju-federated`.")
    value: int = Field(
        -1000,
        ge=-2147483648,
        le=1000000000,
        description="Below your own pods (0 where they state none), so that yours come first.",
    )


class TokenSecret(Values):
    """A token without an end."""

    enabled: bool = Field(
        True,
        description="Make Secret `huiju-hub-token`, valid until it is deleted. Off where the hub's"
        " operator gets bounded tokens by `kubectl create token huiju-hub`.",
    )


class Push(Values):
    """How the hub reaches the center, where it does."""

    enabled: bool = Field(
        True, description="Make the account `huiju-hub`; off where only an agent connects the two."
    )


class DataFolder(Values):
    """A folder with data of the center's own, mounted read-only in agent and gateway."""

    path: str = Field(
        pattern=r"^(/[^/\s:]+)+$", description="Where it is seen, as `spec.source.files.path` says."
    )
    claim: str = Field("", description="PersistentVolumeClaim that has it.")
    nfs_server: str = Field("", description="Or the NFS server that exports it,")
    nfs_path: str = Field("", description="and the path there.")


class AgentData(Values):
    """Data sets: copies that the center holds, and data that is its own."""

    enabled: bool = Field(False, description="Let the agent move data, and give it the rights.")
    only: bool = Field(
        False, description="Nothing but data: where the hub reaches the center by push."
    )
    store: str = Field(
        "",
        pattern=r"^([A-Za-z0-9.-]+:)?(/[^\s:'\"\\]*)?$",
        description="Where copies may lie: a folder of the nodes, or SERVER:FOLDER of NFS; empty"
        " lets none in. `spec.dataStore` of the ComputeCenter names the same.",
    )
    gateway_url: str = Field(
        "",
        pattern=r"^(https?://[^\s@?#]+)?$",
        description="Where consumers reach the center's gateway, for folders and web servers.",
    )
    folders: list[DataFolder] = Field(
        [],
        description="Folders with data of the center's own: `path`, and a `claim` or"
        " `nfsServer` and `nfsPath`.",
    )
    manifests: Quantity = Field(
        "4Gi", description="Room on the node's disk for manifests of the center's own data."
    )


class Agent(Values):
    """The agent of a pull center."""

    enabled: bool = Field(False, description="Run it.")
    center: str = Field(
        "",
        pattern=r"^([a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?)?$",
        description="Name of the ComputeCenter on the hub; needed.",
    )
    bootstrap_secret: str = Field(
        "huiju-agent-bootstrap",
        min_length=1,
        description="Secret whose key `kubeconfig` is what `kubectl huiju join --pull` wrote; of no"
        " use any more once the agent has its own credential.",
    )
    replicas: int = Field(2, ge=1, le=3, description="Agents; one works, the others wait.")
    cluster_wide: bool = Field(
        True,
        description="It may make namespaces and work in them; off: only in those of"
        " `policy.centerNamespaces`, by RoleBindings.",
    )
    health_port: Port = Field(8082, description="Port of health pages and metrics.")
    data: AgentData = Field(AgentData(), description="Data sets.")


class AgentResources(Values):
    """What the agent asks for and may take."""

    requests: Amounts = Field(Amounts(cpu="50m", memory="128Mi"), description="Asked for.")
    limits: Amounts = Field(Amounts(memory="1Gi"), description="At most.")


class Policy(Values):
    """What you let the federation do; kept by the agent and by your own API servers."""

    namespaces: list[str] = Field(
        [], description="Namespaces of the hub whose jobs are let in; `*` matches, empty is all."
    )
    center_namespaces: list[str] = Field(
        [], description="Namespaces of yours where jobs may run, besides those made for them."
    )
    kinds: list[Literal["Job", "Service", "ConfigMap", "Secret"]] = Field(
        [], description="What may be made; empty is all four."
    )
    service_accounts: list[str] = Field(
        ["default"], description="Accounts that pods may run as; empty is all."
    )
    image_prefixes: list[str] = Field(
        [], description="What image names begin with, as your registry has them; empty is all."
    )
    priority_classes: list[str] = Field(
        ["huiju-federated"],
        description="PriorityClasses of federated pods, as `sharing.priorityClassName` names one;"
        " empty is all.",
    )
    host_paths: list[str] = Field(
        [], description="Folders of nodes that pods may mount, such as a driver's; empty is none."
    )
    data_sources: list[str] = Field(
        [],
        description="What data sets may be served from, `NAMESPACE/NAME=SOURCE` with a folder,"
        " `s3:SECRET/BUCKET/PREFIX` or `web:SECRET@URL`; empty is none.",
    )
    max_share_percent: int = Field(
        100, ge=0, le=100, description="Of each extended resource, held by the federation."
    )
    max_units: dict[str, int] = Field(
        {}, description="At most so many units by extended resource, `nvidia.com/gpu: 16`."
    )


class AdmissionPolicy(Values):
    """The same, by your API servers."""

    enabled: bool = Field(
        True,
        description="Make ValidatingAdmissionPolicies against the accounts of hub and agent, where"
        " Kubernetes serves them (1.30 and later). They concern nobody else.",
    )


class AgentPeers(Values):
    """Who may speak with the agent."""

    enabled: bool = Field(True, description="Make NetworkPolicies for agent and sentinel.")
    api_ports: list[Port] = Field([443, 6443], description="Ports of the API servers they reach.")
    data_ports: list[Port] = Field(
        [443], description="Ports of the center's own object stores and web servers."
    )


class Sentinel(Values):
    """The sentinel: asks for the center's lease, under which jobs with failover run."""

    enabled: bool = Field(
        False, description="Run it; without it jobs with automatic failover go elsewhere."
    )
    lease_port: Port = Field(8083, description="Port of the pod that guards ask by the Service.")
    health_port: Port = Field(8084, description="Port of health pages and metrics.")
    resources: Resources = Field(
        Resources(requests=Amounts(cpu="20m", memory="64Mi"), limits=Amounts(memory="256Mi")),
        description="Resources.",
    )
    priority_class_name: str = Field(
        "",
        description="PriorityClass of its pod. Guarded jobs stop when it is away for the length of"
        " a lease, so give it one that is not preempted.",
    )
    moves_after_seconds: int = Field(
        20,
        ge=0,
        le=300,
        description="Seconds after which it leaves a node that does not answer; far less than a"
        " lease.",
    )


class GatewayService(Values):
    """How consumers' centers reach the gateway."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        "ClusterIP", description="Type; an Ingress of yours may stand before a ClusterIP."
    )
    port: Port = Field(443, description="Port.")
    annotations: Labels = Field({}, description="Annotations.")


class Gateway(Values):
    """Hands out files of granted data sets from folders and web servers, range by range."""

    enabled: bool = Field(False, description="Run it; needs `agent.data.enabled`.")
    replicas: int = Field(2, ge=1, le=16, description="Gateways; all of them serve.")
    port: Port = Field(8090, description="Port of the pods.")
    tls_secret: str = Field(
        "",
        description="Secret with `tls.crt` and `tls.key`; plain HTTP where empty, for something"
        " of yours before it that speaks TLS.",
    )
    service: GatewayService = Field(GatewayService(), description="Its Service.")
    resources: Resources = Field(
        Resources(requests=Amounts(cpu="100m", memory="128Mi"), limits=Amounts(memory="512Mi")),
        description="Resources.",
    )


class Center(Values):
    """Values of the chart `huiju-center`."""

    priority_class: Priority = Field(Priority(), description="Rank of federated pods.")
    policy: Policy = Field(Policy(), description="What the federation may do here.")
    admission_policy: AdmissionPolicy = Field(AdmissionPolicy(), description="By your API servers.")
    push: Push = Field(Push(), description="An account for a hub that reaches the center.")
    token_secret: TokenSecret = Field(TokenSecret(), description="Credential of that account.")
    agent: Agent = Field(Agent(), description="An agent that reaches the hub.")
    gateway: Gateway = Field(Gateway(), description="The way to folders and web servers.")
    sentinel: Sentinel = Field(Sentinel(), description="The center's side of its lease.")
    image: Image = Field(Image(), description="The image of agent and sentinel.")
    resources: AgentResources = Field(AgentResources(), description="Resources of an agent.")
    log: Log = Field(Log(), description="Logging of agent and sentinel.")
    network_policy: AgentPeers = Field(
        AgentPeers(), description="NetworkPolicies of agent and sentinel."
    )
    node_selector: Labels = Field({}, description="Nodes that agent and sentinel may run on.")
    tolerations: list[Free] = Field([], description="Taints that agent and sentinel stand.")
