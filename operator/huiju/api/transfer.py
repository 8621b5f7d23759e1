"""CenterCopy and CenterServing: what hub and agents leave for each other to move data sets.

Both lie in mailboxes, the namespaces `huiju-center-<name>` on the hub: a CenterCopy in that of the
center that is to hold the copy, a CenterServing in that of the center that has the data; each has
the name of the DatasetReplica's UID. The hub writes their specs, the agents their statuses; neither
is written by a person. Invariant: links to data pass through sealed, for the one transfer that
asked; no key of a store is ever here.
"""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.center import LinkWindow
from huiju.api.dataset import Bytes, Count, Digest, Globs
from huiju.api.mailbox import Epoch, Given, Uid
from huiju.api.markers import ATOMIC, Column, KindInfo
from huiju.api.meta import ApiModel, Conditions, Int, KubeObject, ShortText, Text, Timestamp

SEALED_MAX = 1_250_000
"""Characters of a sealed batch of links in base64; an object in etcd has 1.5 MiB in all."""


class Named(ApiModel):
    """Names an object on the hub."""

    namespace: Given
    """Its namespace."""
    name: Given
    """Its name."""


class LinkNeed(ApiModel):
    """Files that a puller wants links for."""

    seq: Count
    """Counts the needs of one puller."""
    first: Count
    """Number of the first file in the manifest, from 0."""
    count: Annotated[Int, Field(ge=0, le=5000)]
    """Files at most."""
    public_key: Given
    """One-time key that the answer is sealed for."""


class LinkAnswer(ApiModel):
    """What the owner's side answers: sealed links, or why there are none."""

    seq: Count
    """The need that it answers."""
    sealed: Annotated[str, StringConstraints(max_length=SEALED_MAX)] = ""
    """Links, sealed for the puller, in base64."""
    reason: ShortText | None = None
    """Why there are none, a stable CamelCase word."""
    message: Text = ""
    """Why there are none, for a person."""


class CenterCopySpec(ApiModel):
    """One transfer, as the hub wants it carried out."""

    replica: Named
    """Namespace and name of the DatasetReplica."""
    epoch: Annotated[Epoch, Field(ge=1)]
    """Number of the transfer; a lower one has lost the right to write."""
    mode: Literal["Pull", "Verify", "Repair", "Remove"]
    """What to do."""
    source: Given
    """Center that has the data."""
    digest: Digest
    """Digest of the version's manifest."""
    folder: Given
    """Folder of the copy below that of the center's store."""
    bytes: Bytes
    """Bytes of the version."""
    include: Globs = []
    """Patterns of the files that are copied; empty is all."""
    exclude: Globs = []
    """Patterns of the files that are left out."""
    signing_key: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """Public key that must have signed the manifest."""
    rate: Bytes = 0
    """Bytes per second at most; 0 is without limit."""
    windows: Annotated[list[LinkWindow], ATOMIC, Field(max_length=24)] = []
    """When data may move; empty is always."""
    zone: Given = "UTC"
    """Time zone of these hours."""
    answer: LinkAnswer | None = None
    """What came from the center that has the data."""


CopyState = Literal["Pending", "Running", "Waiting", "Done", "Failed", "Removed"]


class CenterCopyStatus(ApiModel):
    """How far the transfer is, as the center's agent sees it."""

    observed_generation: Count | None = None
    """The generation of the spec that the agent has carried out."""
    conditions: Conditions = []
    """Done: the transfer has come to its right end."""
    epoch: Epoch = 0
    """The transfer that this speaks of."""
    mode: ShortText | None = None
    """What it does."""
    state: CopyState | None = None
    """How far it is."""
    need: LinkNeed | None = None
    """Links that are wanted."""
    bytes_done: Bytes = 0
    """Bytes that are here."""
    bytes_total: Bytes = 0
    """Bytes to be here."""
    files_done: Count = 0
    """Files that are here."""
    files_total: Count = 0
    """Files to be here."""
    fetched: Bytes = 0
    """Bytes that came over the network for this transfer, wasted ones too."""
    rate: Bytes = 0
    """Bytes per second now."""
    limit: Bytes = 0
    """Bytes per second that the puller keeps to now; 0 is none, or not told yet."""
    until: Timestamp | None = None
    """When the link opens, while it is closed."""
    started_at: Timestamp | None = None
    """When the puller was first heard."""
    ended_at: Timestamp | None = None
    """When it was heard last."""
    digest: ShortText | None = None
    """Digest of what was copied or verified."""
    reason: ShortText | None = None
    """Why it failed, a stable CamelCase word."""
    path: Text = ""
    """File that it failed with, if one."""
    message: Text = ""
    """What happened, for a person."""


class CenterCopy(KubeObject):
    """A transfer that a center is to carry out, and how far it is."""

    info: ClassVar = KindInfo(
        kind="CenterCopy",
        plural="centercopies",
        singular="centercopy",
        short_names=("ccp",),
        namespaced=True,
        columns=(
            Column("Namespace", ".spec.replica.namespace"),
            Column("Replica", ".spec.replica.name"),
            Column("Mode", ".spec.mode"),
            Column("Epoch", ".spec.epoch", "integer", priority=1),
            Column("State", ".status.state"),
            Column("Done", ".status.bytesDone", "integer", "Bytes that are here"),
            Column("Reason", ".status.reason", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["CenterCopy"] = "CenterCopy"
    """The kind."""
    spec: CenterCopySpec
    """What the hub wants."""
    status: CenterCopyStatus | None = None
    """What the agent reports."""


class CenterServingSpec(ApiModel):
    """Links that a transfer asks for; the agent reads by itself what it names."""

    share: Named
    """The DatasetShare."""
    share_uid: Uid
    """Its UID."""
    digest: Digest
    """Digest of the version's manifest."""
    center: Given
    """Center that copies."""
    epoch: Annotated[Epoch, Field(ge=1)]
    """Number of the transfer."""
    namespaces: Annotated[list[Given], ATOMIC, Field(max_length=64)] = []
    """Namespaces on whose behalf: one that may use the data is enough."""
    grants: Annotated[list[Named], ATOMIC, Field(max_length=64)] = []
    """DatasetGrants to look at."""
    replica: Named | None = None
    """The DatasetReplica, which shows whether a person of the owner's ordered the copy."""
    jobs: Annotated[list[Named], ATOMIC, Field(max_length=8)] = []
    """CrossRegionJobs of the share's own namespace that wait for it."""
    include: Globs = []
    """Patterns of the files that are copied; empty is all."""
    exclude: Globs = []
    """Patterns of the files that are left out."""
    need: LinkNeed | None = None
    """Links that are wanted."""


class CenterServingStatus(ApiModel):
    """What the center that has the data says to it."""

    observed_generation: Count | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Answered: links were handed out for the newest need."""
    answer: LinkAnswer | None = None
    """To the newest need."""
    batches: Count = 0
    """Batches of links that were handed out for this transfer."""
    last_at: Timestamp | None = None
    """When the last was."""


class CenterServing(KubeObject):
    """A transfer for which a center is asked to hand out links, and its answer."""

    info: ClassVar = KindInfo(
        kind="CenterServing",
        plural="centerservings",
        singular="centerserving",
        short_names=("csv",),
        namespaced=True,
        columns=(
            Column("Namespace", ".spec.share.namespace"),
            Column("Dataset", ".spec.share.name"),
            Column("Center", ".spec.center"),
            Column("Epoch", ".spec.epoch", "integer", priority=1),
            Column("Batches", ".status.batches", "integer"),
            Column("Refused", ".status.answer.reason"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["CenterServing"] = "CenterServing"
    """The kind."""
    spec: CenterServingSpec
    """What is asked."""
    status: CenterServingStatus | None = None
    """What is answered."""
