"""Croissant (MLCommons' metadata of data sets, JSON-LD): from a share, and into one.

Pure. Decides which of Croissant's words say what a share says. Invariant: what is written holds no
address of a source and no name of a Secret: a description may be given to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from mimetypes import guess_type
from typing import Any, Final

from huiju.api.dataset import DatasetShareSpec, Version
from huiju.data.manifest import Entry, name_of

Fields = dict[str, Any]
CONFORMS_TO: Final = "http://mlcommons.org/croissant/1.1"
MOST_FILES: Final = 10_000
"""Files that are described one by one; of more, the kinds of files are."""
_SPDX: Final = "https://spdx.org/licenses/"
_PLAIN: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9.+-]*$")
_OTHERWISE: Final = "application/octet-stream"
_FORMATS: Final = {
    "arrow": "application/vnd.apache.arrow.file",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "md": "text/markdown",
    "ndjson": "application/jsonlines",
    "parquet": "application/vnd.apache.parquet",
    "safetensors": "application/octet-stream",
    "tar": "application/x-tar",
    "zst": "application/zstd",
}
_CONTEXT: Final[Fields] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


class CroissantRefused(ValueError):
    """A file that describes no data set; the message says why."""


def describe(
    namespace: str,
    name: str,
    spec: DatasetShareSpec,
    version: Version,
    entries: Iterable[Entry] | None = None,
) -> Fields:
    """A version in Croissant's words; `entries` are its files, where the manifest is at hand."""
    told: Fields = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "alternateName": f"{namespace}/{name}",
        "description": spec.description,
        "license": _license_url(version.license or spec.license),
        "url": spec.homepage,
        "citeAs": spec.citation,
        "keywords": [*spec.keywords, *spec.modality] or None,
        "version": version.name,
        "datePublished": version.created_at,
        "identifier": version.manifest_digest,
        "size": f"{version.bytes} B",
        "isBasedOn": list(version.derived_from) or None,
        "distribution": list(_distribution(version, entries)),
        "recordSet": [],
    }
    return {key: value for key, value in told.items() if value is not None}


def _distribution(version: Version, entries: Iterable[Entry] | None) -> Iterator[Fields]:
    listed = name_of(version.manifest_digest)
    yield {
        "@type": "cr:FileObject",
        "@id": "manifest",
        "name": "manifest",
        "description": "Every file with its size and digest, one JSON object a line.",
        "contentUrl": listed,
        "encodingFormat": "application/jsonlines",
        "sha256": version.manifest_digest.removeprefix("sha256:"),
    }
    kinds: dict[str, int] = {}
    one_by_one = entries is not None and version.files <= MOST_FILES
    for entry in entries or ():
        if one_by_one:
            yield _file(entry)
            continue
        ending = _ending(entry.path)
        kinds[ending] = kinds.get(ending, 0) + 1
    if entries is None:
        kinds[""] = version.files
    for ending, many in sorted(kinds.items()):
        yield {
            "@type": "cr:FileSet",
            "@id": f"files-{ending or 'all'}",
            "name": f"files-{ending or 'all'}",
            "description": f"{many} files",
            "containedIn": {"@id": "manifest"},
            "encodingFormat": _format(f"x.{ending}" if ending else ""),
            "includes": f"**/*.{ending}" if ending else "**",
        }


def _file(entry: Entry) -> Fields:
    return {
        "@type": "cr:FileObject",
        "@id": entry.path,
        "name": entry.path,
        "contentUrl": entry.path,
        "contentSize": f"{entry.size} B",
        "encodingFormat": _format(entry.path),
        "sha256": entry.sha256,
    }


def _ending(path: str) -> str:
    _, dot, ending = path.rpartition("/")[2].rpartition(".")
    return ending.lower() if dot and ending.isalnum() else ""


def _format(path: str) -> str:
    return _FORMATS.get(_ending(path)) or guess_type(path)[0] or _OTHERWISE


def _license_url(license: str) -> str:
    return f"{_SPDX}{license}" if _PLAIN.match(license) else license


# --- the way back ---------------------------------------------------------------------------------


def read(told: Any) -> Fields:
    """What a description says of a share's spec: only fields that it has words for.

    Raises CroissantRefused.
    """
    if not isinstance(told, Mapping) or not _is_dataset(told):
        raise CroissantRefused("it describes no data set: @type is not sc:Dataset")
    found: Fields = {}
    for field, words in (
        ("description", ("description",)),
        ("citation", ("citeAs", "citation")),
        ("homepage", ("url",)),
        ("license", ("license",)),
    ):
        text = next((str(told[word]) for word in words if _text(told.get(word))), "")
        if text:
            found[field] = text
    if "license" in found:
        given = found["license"]
        found["license"] = given.removeprefix(_SPDX).removesuffix(".html").removesuffix(".json")
    keywords = told.get("keywords") or ()
    if isinstance(keywords, str):
        keywords = keywords.split(",")
    kept = [str(word).strip() for word in keywords if str(word).strip()]
    if kept:
        found["keywords"] = sorted(set(kept))
    return found


def digests(told: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the files that a description names one by one, by path."""
    found = {}
    for one in told.get("distribution") or ():
        kind = str(one.get("@type", "")).rpartition(":")[2]
        path, digest = one.get("contentUrl") or one.get("name"), one.get("sha256")
        if kind == "FileObject" and _text(path) and _text(digest) and one.get("@id") != "manifest":
            found[str(path)] = str(digest).lower()
    return found


def _is_dataset(told: Mapping[str, Any]) -> bool:
    kinds = told.get("@type")
    all = kinds if isinstance(kinds, list) else [kinds]
    return any(str(kind).rpartition(":")[2].rpartition("/")[2] == "Dataset" for kind in all)


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
