"""An owner's policy in words, and what of a job it would refuse: for reading before jobs come.

Pure. Decides wording alone; whether something is let in is decided where the agent decides it
(`policy.py`). Invariant: a job that is said to be let in breaks no word of the policy, whichever of
its alternatives is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from huiju.agent.policy import Policy, breaches, wanted_units
from huiju.api.center import Sharing
from huiju.centers.bundle import Bundle
from huiju.centers.carried import CONFIG_MAP, SECRET, Carried, CarriedObject
from huiju.centers.jobview import JobView, ViewFailover
from huiju.centers.lease import PROFILES, LeaseTerms, sentinel_url
from huiju.centers.refusals import DispatchRefused, RenderRefused
from huiju.centers.render import Target, render

ALL: Final = "all"
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class Units:
    """One accelerator resource of the center."""

    allocatable: int
    federated: int
    """Held by jobs of the network now."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the center besides the policy."""

    units: Mapping[str, Units]
    """By resource name."""
    resources: Mapping[str, str]
    """Resource name of each accelerator model."""
    namespaces: frozenset[str] | None = None
    """None where they may not be read."""
    priority_classes: frozenset[str] | None = None
    """None where they may not be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What would become of one alternative of a job."""

    alternative: int
    model: str
    refusals: tuple[str, ...]
    """Why it would be refused, each with the key; none: it is let in."""
    remarks: tuple[str, ...] = ()
    """What may keep it waiting, or was not looked at."""


# --- the policy itself ----------------------------------------------------------------------------


def rows(policy: Policy, known: Known) -> Iterator[tuple[str, str]]:
    """Each key with what it lets in."""
    yield "namespaces", _words(policy.namespaces, ALL)
    yield "centerNamespaces", _words(policy.center_namespaces, NONE)
    yield "kinds", _words(policy.kinds, ALL)
    yield "serviceAccounts", _words(policy.service_accounts, ALL)
    yield "imagePrefixes", _words(policy.image_prefixes, ALL)
    yield "priorityClasses", _words(policy.priority_classes, ALL)
    yield "hostPaths", _words(policy.host_paths, NONE)
    yield "dataSources", _words(tuple(map(str, policy.data_sources)), NONE)
    for resource, units in sorted(known.units.items()):
        most = policy.most_of(resource, units.allocatable)
        yield "units", f"{most} of {units.allocatable} {resource}, {units.federated} held now"


def _words(given: tuple[str, ...], empty: str) -> str:
    return ", ".join(given) or empty


def oddities(policy: Policy, known: Known) -> Iterator[str]:
    """What an owner can hardly mean, each with the key."""
    if policy.kinds and "Job" not in policy.kinds:
        yield "kinds: without Job no job at all is let in"
    if policy.kinds and "Service" not in policy.kinds:
        yield "kinds: without Service no job of several workers is let in"
    if policy.max_share_percent == 0:
        yield "maxSharePercent: 0 lets in no job that asks for accelerators"
    for name in policy.center_namespaces:
        if known.namespaces is not None and name not in known.namespaces:
            yield f"centerNamespaces: there is no namespace {name}"
    for name in policy.priority_classes:
        if known.priority_classes is not None and name not in known.priority_classes:
            yield f"priorityClasses: there is no PriorityClass {name}"
    if policy.priority_classes:
        yield (
            "priorityClasses: pods get the class that spec.sharing.priorityClassName of the"
            " ComputeCenter on the hub names; it must be one of these"
        )
    for resource, _ in policy.max_units:
        if resource not in known.units:
            yield f"maxUnits: no node has {resource}"


# --- jobs -----------------------------------------------------------------------------------------


def judge(
    policy: Policy, job: JobView, known: Known, hub_id: str, guard_image: str, rank: str
) -> list[Finding]:
    """What would become of each alternative of a job that comes to this center.

    `guard_image` is the hub's image of the guard where it is known, `rank` the PriorityClass that
    the hub gives to pods here.
    """
    return [
        _judge(policy, job, index, known, hub_id, guard_image, rank)
        for index in range(len(job.spec.accelerators))
    ]


def _judge(
    policy: Policy,
    job: JobView,
    index: int,
    known: Known,
    hub_id: str,
    guard_image: str,
    rank: str,
) -> Finding:
    model = job.spec.accelerators[index].model
    resource = known.resources.get(model)
    if resource is None:
        return Finding(index, model, (f"the center has no {model}",))
    remarks: list[str] = []
    if not guard_image and _needs_image(job):
        remarks.append("Huiju's own image in its pods was not looked at: give --guard-image")
        job = _without_image(job)
    try:
        bundle = bundle_of(job, index, resource, hub_id, guard_image, rank)
        refusals = [f"{what} ({key})" for key, what in breaches(policy, bundle, hub_id)]
        _units(policy, known, bundle, refusals, remarks)
    except (RenderRefused, DispatchRefused) as refusal:
        refusals = [refusal.message]
    return Finding(index, model, tuple(refusals), tuple(remarks))


def _needs_image(job: JobView) -> bool:
    spec = job.spec
    saved = spec.checkpoint is not None and bool(spec.checkpoint.directory)
    return spec.failover.policy == "Reschedule" or spec.progress is not None or saved


def _without_image(job: JobView) -> JobView:
    spec = replace(job.spec, failover=ViewFailover(), progress=None, checkpoint=None)
    return replace(job, spec=spec)


def bundle_of(
    job: JobView,
    index: int,
    resource: str,
    hub_id: str,
    guard_image: str,
    rank: str,
) -> Bundle:
    """What the hub would send of a job, without the contents of what travels with it.

    Raises:
        RenderRefused: the job cannot be run as it is written.
        DispatchRefused: this center cannot run it.
    """
    carry = job.spec.carry
    secrets = dict.fromkeys((*carry.secrets, *carry.image_pull_secrets))
    carried = Carried(
        (
            *(CarriedObject(CONFIG_MAP, name, {}) for name in carry.config_maps),
            *(CarriedObject(SECRET, name, {}) for name in secrets),
        ),
        carry.image_pull_secrets,
    )
    guarded = job.spec.failover.policy == "Reschedule"
    target = Target(
        center="here",
        hub_id=hub_id,
        epoch=1,
        alternative=index,
        resource=resource,
        model_labels={},
        nodes=(),
        sharing=Sharing(priority_class_name=rank or None),
        mirrors=(),
        carried=carried,
        host_paths=None,
        image=guard_image,
        lease=LeaseTerms(sentinel_url("huiju-system"), PROFILES["default"]) if guarded else None,
    )
    return render(job, target)


def _units(
    policy: Policy, known: Known, bundle: Bundle, refusals: list[str], remarks: list[str]
) -> None:
    workers, asked = wanted_units(bundle)
    for resource, each in asked.items():
        units = known.units.get(resource)
        if units is None or not policy.limits_units:
            continue
        most, wanted = policy.most_of(resource, units.allocatable), workers * each
        key = "maxUnits" if dict(policy.max_units).get(resource) == most else "maxSharePercent"
        if wanted > most:
            refusals.append(f"{wanted} of {resource}, of which {most} are lent ({key})")
        elif units.federated + wanted > most:
            left = max(most - units.federated, 0)
            remarks.append(
                f"waits now: it asks for {wanted} of {resource}, {left} are left ({key})"
            )
