"""What the center's owner lets the federation do here, and whether a bundle keeps to it.

Pure: from the ConfigMap's texts to a policy, from policy and bundle to a refusal. Decides nothing
that the hub could change. Invariants: a policy that cannot be read lets nothing in; of several
limits on a resource the smallest holds; the same words mean the same in the admission policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from huiju.agent.offers import Offer, OfferRefused, offer
from huiju.api.reasons import Reason
from huiju.centers.bundle import Bundle, KubeDict
from huiju.centers.hostaccess import below, host_access, host_paths
from huiju.centers.images import first_not_allowed
from huiju.centers.names import own_namespace
from huiju.centers.objects import PodNeeds
from huiju.centers.refusals import DispatchRefused
from huiju.centers.requests import is_extended, spec_requests
from huiju.scheduling.filter import matches

_SEPARATORS: Final = re.compile(r"[,\s]+")
_UNITS: Final = re.compile(r"([^=\s]+)=(\d{1,9})")
KINDS: Final = ("Job", "Service", "ConfigMap", "Secret")
"""What a bundle may hold at all; the last is the least that an owner may want to leave out."""


class PolicyRefused(Exception):
    """A policy that makes no sense; the message names the key and the cure."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's word. Empty means all, but for `center_namespaces`, `host_paths` and
    `data_sources`: none."""

    namespaces: tuple[str, ...] = ()
    """Patterns of hub namespaces whose jobs are let in; `*` stands for any characters."""
    center_namespaces: tuple[str, ...] = ()
    """Namespaces of the owner's in which jobs may run besides `huiju-<hub>-<namespace>`."""
    kinds: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    image_prefixes: tuple[str, ...] = ()
    """Of images as the center pulls them: after registry mirrors."""
    priority_classes: tuple[str, ...] = ()
    """The ceiling of priority, in the owner's own classes; then every pod must name one."""
    host_paths: tuple[str, ...] = ()
    """Folders of the nodes that pods may mount, each with everything below it."""
    data_sources: tuple[Offer, ...] = ()
    """What shares of data sets may be served from."""
    max_share_percent: int = 100
    """Of the allocatable units of each extended resource."""
    max_units: tuple[tuple[str, int], ...] = ()
    """At most so many units of an extended resource."""

    @property
    def limits_units(self) -> bool:
        """Whether it limits accelerators at all."""
        return self.max_share_percent < 100 or bool(self.max_units)

    def most_of(self, resource: str, allocatable: int) -> int:
        """Units of a resource that federated jobs may hold."""
        share = allocatable * self.max_share_percent // 100
        return min([share, *(most for name, most in self.max_units if name == resource)])


def parse(data: Mapping[str, str]) -> Policy:
    """The policy in a ConfigMap: lists are words between commas or white space.

    Raises:
        PolicyRefused: a key is not known, or a value makes no sense.
    """
    known = {_camel(one.name): one.name for one in fields(Policy)}
    found: dict[str, Any] = {}
    for key, text in data.items():
        name = known.get(key)
        if name is None:
            raise PolicyRefused(f"{key}: there is no such key; known are {', '.join(known)}")
        words = tuple(word for word in _SEPARATORS.split(text) if word)
        match name:
            case "max_share_percent":
                found[name] = _percent(key, text)
            case "max_units":
                found[name] = tuple(_units(key, word) for word in words)
            case "kinds":
                found[name] = tuple(_kind(key, word) for word in words)
            case "data_sources":
                found[name] = tuple(_offer(key, word) for word in words)
            case _:
                found[name] = words
    return Policy(**found)


def _percent(key: str, text: str) -> int:
    number = text.strip()
    if not number.isascii() or not number.isdecimal() or not 0 <= int(number) <= 100:
        raise PolicyRefused(f"{key}: {number!r} is no percentage; write a number from 0 to 100")
    return int(number)


def _units(key: str, word: str) -> tuple[str, int]:
    match = _UNITS.fullmatch(word)
    if match is None or not is_extended(match[1]):
        raise PolicyRefused(f"{key}: {word!r} is not like nvidia.com/gpu=16")
    return match[1], int(match[2])


def _kind(key: str, word: str) -> str:
    if word not in KINDS:
        raise PolicyRefused(f"{key}: {word!r} is no kind of a job; known are {', '.join(KINDS)}")
    return word


def _offer(key: str, word: str) -> Offer:
    try:
        return offer(word)
    except OfferRefused as refusal:
        raise PolicyRefused(f"{key}: {refusal}") from None


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


# --- judging --------------------------------------------------------------------------------------


def check(policy: Policy, bundle: Bundle, hub_id: str) -> None:
    """Refuse a bundle that the policy does not let in, share and units apart.

    Raises:
        DispatchRefused: the message names the key of the policy.
    """
    broken = next(breaches(policy, bundle, hub_id), None)
    if broken is not None:
        key, what = broken
        raise DispatchRefused(
            Reason.SHARING_POLICY,
            f"The owner of center {bundle.center} does not allow {what} ({key}).",
        )


def breaches(policy: Policy, bundle: Bundle, hub_id: str) -> Iterator[tuple[str, str]]:
    """All that the policy does not let in of a bundle: its key, and what."""
    if policy.namespaces and not matches(policy.namespaces, bundle.namespace):
        yield "namespaces", f"jobs of namespace {bundle.namespace}"
    own = own_namespace(hub_id, bundle.namespace)
    if bundle.center_namespace not in (own, *policy.center_namespaces):
        yield "centerNamespaces", f"jobs in its namespace {bundle.center_namespace}"
    for obj in bundle.objects:
        if policy.kinds and obj["kind"] not in policy.kinds:
            yield "kinds", f"a {obj['kind']}"
    yield from _pod_breaches(policy, bundle.objects[-1]["spec"]["template"]["spec"])


def _pod_breaches(policy: Policy, spec: KubeDict) -> Iterator[tuple[str, str]]:
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    if policy.service_accounts and account not in policy.service_accounts:
        yield "serviceAccounts", f"service account {account}"
    image = first_not_allowed(spec, policy.image_prefixes)
    if image is not None:
        yield "imagePrefixes", f"image {image}"
    rank = spec.get("priorityClassName") or ""
    if policy.priority_classes and rank not in policy.priority_classes:
        yield "priorityClasses", f"priority class {rank or '(none)'}"
    yield from host_access(spec)
    if spec.get("nodeName"):
        yield "nodeName", "a pod that chooses its node by name"
    for path in host_paths(spec):
        if not below(path, policy.host_paths):
            yield "hostPaths", f"host path {path}"


# --- units ----------------------------------------------------------------------------------------


def wanted_units(bundle: Bundle) -> tuple[int, dict[str, int]]:
    """Workers of a bundle, and the units of extended resources that each of them asks for.

    Raises:
        DispatchRefused: an amount is no quantity.
    """
    spec = bundle.objects[-1]["spec"]
    workers = max(int(spec.get("parallelism") or 1), int(spec.get("completions") or 1))
    try:
        needs = msgspec.convert(spec["template"]["spec"], PodNeeds, strict=False)
        asked = spec_requests(needs)
    except (ValueError, msgspec.ValidationError) as error:
        raise DispatchRefused(
            Reason.DISPATCH_REFUSED, f"The requests of the workload make no sense: {error}"
        ) from error
    return workers, {name: amount for name, amount in asked.items() if is_extended(name)}
