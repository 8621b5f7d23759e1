"""Publishing a version of a data set: `kubectl huiju dataset publish`.

Reads the source where it lies, writes the manifest beside the data, then adds the version to the
DatasetShare. Decides the order of these. Invariants: a version is named only once its manifest is
in the source; keys come from the environment or from files, never from the command line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.deciding import split
from huiju.cli.failures import Failure, UsageError
from huiju.cli.session import Session
from huiju.cli.table import dig

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from huiju.api.model import ModelShareSpec
    from huiju.data.manifest import Summary
    from huiju.data.origin import Origin, Progress
    from huiju.data.sigv4 import Key

ACCESS: Final = "AWS_ACCESS_KEY_ID"
SECRET: Final = "AWS_SECRET_ACCESS_KEY"  # noqa: S105  the variable's name
SESSION: Final = "AWS_SESSION_TOKEN"
TOKEN: Final = "HUIJU_SOURCE_TOKEN"  # noqa: S105
_TRIES: Final = 8
_PAUSE: Final = 0.2
_SMALL: Final = 1_000_000
"""Mean bytes of a file below which links are used badly."""


@dataclass(frozen=True, slots=True)
class Made:
    """A manifest in a file of this machine, and its signature's file."""

    file: Path
    summary: Summary
    signature: Path | None


def publish(session: Session, name: str) -> None:
    """Publish one version."""
    flags = session.flags
    if not flags.version:
        raise UsageError("publish needs --version NAME, the version's name")
    if len(flags.names) > 1:
        raise UsageError("publish takes one data set")
    from huiju.kube.resources import DATASET_SHARES

    space, dataset = split(session, name)
    share = session.api.get(DATASET_SHARES, dataset, space)
    spec: dict[str, Any] = share.get("spec") or {}
    lineage = _lineage(session)
    key = _signing_key(session, spec)
    with tempfile.TemporaryDirectory(prefix="huiju-publish-") as folder:
        cards = _cards(session, space, dataset)
        made = asyncio.run(_make(session, spec, Path(folder), key, cards))
    _tell(session, made.summary)
    _add(session, space, dataset, made.summary, lineage)


def _cards(session: Session, space: str, dataset: str) -> list[tuple[str, ModelShareSpec]]:
    """The models whose files the data set has."""
    from huiju.api.model import ModelShareSpec
    from huiju.kube.errors import Forbidden, NotFound
    from huiju.kube.resources import MODEL_SHARES

    try:
        found, _ = session.api.list(MODEL_SHARES, space)
    except (Forbidden, NotFound):
        session.note("the models of the namespace cannot be read: files are not checked for them")
        return []
    cards = [(m["metadata"]["name"], ModelShareSpec.model_validate(m["spec"])) for m in found]
    return [(name, card) for name, card in cards if card.weights.dataset == dataset]


def _as_models(cards: list[tuple[str, ModelShareSpec]], listed: Path) -> None:
    """Refuse a version that is not what the cards of its models promise."""
    from huiju.data.manifest import Reader
    from huiju.data.models import problems

    for name, card in cards:
        told = problems(card, Reader(listed))
        if told:
            raise Failure(f"it cannot be published as model {name}: {'; '.join(told)}")


def _lineage(session: Session) -> dict[str, Any]:
    """What the version is made from, and by which job, as the job's own status tells it."""
    flags = session.flags
    given = list(flags.derived_from or ())
    if not flags.from_job:
        return {"derivedFrom": given} if given else {}
    from huiju.kube.resources import CROSS_REGION_JOBS

    space, name = split(session, flags.from_job)
    job = session.api.get(CROSS_REGION_JOBS, name, space)
    meta, status = job["metadata"], job.get("status") or {}
    if status.get("phase") != "Succeeded":
        raise Failure(
            f"job {space}/{name} is {status.get('phase') or 'new'}: only the output of one that"
            " has succeeded is published under its name"
        )
    read = [each["manifestDigest"] for each in status.get("data") or ()]
    made = {key: meta[key] for key in ("namespace", "name", "uid")}
    lineage: dict[str, Any] = {"madeBy": made | {"epoch": status["placement"]["epoch"]}}
    if given or read:
        lineage["derivedFrom"] = list(dict.fromkeys([*given, *read]))
    return lineage


def _signing_key(session: Session, spec: dict[str, Any]) -> Ed25519PrivateKey | None:
    """The key to sign with, checked against the share's before anything is read."""
    given, wanted = session.flags.sign_key, str(spec.get("signingKey") or "")
    if not given:
        if wanted:
            raise UsageError(
                "the data set takes signed versions only: name the private half of"
                " spec.signingKey with --sign-key FILE"
            )
        return None
    from huiju.data.signature import KeyRefused, load_private, public_pem

    try:
        key = load_private(Path(given))
    except KeyRefused as refusal:
        raise UsageError(f"--sign-key: {refusal}") from None
    ours = public_pem(key)
    if wanted and ours.split() != wanted.split():
        raise UsageError("--sign-key: this is not the private half of the share's spec.signingKey")
    if not wanted:
        session.note(f"to have signatures checked, set spec.signingKey of the share to\n{ours}")
    return key


async def _make(
    session: Session,
    spec: dict[str, Any],
    folder: Path,
    key: Ed25519PrivateKey | None,
    cards: list[tuple[str, ModelShareSpec]],
) -> Made:
    from huiju.data.manifest import name_of, signature_name_of
    from huiju.data.origin import OriginRefused, store
    from huiju.data.signature import sign

    flags = session.flags
    async with AsyncExitStack() as stack:
        try:
            origin = await _origin(session, spec, stack)
            summary = await _read(session, origin, folder / "manifest")
            made = Made(folder / "manifest", summary, None)
            await asyncio.to_thread(_as_models, cards, made.file)
            if key is not None:
                made = Made(made.file, summary, folder / "signature")
                (folder / "signature").write_bytes(sign(key, summary.digest))
            if flags.dry_run:
                return made
            kept = [(name_of(summary.digest), made.file)]
            if made.signature is not None:
                kept.append((signature_name_of(summary.digest), made.signature))
            for name, file in kept:
                if flags.out:
                    await asyncio.to_thread(store, Path(flags.out) / name, file)
                else:
                    await origin.keep(name, file)
            return made
        except OriginRefused as refusal:
            raise Failure(f"{refusal.reason}: {refusal}") from None


async def _origin(session: Session, spec: dict[str, Any], stack: AsyncExitStack) -> Origin:
    """The source of the share, as this machine reaches it."""
    from huiju.data.origin import FolderOrigin

    flags = session.flags
    s3, web = dig(spec, "source", "s3"), dig(spec, "source", "http")
    if s3 or web:
        if flags.source:
            raise UsageError("--source goes with data sets whose source is a folder")
        import aiohttp

        http = await stack.enter_async_context(aiohttp.ClientSession())
        return _bucket(http, s3) if s3 else _web(http, web["url"], flags.list)
    folder = FolderOrigin(
        source_folder(session, spec), flags.parallel, follow_links=flags.follow_links
    )
    stack.callback(folder.close)
    return folder


def source_folder(session: Session, spec: dict[str, Any]) -> Path:
    """The folder of a share, as this machine has it; raises UsageError."""
    path = Path(session.flags.source or dig(spec, "source", "files", "path") or "")
    if not path.is_dir():
        raise UsageError(
            f"there is no folder {path} here; name where the data lies on this machine with"
            " --source FOLDER"
        )
    return path


def source_key() -> Key:
    """The key of a share's bucket, from the environment; raises UsageError."""
    from huiju.data.sigv4 import Key

    access, secret = os.environ.get(ACCESS, ""), os.environ.get(SECRET, "")
    if not access or not secret:
        raise UsageError(f"set {ACCESS} and {SECRET} in the environment to a key of the bucket")
    return Key(access, secret, os.environ.get(SESSION, ""))


def _bucket(http: Any, s3: dict[str, Any]) -> Origin:
    from huiju.data.remote import S3Origin
    from huiju.data.sigv4 import Bucket, Signer

    key = source_key()
    bucket = Bucket(
        s3["endpoint"].rstrip("/"), s3["bucket"], s3.get("prefix", ""), s3.get("region", "")
    )
    return S3Origin(http, Signer(bucket, key))


def _web(http: Any, url: str, listed: str | None) -> Origin:
    from huiju.data.remote import HttpOrigin

    if not listed:
        raise UsageError(
            "a web server cannot be listed: name a file with one path a line with --list FILE"
        )
    try:
        lines = Path(listed).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--list: {error}") from None
    return HttpOrigin(http, url, [line for line in lines if line], os.environ.get(TOKEN, ""))


async def _read(session: Session, origin: Origin, file: Path) -> Summary:
    from huiju.data.origin import Progress
    from huiju.data.publish import build

    flags = session.flags
    progress = Progress()
    showing = asyncio.create_task(_show(session, progress))
    try:
        with file.open("wb") as opened:
            return await build(origin, opened, flags.part_size << 20, flags.parallel, progress)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _show(session: Session, progress: Progress) -> None:
    """A line every two seconds for a person who watches."""
    from huiju.cli.datasets import size

    if not sys.stderr.isatty():
        return
    started = time.monotonic()
    while True:
        await asyncio.sleep(2)
        rate = progress.bytes / (time.monotonic() - started)
        session.note(f"{progress.files} files, {size(progress.bytes)} read, {size(int(rate))}/s")


def _tell(session: Session, summary: Summary) -> None:
    """What a person should know before anybody copies this."""
    if not summary.files:
        raise Failure("the source has no files: nothing to publish")
    if summary.collisions:
        shown = ", ".join(summary.examples)
        session.note(
            f"warning: {summary.collisions} names differ from others in case alone, such as"
            f" {shown}: file systems that ignore case cannot hold this version"
        )
    if summary.files > 1000 and summary.bytes / summary.files < _SMALL:
        session.note(
            f"warning: {summary.files} files of {summary.bytes // summary.files} bytes on average"
            " copy slowly; pack them into archives of 100 MB and more"
        )


def _add(
    session: Session, space: str, dataset: str, summary: Summary, lineage: dict[str, Any]
) -> None:
    """Add the version to the share as it is now: reading the data may have taken hours."""
    from huiju.kube.errors import Conflict
    from huiju.kube.resources import DATASET_SHARES

    for _ in range(_TRIES):
        try:
            _add_to(session, session.api.get(DATASET_SHARES, dataset, space), summary, lineage)
            return
        except Conflict:  # somebody wrote meanwhile, the hub its status perhaps
            time.sleep(_PAUSE)
    _add_to(session, session.api.get(DATASET_SHARES, dataset, space), summary, lineage)


def _add_to(
    session: Session, share: dict[str, Any], summary: Summary, lineage: dict[str, Any]
) -> None:
    """Add the version, or find it there; raises Conflict where the share was changed meanwhile."""
    from huiju.kube.resources import DATASET_SHARES

    flags = session.flags
    meta, spec = share["metadata"], share.get("spec") or {}
    shown = f"{meta['namespace']}/{meta['name']}"
    versions: list[dict[str, Any]] = spec.get("versions") or []
    known = next((v for v in versions if v["name"] == flags.version), None)
    if known is not None and known["manifestDigest"] != summary.digest:
        raise Failure(
            f"version {flags.version} of {shown} is {known['manifestDigest']}, the source holds"
            f" {summary.digest} now; versions never change: publish it under another name"
        )
    change: dict[str, Any] = {}
    if known is None:
        change["versions"] = [*versions, _version(session, summary) | lineage]
    if flags.channel:
        others = [c for c in spec.get("channels") or [] if c["name"] != flags.channel]
        change["channels"] = [*others, {"name": flags.channel, "version": flags.version}]
    if change:
        body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "spec": change}
        session.api.patch(
            DATASET_SHARES, meta["name"], body, meta["namespace"], dry_run=flags.dry_run
        )
    word = "published" if known is None else "was published already"
    tried = " (server dry run)" if flags.dry_run else ""
    session.say(
        f"version {flags.version} of {shown} {word}: {summary.digest}, {summary.files} files,"
        f" {summary.bytes} bytes{tried}"
    )


def _version(session: Session, summary: Summary) -> dict[str, Any]:
    flags = session.flags
    version: dict[str, Any] = {
        "name": flags.version,
        "manifestDigest": summary.digest,
        "bytes": summary.bytes,
        "files": summary.files,
        "createdAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if flags.license:
        version["license"] = flags.license
    return version
