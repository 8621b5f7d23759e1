"""Croissant's words for a share, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from huiju.data import croissant
from huiju.data.croissant import CroissantRefused, describe, read
from huiju.data.manifest import Entry
from tests.copy_worlds import share

HEX = "a" * 64


def told(entries: list[Entry] | None = None, files: int = 2, **spec: Any) -> dict[str, Any]:
    made = share(**spec)
    version = made.spec.versions[0].model_copy(update={"files": files})
    return describe(made.namespace, made.name, made.spec, version, entries)


def test_a_description_holds_no_address_and_no_secret() -> None:
    source = {
        "center": "guiyang",
        "s3": {
            "endpoint": "https://obs.example",
            "bucket": "corpora-x",
            "secretName": "corpora-key",
        },
    }
    text = json.dumps(told(source=source, description="text"))
    for word in ("obs.example", "corpora-x", "corpora-key", "guiyang"):
        assert word not in text


def test_files_are_named_one_by_one_or_by_kind() -> None:
    entries = [Entry("a/x.parquet", 10, HEX), Entry("b", 0, HEX), Entry("语料.jsonl", 5, HEX)]
    found = told(entries, files=3)["distribution"]
    assert [(f["@type"], f["name"]) for f in found[1:]] == [
        ("cr:FileObject", "a/x.parquet"),
        ("cr:FileObject", "b"),
        ("cr:FileObject", "语料.jsonl"),
    ]
    assert found[1]["encodingFormat"] == "application/vnd.apache.parquet"
    many = told(entries, files=croissant.MOST_FILES + 1)["distribution"]
    assert [f.get("includes") for f in many[1:]] == ["**", "**/*.jsonl", "**/*.parquet"]
    assert all(f["containedIn"] == {"@id": "manifest"} for f in many[1:])
    (_, everything) = told()["distribution"]
    assert everything["includes"] == "**"


def test_what_went_out_comes_back() -> None:
    spec: dict[str, Any] = {
        "description": "Chinese text",
        "keywords": ["web"],
        "citation": "Li 2026",
        "homepage": "https://data.example/zh",
        "license": "Apache-2.0",
    }
    assert read(json.loads(json.dumps(told(**spec)))) == spec


@pytest.mark.parametrize(
    ("license", "found"),
    [
        ("https://spdx.org/licenses/CC-BY-4.0.html", "CC-BY-4.0"),
        ("LicenseRef-internal", "LicenseRef-internal"),
        ("https://own.example/terms", "https://own.example/terms"),
    ],
)
def test_licenses_are_read_as_spdx_where_they_are(license: str, found: str) -> None:
    assert read({"@type": "https://schema.org/Dataset", "license": license})["license"] == found


@pytest.mark.parametrize("wrong", [[], "text", {}, {"@type": "sc:Person"}])
def test_what_is_no_data_set_is_refused(wrong: Any) -> None:
    with pytest.raises(CroissantRefused):
        read(wrong)
