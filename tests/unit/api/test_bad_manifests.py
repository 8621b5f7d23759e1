"""The models refuse what the API server refuses, and say the same where a rule speaks."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from huiju.api.crd import KINDS
from tests.manifests import Case, Manifest, base, changes, refused

MODELS = {kind.info.kind: kind for kind in KINDS}


@pytest.mark.parametrize("manifest", list(base().values()), ids=list(base()))
def test_the_good_objects_are_good(manifest: Manifest) -> None:
    MODELS[manifest["kind"]].model_validate(manifest)


def test_the_table_is_long_and_names_each_case_once() -> None:
    names = [case.name for case in (*refused(), *changes())]
    assert len(set(names)) == len(names)
    assert len(names) >= 40


@pytest.mark.parametrize("case", refused(), ids=lambda case: case.name)
def test_the_model_refuses_it_too(case: Case) -> None:
    with pytest.raises(ValidationError) as refusal:
        MODELS[case.manifest["kind"]].model_validate(case.manifest)
    for error in refusal.value.errors():
        if error["type"] in ("rule", "pattern"):
            assert error["msg"] in case.says


@pytest.mark.parametrize("case", changes(), ids=lambda case: case.name)
def test_changes_lead_from_a_good_object_to_a_good_one(case: Case) -> None:
    for manifest in (case.manifest, case.then):
        assert manifest is not None
        MODELS[manifest["kind"]].model_validate(manifest)
