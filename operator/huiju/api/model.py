"""ModelShare: what a model is, beside the DatasetShare that has its files.

The files, who may have them, their copies and their versions are the data set's: a model adds its
card. Decides what the card may say. Invariant: no card holds a credential or an address.
"""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.dataset import Bytes, Count, Digest, Globs
from huiju.api.markers import ATOMIC, Column, KindInfo, by
from huiju.api.meta import (
    AcceleratorModel,
    ApiModel,
    Conditions,
    Decimal,
    Flag,
    Int,
    KubeObject,
    Name,
    Quantity,
    ShortText,
    Text,
    Word,
)


class Weights(ApiModel):
    """The files of the model."""

    dataset: Name
    """DatasetShare of the same namespace that has them."""
    version: Word = "latest"
    """Version or channel of it; `latest` is the one that was added last."""


class BaseModelRef(ApiModel):
    """The model that an adapter is used with."""

    name: ShortText
    """Its name, for people."""
    digest: Digest
    """Manifest digest of the version that it was trained on."""


class TestedOn(ApiModel):
    """An accelerator on which the model was run."""

    model: AcceleratorModel
    """Accelerator model."""
    driver: ShortText | None = None
    """Oldest driver with which it was run."""


class Evaluation(ApiModel):
    """One result on one data set."""

    name: Word
    """Name of the result, such as `mmlu-5shot`."""
    dataset: ShortText
    """Data set and version that it was measured on."""
    metric: Word
    """What was measured, such as `accuracy`."""
    value: Decimal
    """The result."""


class ServingProfile(ApiModel):
    """How the model is served."""

    engine: Word
    """Program, such as `vllm` or `mindie`."""
    tensor_parallel: Annotated[Int, Field(ge=1, le=1024)] = 1
    """Accelerators that one instance is spread over."""
    memory: Quantity
    """Memory that it needs on each of them."""


class ModelShareSpec(ApiModel):
    """The card of a model."""

    description: Text | None = None
    """What the model is, for people who search."""
    weights: Weights
    """The files of the model."""
    format: Word
    """How the weights are stored, such as `safetensors`."""
    framework: Word | None = None
    """What runs them, such as `pytorch` or `mindspore`."""
    task: Word | None = None
    """What it does, such as `text-generation`."""
    parameters: Count | None = None
    """Number of parameters."""
    precision: Word | None = None
    """Of the weights, such as `bf16`."""
    context_length: Annotated[Int, Field(ge=1)] | None = None
    """Tokens that it takes in at most."""
    base: BaseModelRef | None = None
    """The model that it is an adapter of."""
    accelerators: Annotated[list[TestedOn], by("model"), Field(max_length=64)] = []
    """Accelerators on which it was run."""
    evaluations: Annotated[list[Evaluation], by("name"), Field(max_length=64)] = []
    """Results."""
    serving: Annotated[list[ServingProfile], ATOMIC, Field(max_length=16)] = []
    """Ways in which it is served."""
    required_files: Globs = ["config.json"]
    """Patterns of files, each of which a version must have one of to be published."""
    allow_pickle: Flag = False
    """Let versions have files that run code when they are loaded (pickle)."""


class ModelShareStatus(ApiModel):
    """What is known of the model now."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Published: the weights mean a version. BaseKnown, of adapters: a data set of the network has
    the base's version."""
    version: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The version that the weights mean."""
    manifest_digest: ShortText | None = None
    """Its digest."""
    bytes: Bytes = 0
    """Its bytes."""
    license: ShortText | None = None
    """Its license."""
    centers: Annotated[list[ShortText], ATOMIC, Field(max_length=256)] = []
    """Centers that have a verified copy of it, the owner's first."""


class ModelShare(KubeObject):
    """A model that its owner shares."""

    info: ClassVar = KindInfo(
        kind="ModelShare",
        plural="modelshares",
        singular="modelshare",
        short_names=("mshare",),
        namespaced=True,
        columns=(
            Column("Weights", ".spec.weights.dataset"),
            Column("Version", ".status.version"),
            Column("Format", ".spec.format"),
            Column("Task", ".spec.task"),
            Column("License", ".status.license", priority=1),
            Column("Published", '.status.conditions[?(@.type=="Published")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["ModelShare"] = "ModelShare"
    """The kind."""
    spec: ModelShareSpec
    """The card."""
    status: ModelShareStatus | None = None
    """What Huiju knows of it."""
