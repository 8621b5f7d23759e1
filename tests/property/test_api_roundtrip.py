"""Models, JSON and the generated schemas agree on every object that hypothesis thinks of."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from huiju.api import structural
from huiju.api.crd import KINDS, root_schema
from huiju.api.durations import format_duration, parse_duration
from huiju.api.meta import KubeObject
from tests.property.api_objects import objects_of, plain_schema, spoiled

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
SPANNING = frozenset({"rule", "duplicate"})
"""Errors of rules between fields, which a schema without CEL does not know."""

kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.info.kind)


users_schema = cache(root_schema)


def parsed(kind: type[KubeObject], document: Any) -> KubeObject | ValidationError:
    try:
        return kind.model_validate(document)
    except ValidationError as refusal:
        return refusal


@kinds
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_what_the_schema_takes_the_model_takes_up_to_its_rules(
    kind: type[KubeObject], data: st.DataObject
) -> None:
    document = data.draw(objects_of(kind, status=True))
    match parsed(kind, document):
        case ValidationError() as refusal:
            unexpected = [error for error in refusal.errors() if error["type"] not in SPANNING]
            assert unexpected == []
        case _:
            pass


@kinds
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_an_object_survives_the_way_through_the_model(
    kind: type[KubeObject], data: st.DataObject
) -> None:
    document = data.draw(objects_of(kind, status=True))
    model = parsed(kind, document)
    if isinstance(model, ValidationError):
        return
    wire = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert wire == document
    assert kind.model_validate_json(json.dumps(wire)) == model
    assert (
        kind.model_validate_json(model.model_dump_json(by_alias=True, exclude_none=True)) == model
    )


@kinds
@settings(max_examples=60, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_what_the_model_writes_the_schema_takes(
    kind: type[KubeObject], data: st.DataObject
) -> None:
    model = parsed(kind, data.draw(objects_of(kind, status=True)))
    if isinstance(model, ValidationError):
        return
    for wire in (
        model.model_dump(mode="json", by_alias=True, exclude_unset=True),
        model.model_dump(mode="json", by_alias=True, exclude_none=True),
    ):
        for schema in (users_schema(kind), plain_schema(kind)):
            for part in ("spec", "status"):
                if part in wire:
                    problems = structural.validate(
                        wire[part], schema["properties"][part], part, strict=True
                    )
                    assert problems == []


@kinds
@settings(max_examples=150, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_what_the_schema_refuses_the_model_refuses(
    kind: type[KubeObject], data: st.DataObject
) -> None:
    document = data.draw(spoiled(kind))
    schema = plain_schema(kind)["properties"]["spec"]
    problems = structural.validate(document["spec"], schema, "spec", strict=True)
    outcome = parsed(kind, document)
    if problems:
        assert isinstance(outcome, ValidationError), problems
    elif isinstance(outcome, ValidationError) and "null" not in json.dumps(document):
        assert {error["type"] for error in outcome.errors()} <= SPANNING | {"name", "template"}


@given(milliseconds=st.integers(0, 10**12))
def test_durations_survive(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds
