"""What every kind shares: the base models, scalar types and conditions.

Decides which strings and numbers are legal and what to tell who misses them; says nothing of what
other objects must hold. Invariants: every list states its list type, every string and list its
bound, and a spec that the model takes is one that the API server takes.
"""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from huiju.api.markers import Keys, KindInfo, ListType, Preserve, Rule, Says, by

GROUP = "huiju.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


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

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        """Hold the object against the rules that the API server holds it against."""
        for rule in self.rules:
            rule.obeyed_by(self)
        return self

    @model_validator(mode="after")
    def _hold_no_duplicates(self) -> Self:
        """Refuse what the list types of the fields refuse."""
        for name, info in type(self).model_fields.items():
            for marker in info.metadata:
                if not isinstance(marker, ListType):
                    continue
                duplicate = marker.duplicate(getattr(self, name) or [])
                if duplicate is not None:
                    raise PydanticCustomError(
                        "duplicate",
                        "{field}: Duplicate value: {value}",
                        {"field": info.alias or name, "value": str(duplicate)},
                    )
        return self


class KubeObject(ApiModel):
    """Base of the kinds themselves: what every Kubernetes object carries."""

    info: ClassVar[KindInfo]

    api_version: Literal["huiju.dev/v1alpha1"] = "huiju.dev/v1alpha1"
    """Group and version of the kind."""
    metadata: Annotated[dict[str, Any], Preserve()] = {}
    """Standard object metadata."""

    @property
    def name(self) -> str:
        """The object's name, empty where the server is to choose one."""
        return str(self.metadata.get("name", ""))

    @model_validator(mode="after")
    def _name_is_legal(self) -> Self:
        """Refuse names that no API server takes."""
        name = self.metadata.get("name")
        legal = isinstance(name, str) and len(name) <= 253 and OBJECT_NAME.fullmatch(name)
        if name is not None and not legal:
            raise PydanticCustomError(
                "name", "metadata.name: Invalid value: {name}", {"name": repr(name)}
            )
        return self


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_LABEL_WORDS = (
    "must be a DNS label: lower case letters, digits and '-', at most 63, such as team-a"
)
DNS_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DURATION = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
MODEL = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
QUANTITY = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
DECIMAL = r"^[0-9]+(\.[0-9]{1,6})?$"
LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
WORD = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9*]([-a-z0-9*]*[a-z0-9*])?$"
FILE_NAME = r"^[-._]*[a-zA-Z0-9][-._a-zA-Z0-9]*$"
"""Also of a key of a Secret; never `.` or `..`."""
IMAGE = r"^[^\s]+$"
OBJECT_NAME = re.compile(DNS_NAME)
TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$"


def _a_real_time(value: str) -> str:
    """Refuse times that match the pattern and do not exist, as the API server does."""
    datetime.datetime.fromisoformat(value)
    return value


def text(pattern: str, words: str, *, longest: int, shortest: int = 1) -> Any:
    """Constraints of a string: its pattern, what to tell who missed it, and its bounds."""
    return (
        StringConstraints(pattern=pattern, min_length=shortest, max_length=longest),
        Says(words),
    )


Int = Annotated[int, Strict(), Field(ge=-(2**63), le=2**63 - 1)]
"""A whole number; a string of digits is refused, as the API server refuses it."""
Flag = Annotated[bool, Strict()]
"""True or false, nothing that only looks like it."""
Name = Annotated[
    str,
    *text(
        DNS_NAME,
        "must be an object name: lower case letters, digits, '-' and '.', such as team-a",
        longest=253,
    ),
]
"""The name of a Kubernetes object."""
Label = Annotated[
    str,
    *text(
        DNS_LABEL,
        DNS_LABEL_WORDS,
        longest=63,
    ),
]
"""A DNS label, such as a namespace."""
Duration = Annotated[
    str, *text(DURATION, "must be a duration such as 90s, 1h30m or 2d", longest=32, shortest=2)
]
"""Go style: `90s`, `1h30m`, `2d`."""
AcceleratorModel = Annotated[
    str,
    *text(
        MODEL,
        "must be an accelerator model in lower case, such as ascend-910b3 or nvidia-h100-sxm,"
        " not a resource name",
        longest=63,
    ),
]
"""What the chip is (`ascend-910b3`), never the resource name."""
Quantity = Annotated[str, *text(QUANTITY, "must be a quantity such as 4, 500m or 8Gi", longest=32)]
Decimal = Annotated[
    str,
    *text(DECIMAL, "must be a decimal in quotes such as '0.5', with at most 6 places", longest=24),
]
"""A non-negative decimal written as a string: floats do not survive every client."""
Word = Annotated[
    str,
    *text(WORD, "must be one word of letters, digits, '-', '_' and '.', such as south", longest=63),
]
"""A word of the federation's own, such as a region or a residency class."""
NamespacePattern = Annotated[
    str,
    *text(
        NAMESPACE_PATTERN,
        "must be a namespace, where * stands for any characters, such as team-*",
        longest=63,
    ),
]
"""A namespace or a pattern of namespaces."""
Image = Annotated[str, *text(IMAGE, "must be an image name without spaces", longest=512)]
"""The name of a container image, or its start."""
ShortText = Annotated[str, StringConstraints(max_length=253)]
Text = Annotated[str, StringConstraints(max_length=1024)]
Message = Annotated[str, StringConstraints(max_length=32768)]
LabelMap = Annotated[
    dict[
        Annotated[str, StringConstraints(pattern=LABEL_KEY, min_length=1, max_length=317)],
        Annotated[
            str,
            *text(
                LABEL_VALUE,
                "must be a label value: letters, digits, '-', '_' and '.', at most 63",
                longest=63,
                shortest=0,
            ),
        ],
    ],
    Field(max_length=64),
    Keys(LABEL_KEY, "keys must be label names such as zone or example.com/zone"),
]
Timestamp = Annotated[
    str,
    StringConstraints(pattern=TIMESTAMP, max_length=40),
    AfterValidator(_a_real_time),
    Field(json_schema_extra={"format": "date-time"}),
]
"""RFC 3339 in UTC."""


class Condition(ApiModel):
    """A standard metav1 condition; positive polarity."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """What is judged, in CamelCase."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this was judged on."""
    last_transition_time: Timestamp
    """When the status last flipped."""
    reason: Annotated[str, StringConstraints(min_length=1, max_length=1024)]
    """A stable CamelCase word; each is documented."""
    message: Message = ""
    """What happened and what to do, for a person."""


Conditions = Annotated[list[Condition], by("type"), Field(max_length=16)]
