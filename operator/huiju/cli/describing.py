"""Descriptions of data sets as Croissant: `kubectl huiju dataset export` and `import`.

Decides what is taken over from a file that somebody else has written. Invariant: an import changes
no license, since agreements stand on it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from huiju.cli.deciding import split
from huiju.cli.failures import Failure, UsageError
from huiju.cli.session import Session

if TYPE_CHECKING:
    from huiju.api.dataset import Version
    from huiju.data.access import Share
    from huiju.data.manifest import Reader

Fields = dict[str, Any]
_TAKEN: Final = ("description", "citation", "homepage", "keywords")


def export(session: Session, name: str) -> None:
    """Print a version's description as JSON-LD."""
    from huiju.data.croissant import describe

    share, version = _version(session, name)
    reader = _manifest(session, version.manifest_digest)
    told = describe(share.namespace, share.name, share.spec, version, reader)
    session.say(json.dumps(told, ensure_ascii=False, indent=2))


def take_over(session: Session, name: str) -> None:
    """Take over a description into a share."""
    from huiju.data.croissant import CroissantRefused, read
    from huiju.kube.resources import DATASET_SHARES

    flags = session.flags
    if not flags.croissant:
        raise UsageError("import needs --croissant FILE, the description")
    told = _json(flags.croissant)
    try:
        found = read(told)
    except CroissantRefused as refusal:
        raise UsageError(f"--croissant: {refusal}") from None
    if flags.manifest:
        _compare(session, name, told)
    space, dataset = split(session, name)
    share = session.api.get(DATASET_SHARES, dataset, space)
    theirs, ours = found.get("license"), share["spec"].get("license")
    if theirs and theirs != ours:
        session.note(
            f"the file says license {theirs}, the share {ours}: grants stand on it, so change it"
            " yourself if it is wrong"
        )
    change = {key: found[key] for key in _TAKEN if key in found}
    news = {key: value for key, value in change.items() if share["spec"].get(key) != value}
    if not news:
        session.say(f"{space}/{dataset} says so already")
        return
    session.api.patch(DATASET_SHARES, dataset, {"spec": news}, space, dry_run=flags.dry_run)
    dry = " (dry run)" if flags.dry_run else ""
    session.say(f"{space}/{dataset}: {', '.join(news)} taken over{dry}")


def _version(session: Session, name: str) -> tuple[Share, Version]:
    from huiju.data.access import LATEST, Refused, share_of, version_of
    from huiju.kube.resources import DATASET_SHARES

    space, dataset = split(session, name)
    share = share_of(session.api.get(DATASET_SHARES, dataset, space))
    found = version_of(share.spec, session.flags.version or LATEST)
    if isinstance(found, Refused):
        raise Failure(f"{space}/{dataset}: {found.message}")
    return share, found


def _manifest(session: Session, digest: str) -> Reader | None:
    from huiju.data.manifest import ManifestRefused, Reader, expect

    if not session.flags.manifest:
        return None
    file = Path(session.flags.manifest)
    try:
        expect(file, digest)
        return Reader(file)
    except (ManifestRefused, OSError) as error:
        raise UsageError(f"--manifest: {error}") from None


def _compare(session: Session, name: str, told: Fields) -> None:
    """Refuse a description of other files than those of the version."""
    from huiju.data.croissant import digests

    _, version = _version(session, name)
    reader = _manifest(session, version.manifest_digest)
    named = digests(told)
    ours = {e.path: e.sha256 for e in reader or () if e.path in named}
    wrong = sorted(path for path, digest in named.items() if ours.get(path) != digest)
    if wrong:
        raise Failure(
            f"{len(wrong)} of {len(named)} files that it names are others in version"
            f" {version.name}, or not there: {', '.join(wrong[:3])}"
        )
    session.say(f"{len(named)} files have the digests that it names")


def _json(name: str) -> Any:
    try:
        return json.loads(Path(name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"--croissant: {error}") from None
