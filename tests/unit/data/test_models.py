"""Cards of models: which files a version must have, and what a card's status says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from huiju.api.model import ModelShareSpec
from huiju.data.manifest import Entry
from huiju.data.models import problems
from huiju.hub.datasets.catalog import Body, Catalog, Meta
from huiju.hub.datasets.models import Models
from huiju.hub.datasets.search import search
from huiju.kube.client import Client
from huiju.kube.credentials import Credentials
from tests.copy_worlds import NOW
from tests.unit.data.test_catalog import body, catalog, no_models

GOOD = ("config.json", "tokenizer.json", "model-00001-of-2.safetensors")


def spec(**more: Any) -> ModelShareSpec:
    base = {"weights": {"dataset": "open"}, "format": "safetensors"}
    return ModelShareSpec.model_validate(base | more)


def files(*paths: str) -> Iterator[Entry]:
    yield from (Entry(path, 1, "0" * 64) for path in sorted(paths))


def test_a_version_has_what_its_card_promises() -> None:
    wanted = {"requiredFiles": ["config.json", "tokenizer*", "*.safetensors"]}
    assert problems(spec(**wanted), files(*GOOD)) == []
    (told,) = problems(spec(**wanted), files("config.json", "x.safetensors"))
    assert told == "it has no tokenizer*"


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a/b.pkl", "x.PT", "modeling_x.py"])
def test_files_that_run_code_are_refused_unless_the_card_lets_them(name: str) -> None:
    (told,) = problems(spec(), files(*GOOD, name))
    assert name in told
    assert "allowPickle" in told
    assert problems(spec(allowPickle=True), files(*GOOD, name)) == []


def test_many_of_them_are_told_in_one_line() -> None:
    (told,) = problems(spec(), files("config.json", *(f"{n}.bin" for n in range(9))))
    assert "and 6 more" in told


def models(known: Catalog, **more: Any) -> Models:
    made = Models(Client(Credentials("https://hub.example"), name="hub"), known, lambda: None)
    meta = Meta("chat", "m1", "owners", "7", 1)
    fields = spec(**more).model_dump(by_alias=True, exclude_none=True)
    made._seen(None, Body(meta, fields))
    return made


def test_a_model_is_told_to_those_alone_who_may_know_of_its_files() -> None:
    known = catalog()
    known.upsert(body("open", access={"namespaces": ["team-a"]}))
    of = models(known, task="text-generation", parameters=7).of
    (row,) = search(known, of, "team-a", "text-generation", {}, NOW)
    (model,) = row["models"]
    assert (model["name"], model["parameters"]) == ("chat", 7)
    assert search(known, of, "team-b", "", {}, NOW) == []
    assert "models" not in search(known, no_models, "team-a", "", {}, NOW)[0]
