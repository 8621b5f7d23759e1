"""Objects of dynamic resource allocation (`resource.k8s.io/v1`) as far as Huiju reads them.

Decides which fields stay in memory; unknown ones are ignored at decode.
"""

from __future__ import annotations

import msgspec

from huiju.centers.objects import Amount, Meta


class Value(msgspec.Struct, gc=False):
    """A capacity or counter."""

    value: Amount = 0


class Attribute(msgspec.Struct, gc=False):
    """An attribute of a device: exactly one member is set."""

    string: str | None = None
    version: str | None = None
    int_: int | None = msgspec.field(default=None, name="int")
    bool_: bool | None = msgspec.field(default=None, name="bool")


class CounterUse(msgspec.Struct, rename="camel", gc=False):
    """What a device takes from a counter set that it shares with others."""

    counter_set: str
    counters: dict[str, Value] = {}


class DeviceTaint(msgspec.Struct, rename="camel", gc=False):
    """A taint of a device."""

    key: str
    effect: str
    value: str = ""


class Device(msgspec.Struct, rename="camel", gc=False):
    """A device that a driver offers."""

    name: str
    attributes: dict[str, Attribute] = {}
    consumes_counters: list[CounterUse] = []
    node_name: str = ""
    taints: list[DeviceTaint] = []


class CounterSet(msgspec.Struct, gc=False):
    """Counters that devices share."""

    name: str
    counters: dict[str, Value] = {}


class Pool(msgspec.Struct, rename="camel", gc=False, frozen=True):
    """The pool that a slice is part of."""

    name: str
    generation: int = 0
    resource_slice_count: int = 1


class SliceSpec(msgspec.Struct, rename="camel", gc=False):
    """What a slice offers."""

    driver: str
    pool: Pool
    node_name: str = ""
    devices: list[Device] = []
    shared_counters: list[CounterSet] = []


class ResourceSlice(msgspec.Struct, gc=False):
    """Devices of one pool, or a part of them."""

    metadata: Meta
    spec: SliceSpec


class CelSelector(msgspec.Struct, gc=False):
    """A CEL expression on a device."""

    expression: str = ""


class DeviceSelector(msgspec.Struct, gc=False):
    """One condition of a class."""

    cel: CelSelector | None = None


class DeviceClassSpec(msgspec.Struct, rename="camel", gc=False):
    """Which devices are of a class."""

    selectors: list[DeviceSelector] = []
    extended_resource_name: str = ""


class DeviceClass(msgspec.Struct, gc=False):
    """A class of devices."""

    metadata: Meta
    spec: DeviceClassSpec = msgspec.field(default_factory=DeviceClassSpec)


class AllocatedDevice(msgspec.Struct, rename="camel", gc=False):
    """A device that a claim got."""

    driver: str
    pool: str
    device: str
    admin_access: bool | None = None


class AllocatedDevices(msgspec.Struct, gc=False):
    """The devices that a claim got."""

    results: list[AllocatedDevice] = []


class Allocation(msgspec.Struct, gc=False):
    """What a claim got."""

    devices: AllocatedDevices = msgspec.field(default_factory=AllocatedDevices)


class ClaimStatus(msgspec.Struct, gc=False):
    """How a claim is."""

    allocation: Allocation | None = None


class ResourceClaim(msgspec.Struct, gc=False):
    """A claim to devices."""

    metadata: Meta
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)
