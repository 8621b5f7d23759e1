"""The examples say what the models take, every kind has one, and newcomers are told about them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.api import structural
from huiju.api.crd import KINDS, root_schema
from huiju.api.meta import KubeObject

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
OURS: dict[str, type[KubeObject]] = {kind.info.kind: kind for kind in KINDS}


def objects() -> Iterator[Any]:
    for path in FILES:
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            name = f"{path.name}-{document['kind']}-{document['metadata']['name']}"
            yield pytest.param(document, id=name)


@pytest.mark.parametrize("document", list(objects()))
def test_the_models_take_every_example(document: dict[str, Any]) -> None:
    if document["kind"] not in OURS:
        assert document["kind"] in ("Secret", "ConfigMap")
        return
    kind = OURS[document["kind"]]
    kind.model_validate(document)
    assert structural.validate(document.get("spec", {}), _spec(kind), strict=True) == []


def _spec(kind: type[KubeObject]) -> structural.Schema:
    spec: structural.Schema = root_schema(kind)["properties"]["spec"]
    return spec


def test_every_kind_has_an_example() -> None:
    shown = {
        document["kind"]
        for path in FILES
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    }
    assert shown >= OURS.keys()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_starts_with_what_it_is(path: Path) -> None:
    first, second = path.read_text(encoding="utf-8").splitlines()[:2]
    assert first.startswith("# ")
    assert first.endswith((".", '").', ":")) or second.startswith("# ")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_list_of_examples_names_each(path: Path) -> None:
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"[{path.name}]({path.name})" in readme
