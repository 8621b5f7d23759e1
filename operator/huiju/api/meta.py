"""What every kind shares: the base model, scalar types, list markers, CEL rules, conditions.

Decides how a Python model maps to a structural schema (the markers); does not generate it (see
`schema.py`). Invariant: every list states its list type, every string and list its bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "huiju.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


@dataclass(frozen=True, slots=True)
class ListType:
    """How the API server merges a list: `atomic`, `set`, or `map` with its keys."""

    kind: Literal["atomic", "set", "map"]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule on an object: `rule` must hold, else the user reads `message`.

    `field` is the path the error points at (`.spec.workers`); `reason` one of the API server's
    FieldValue reasons. A rule that reads `oldSelf` is a transition rule.
    """

    rule: str
    message: str
    field: str = ""
    reason: str = "FieldValueInvalid"
    message_expression: str = ""
    optional_old_self: bool = False


@dataclass(frozen=True, slots=True)
class Preserve:
    """The field keeps members that the schema does not name (only for pod templates)."""


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """The CRD envelope of a kind: names, scope, columns, selectable fields."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("huiju",)


ATOMIC = ListType("atomic")
SET = ListType("set")


def by(*keys: str) -> ListType:
    """A list merged by `keys`, which every entry must have."""
    return ListType("map", keys)


class ApiModel(BaseModel):
    """Base of every part of a kind: camelCase on the wire, unknown members refused, frozen.

    The docstring under each field is its description in `kubectl explain`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_NAME = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
MODEL = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
DECIMAL = r"^[0-9]+(\.[0-9]{1,6})?$"

Name = Annotated[str, StringConstraints(pattern=DNS_NAME, min_length=1, max_length=253)]
"""The name of a Kubernetes object."""
Label = Annotated[str, StringConstraints(pattern=DNS_LABEL, min_length=1, max_length=63)]
"""A DNS label, such as a namespace."""
Duration = Annotated[str, StringConstraints(pattern=DURATION, min_length=2, max_length=32)]
"""Go style: `90s`, `1h30m`, `2d`."""
AcceleratorModel = Annotated[str, StringConstraints(pattern=MODEL, min_length=1, max_length=63)]
"""What the chip is (`ascend-910b3`), never the resource name."""
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY, min_length=1, max_length=32)]
Decimal = Annotated[str, StringConstraints(pattern=DECIMAL, min_length=1, max_length=24)]
"""A non-negative decimal written as a string: floats do not survive every client."""
ShortText = Annotated[str, StringConstraints(max_length=253)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Message = Annotated[str, StringConstraints(max_length=32768)]
LabelMap = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=317)],
        Annotated[str, StringConstraints(max_length=63)],
    ],
    Field(max_length=64),
]
Timestamp = Annotated[
    str, StringConstraints(max_length=40), Field(json_schema_extra={"format": "date-time"})
]
"""RFC 3339 in UTC."""


class Condition(ApiModel):
    """A standard metav1 condition; positive polarity."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """What is judged, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this was judged on."""
    last_transition_time: Timestamp
    """When the status last flipped."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """A stable CamelCase word; each is documented."""
    message: Message = ""
    """What happened and what to do, for a person."""


Conditions = Annotated[list[Condition], by("type"), Field(max_length=16)]
