"""DatasetShare, DatasetGrant and DatasetReplica: data that centers share by agreement.

A share is what an owner offers, a grant is one agreement to use it, a replica is one copy of one
version in one center. Decides what each may say; who may do what is decided in `data/access.py`.
Invariants: a version never changes and never goes; no object of these kinds holds a credential,
only the name of a Secret that lies in the owner's center.
"""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from huiju.api.center import FolderPath
from huiju.api.markers import ATOMIC, SET, Column, KindInfo, Rule, by, immutable, never_set_or_unset
from huiju.api.meta import (
    ApiModel,
    Conditions,
    Duration,
    Flag,
    Int,
    KubeObject,
    Label,
    Name,
    NamespacePattern,
    ShortText,
    Text,
    Timestamp,
    Word,
    text,
)

DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[
    str,
    *text(DIGEST_PATTERN, "must be sha256: and 64 hexadecimal digits", longest=71, shortest=71),
]
"""Digest of a manifest: the identity of what it lists."""
Url = Annotated[
    str,
    *text(
        r"^https?://[^\s@?#]+$",
        "must be an http or https address without user, password, query or fragment",
        longest=512,
    ),
]
Prefix = Annotated[
    str,
    *text(
        r"^([^/\s\\]+(/[^/\s\\]+)*/?)?$",
        "must be a path of names between slashes, without a slash at its start, such as corpora/zh",
        longest=512,
        shortest=0,
    ),
]
Bytes = Annotated[Int, Field(ge=0)]
Count = Annotated[Int, Field(ge=0)]
GlobPattern = Annotated[
    str,
    *text(
        r"^[^\s/\\][^\s\\]*$",
        "must be a path in the data set, where * stands for any characters, such as train/*.tar",
        longest=253,
    ),
]
Globs = Annotated[list[GlobPattern], ATOMIC, Field(max_length=32)]


class S3Source(ApiModel):
    """An S3-compatible bucket."""

    endpoint: Url
    """Address of the object store, as the owner's center reaches it and consumers do."""
    bucket: Annotated[
        str,
        *text(r"^[a-z0-9][a-z0-9.-]+$", "must be a bucket's name", longest=63, shortest=3),
    ]
    """Bucket."""
    prefix: Prefix | None = None
    """Start of the keys that belong to the share."""
    region: Annotated[str, StringConstraints(max_length=63)] = "us-east-1"
    """Region that signatures name."""
    secret_name: Name
    """Secret in the agent's namespace of the owner's center, with `accessKeyId` and
    `secretAccessKey`; it exists there alone."""


class FilesSource(ApiModel):
    """A folder that the owner's agent has mounted: a PVC, NFS, or a parallel file system."""

    path: FolderPath
    """The folder."""


class HttpSource(ApiModel):
    """A web server, read by the owner's agent."""

    url: Url
    """Address under which the manifest's paths are found."""
    secret_name: Name | None = None
    """Secret in the agent's namespace of the owner's center, with `token`."""


class Source(ApiModel):
    """Where the owner keeps the data: exactly one of s3, files and http."""

    rules: ClassVar = (
        Rule(
            "[has(self.s3), has(self.files), has(self.http)].filter(x, x).size() == 1",
            "set exactly one of s3, files and http",
            check=lambda self: sum(x is not None for x in (self.s3, self.files, self.http)) == 1,
        ),
    )
    center: Name
    """ComputeCenter whose agent serves the data; the only place where its key lies."""
    s3: S3Source | None = None
    """An S3-compatible bucket."""
    files: FilesSource | None = None
    """A folder that the agent has mounted."""
    http: HttpSource | None = None
    """A web server."""


class MadeBy(ApiModel):
    """The job whose output a version is."""

    namespace: Label
    """Namespace of the CrossRegionJob."""
    name: Name
    """Its name."""
    uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """Its UID: a job of the same name that came later is another."""
    epoch: Annotated[Int, Field(ge=1, le=999_999_999)]
    """The attempt whose output it is."""


class Version(ApiModel):
    """One version of the data; it never changes."""

    rules: ClassVar = (
        Rule(
            "self == oldSelf",
            "a version never changes: publish a new one under another name",
            reason="FieldValueForbidden",
        ),
    )
    name: Word
    """Name of the version, such as `v3`."""
    manifest_digest: Digest
    """Digest of its manifest; the version's identity."""
    bytes: Bytes
    """Bytes of all files, manifest apart."""
    files: Count
    """Number of files."""
    created_at: Timestamp
    """When it was published."""
    license: ShortText | None = None
    """SPDX expression of this version, where it is another than the share's."""
    derived_from: Annotated[list[Digest], SET, Field(max_length=32)] = []
    """Manifest digests of what it was made from."""
    made_by: MadeBy | None = None
    """The job whose output it is."""


class Channel(ApiModel):
    """A name that moves from version to version."""

    name: Word
    """Name of the channel, such as `stable`."""
    version: Word
    """Version that it means now."""


class Residency(ApiModel):
    """Where the data may lie; a filter that nothing relaxes."""

    regions: Annotated[list[Word], SET, Field(max_length=64)] = []
    """Regions that are allowed; empty allows all."""
    exclude_regions: Annotated[list[Word], SET, Field(max_length=64)] = []
    """Regions that are not allowed."""
    classes: Annotated[list[Word], SET, Field(max_length=16)] = []
    """Residency classes, all of which a center must satisfy, such as `domestic`."""


class Access(ApiModel):
    """Who may ask for a grant, and see that the share exists; what is not named is denied."""

    namespaces: Annotated[list[NamespacePattern], ATOMIC, Field(max_length=256)] = []
    """Namespaces that may ask; `*` matches any characters. The share's own always may."""
    centers: Annotated[list[NamespacePattern], ATOMIC, Field(max_length=256)] = ["*"]
    """Centers in which copies may lie; `*` matches any characters."""
    purposes: Annotated[list[Word], SET, Field(max_length=32)] = []
    """Purposes for which a grant may be asked; empty allows all."""


class CopyRule(ApiModel):
    """So many copies in centers of these regions or names."""

    name: Label
    """Name of the rule."""
    copies: Annotated[Int, Field(ge=1, le=64)]
    """Copies in all, the owner's among them where it matches."""
    regions: Annotated[list[Word], SET, Field(max_length=64)] = []
    """Regions that count; empty counts all."""
    centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that count; empty counts all."""
    exclude_centers: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers that do not count."""
    version: Word = "latest"
    """Version or channel that is copied; `latest` is the one that was added last."""


class DatasetShareSpec(ApiModel):
    """What the owner offers, and on what terms."""

    rules: ClassVar = (
        Rule(
            "!has(self.channels) || self.channels.all(c,"
            " self.versions.exists(v, v.name == c.version))",
            "a channel names a version that is not in versions: publish it first",
            field=".channels",
            check=lambda self: (
                {c.version for c in self.channels} <= {v.name for v in self.versions}
            ),
        ),
        Rule(
            "!has(self.channels) || !self.channels.exists(c, c.name == 'latest' ||"
            " self.versions.exists(v, v.name == c.name))",
            "a channel has the name of a version, or is called latest: choose another name",
            field=".channels",
            check=lambda self: (
                not {c.name for c in self.channels} & {"latest", *(v.name for v in self.versions)}
            ),
        ),
    )
    description: Text | None = None
    """What the data is, for people who search."""
    modality: Annotated[list[Word], SET, Field(max_length=16)] = []
    """Kinds of data, such as `text` and `image`."""
    keywords: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=63)]],
        SET,
        Field(max_length=64),
    ] = []
    """More words that people search by."""
    citation: Text | None = None
    """How to cite it."""
    homepage: Url | None = None
    """Where to read more."""
    license: ShortText
    """SPDX expression, such as `CC-BY-4.0` or `LicenseRef-internal`."""
    source: Source
    """Where the owner keeps the data."""
    versions: Annotated[
        list[Version],
        by("name"),
        Field(max_length=128),
        Rule(
            "oldSelf.all(o, self.exists(n, n.name == o.name))",
            "a version is never taken out, since jobs and grants name it: put its name in retired",
            reason="FieldValueForbidden",
        ),
    ] = []
    """Versions, oldest first."""
    retired: Annotated[list[Word], SET, Field(max_length=128)] = []
    """Versions that are copied no more and given to no new job."""
    channels: Annotated[list[Channel], by("name"), Field(max_length=32)] = []
    """Names that move."""
    residency: Residency = Residency()
    """Where the data may lie."""
    access: Access = Access()
    """Who may ask for it."""
    approval: Literal["Manual", "Automatic"] = "Manual"
    """Whether a person agrees to each grant. Automatic is for public data."""
    grant_lifetime: Duration | None = None
    """Longest life of a grant; none is no limit."""
    revocation_grace: Duration = "10m"
    """How long running jobs keep what they may not use any more, to write a checkpoint or to be
    allowed again; then they are stopped, and copies that were made for nobody else are removed.
    No link is signed and no job is placed meanwhile."""
    copies: Annotated[list[CopyRule], by("name"), Field(max_length=16)] = []
    """Copies that are kept whether a job asks for them or not."""
    pins: Annotated[list[Name], SET, Field(max_length=256)] = []
    """Centers whose copies are never evicted."""
    unused_lifetime: Duration | None = None
    """A copy that no job used for so long is removed, rules and pins apart; none keeps it until
    room is needed."""
    signing_key: Annotated[str, StringConstraints(max_length=4096)] | None = None
    """Public key in PEM form that must have signed each manifest; empty accepts unsigned ones."""


class CopyShortfall(ApiModel):
    """A copy rule that is not met."""

    rule: Label
    """Name of the rule."""
    have: Count
    """Verified copies that count."""
    want: Count
    """Copies asked for."""
    reason: ShortText
    """A stable CamelCase word."""
    message: Text = ""
    """What is missing."""


class GrantRequest(ApiModel):
    """A grant that waits for a decision of the share's owner."""

    namespace: Label
    """Namespace that asks."""
    name: Name
    """Name of the DatasetGrant there."""
    requested_by: ShortText
    """Who asks."""
    purpose: ShortText
    """What for."""
    since: Timestamp
    """Since when."""


class DatasetShareStatus(ApiModel):
    """What is known of the share now."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Published, Served, CopiesMet."""
    latest: ShortText | None = None
    """Version that was added last."""
    copies: Count = 0
    """Verified copies of all versions, the owner's apart."""
    grants: Count = 0
    """Grants that are active."""
    requests: Annotated[list[GrantRequest], by("namespace", "name"), Field(max_length=64)] = []
    """Grants that wait for a decision; the oldest."""
    shortfalls: Annotated[list[CopyShortfall], by("rule"), Field(max_length=16)] = []
    """Copy rules that are not met."""


class DatasetShare(KubeObject):
    """A data set that its owner shares."""

    info: ClassVar = KindInfo(
        kind="DatasetShare",
        plural="datasetshares",
        singular="datasetshare",
        short_names=("dss",),
        namespaced=True,
        columns=(
            Column("Latest", ".status.latest"),
            Column("License", ".spec.license"),
            Column("Center", ".spec.source.center"),
            Column("Copies", ".status.copies", "integer"),
            Column("Grants", ".status.grants", "integer"),
            Column("Met", '.status.conditions[?(@.type=="CopiesMet")].status', priority=1),
            Column("Approval", ".spec.approval", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["DatasetShare"] = "DatasetShare"
    """The kind."""
    spec: DatasetShareSpec
    """What the owner offers."""
    status: DatasetShareStatus | None = None
    """What Huiju knows of it."""


class ShareRef(ApiModel):
    """Names a DatasetShare."""

    namespace: Label
    """Namespace of the share."""
    name: Name
    """Name of the share."""


class Decision(ApiModel):
    """The word of the share's owner on a request."""

    decision: Literal["Approved", "Denied", "Suspended", "Revoked"]
    """What was decided. Revoked and Denied are final."""
    by: Annotated[str, StringConstraints(min_length=1, max_length=253)]
    """Who decided; the API server takes only the caller's own name."""
    reason: Text | None = None
    """Why, for a person."""


ASK_AGAIN = "delete the grant and ask again"


class DatasetGrantSpec(ApiModel):
    """What is asked for, and what the owner says to it."""

    rules: ClassVar = (
        never_set_or_unset("expiresAt", ASK_AGAIN),
        Rule(
            "!has(self.decision) || self.decision.by != self.requestedBy",
            "nobody decides on a request of their own: somebody else of the owner's must",
            field=".decision",
            reason="FieldValueForbidden",
            check=lambda self: self.decision is None or self.decision.by != self.requested_by,
        ),
        Rule(
            "!has(oldSelf.decision) || !(oldSelf.decision.decision in ['Revoked', 'Denied'])"
            " || (has(self.decision) && self.decision == oldSelf.decision)",
            f"a grant that was denied or revoked stays so: {ASK_AGAIN}",
            field=".decision",
            reason="FieldValueForbidden",
        ),
    )
    dataset: Annotated[ShareRef, immutable("dataset", ASK_AGAIN)]
    """The share."""
    purpose: Annotated[Word, immutable("purpose", ASK_AGAIN)] = "unspecified"
    """What the data is for."""
    centers: Annotated[list[Name], SET, Field(max_length=256), immutable("centers", ASK_AGAIN)] = []
    """Centers in which it is to be used; empty is all that the share allows."""
    requested_by: Annotated[
        Annotated[str, StringConstraints(min_length=1, max_length=253)],
        immutable("requestedBy", ASK_AGAIN),
    ]
    """Who asks; the API server takes only the caller's own name."""
    accepted_license: Annotated[ShortText, immutable("acceptedLicense", ASK_AGAIN)]
    """License that was accepted; it must be that of the version that is used."""
    expires_at: Timestamp | None = None
    """When it ends; none is as long as the share allows."""
    decision: Decision | None = None
    """The owner's word."""


GrantState = Literal["Requested", "Agreed", "Active", "Suspended", "Denied", "Revoked", "Expired"]


class DatasetGrantStatus(ApiModel):
    """What the grant is worth now."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Active: jobs of the namespace may use the data now."""
    state: GrantState | None = None
    """How far the agreement is."""
    expires_at: Timestamp | None = None
    """When it ends; none is never."""
    decided_by: ShortText | None = None
    """Who decided, `automatic` where nobody had to."""
    granted_at: Timestamp | None = None
    """When it became active first."""


class DatasetGrant(KubeObject):
    """An agreement that the jobs of a namespace may use a data set."""

    info: ClassVar = KindInfo(
        kind="DatasetGrant",
        plural="datasetgrants",
        singular="datasetgrant",
        short_names=("dsg",),
        namespaced=True,
        columns=(
            Column("Dataset", ".spec.dataset.name"),
            Column("Owner", ".spec.dataset.namespace"),
            Column("State", ".status.state"),
            Column("Purpose", ".spec.purpose"),
            Column("Expires", ".status.expiresAt"),
            Column("Requester", ".spec.requestedBy", priority=1),
            Column("Decider", ".status.decidedBy", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
    )
    kind: Literal["DatasetGrant"] = "DatasetGrant"
    """The kind."""
    spec: DatasetGrantSpec
    """What is asked for."""
    status: DatasetGrantStatus | None = None
    """What it is worth."""


class DatasetReplicaSpec(ApiModel):
    """Which copy this is; written by Huiju."""

    dataset: ShareRef
    """The share."""
    share_uid: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    """UID of the share: a share of the same name that came later is another."""
    version: Word
    """Version."""
    manifest_digest: Digest
    """Digest of the version's manifest."""
    bytes: Bytes
    """Bytes of the version."""
    files: Count
    """Files of the version."""
    center: Name
    """Center that holds it."""
    include: Globs = []
    """Patterns of the files that are copied; empty is all."""
    exclude: Globs = []
    """Patterns of the files that are left out."""
    wanted: Flag = False
    """Asked for by a person: kept until taken back, whether a job or a rule needs it or not."""
    verify: Annotated[Int, Field(ge=0, le=1_000_000)] = 0
    """Raised by a person who wants all digests checked once more."""


class ReplicaError(ApiModel):
    """What went wrong last."""

    reason: ShortText
    """A stable CamelCase word."""
    path: Text = ""
    """File that it happened with, if one."""
    message: Text = ""
    """What to do, for a person."""
    at: Timestamp
    """When."""


ReplicaPhase = Literal[
    "Pending", "Waiting", "Copying", "Verifying", "Verified", "Failed", "Evicting", "Gone"
]


class DatasetReplicaStatus(ApiModel):
    """How far the copy is."""

    observed_generation: Annotated[Int, Field(ge=0)] | None = None
    """The generation of the spec that this speaks of."""
    conditions: Conditions = []
    """Verified: all digests are right and the copy can be mounted."""
    phase: ReplicaPhase | None = None
    """How far it is."""
    epoch: Annotated[Int, Field(ge=0, le=999_999_999)] = 0
    """Number of the transfer; whoever holds an older one has lost the right to write."""
    attempt: Count = 0
    """Transfers that failed in a row."""
    retry_at: Timestamp | None = None
    """When the next transfer may begin."""
    source: ShortText | None = None
    """Center that it is read from."""
    bytes_done: Bytes = 0
    """Bytes that are here."""
    bytes_total: Bytes = 0
    """Bytes to be here; less than the version's for a part of it."""
    files_done: Count = 0
    """Files that are here."""
    rate: Bytes = 0
    """Bytes per second now."""
    eta: Timestamp | None = None
    """When it will be here, as things stand."""
    window: ShortText | None = None
    """When the link opens, while it is closed."""
    started_at: Timestamp | None = None
    """When this transfer began."""
    seconds: Count = 0
    """Seconds that the finished transfer took, waiting apart."""
    fetched: Bytes = 0
    """Bytes that the finished transfer brought over the link; what another version's copy had is
    not among them."""
    last_error: ReplicaError | None = None
    """What went wrong last."""
    checked: Annotated[Int, Field(ge=0, le=1_000_000)] = 0
    """The `spec.verify` that was carried out last."""
    repair: Flag = False
    """Digests were found wrong: the next transfer fetches what is, and keeps the rest."""
    verified_at: Timestamp | None = None
    """When all digests were found right."""
    verified_digest: ShortText | None = None
    """Digest of what was verified: the version's manifest, or that of the part."""
    last_used: Timestamp | None = None
    """When a job last needed it."""
    pinned_by: Annotated[list[ShortText], ATOMIC, Field(max_length=16)] = []
    """Jobs, rules and pins that keep it; the first few."""
    used_by: Annotated[list[Label], ATOMIC, Field(max_length=64)] = []
    """Namespaces whose jobs have needed it; the latest."""
    barred_at: Timestamp | None = None
    """Since when none of these may use it any more; it is removed `spec.revocationGrace` later."""


class DatasetReplica(KubeObject):
    """One copy of one version in one center."""

    info: ClassVar = KindInfo(
        kind="DatasetReplica",
        plural="datasetreplicas",
        singular="datasetreplica",
        short_names=("dsr",),
        namespaced=True,
        columns=(
            Column("Dataset", ".spec.dataset.name"),
            Column("Version", ".spec.version"),
            Column("Center", ".spec.center"),
            Column("Phase", ".status.phase"),
            Column("Done", ".status.bytesDone", "integer", "Bytes that are here"),
            Column("Bytes", ".status.bytesTotal", "integer", "Bytes to be here"),
            Column("Rate", ".status.rate", "integer", "Bytes per second", priority=1),
            Column("ETA", ".status.eta", priority=1),
            Column("Reason", '.status.conditions[?(@.type=="Verified")].reason', priority=1),
            Column("Source", ".status.source", priority=1),
            Column("Used", ".status.lastUsed", priority=1),
            Column("Age", ".metadata.creationTimestamp", "date", priority=1),
        ),
        selectable=(".spec.center", ".status.phase"),
    )
    rules: ClassVar = (
        Rule(
            "self.spec.dataset == oldSelf.spec.dataset && self.spec.version == oldSelf.spec.version"
            " && self.spec.center == oldSelf.spec.center"
            " && self.spec.manifestDigest == oldSelf.spec.manifestDigest"
            " && self.spec.shareUid == oldSelf.spec.shareUid",
            "a replica stays the copy that it is: make another",
            field=".spec",
            reason="FieldValueForbidden",
        ),
    )
    kind: Literal["DatasetReplica"] = "DatasetReplica"
    """The kind."""
    spec: DatasetReplicaSpec
    """Which copy this is."""
    status: DatasetReplicaStatus | None = None
    """How far it is."""
