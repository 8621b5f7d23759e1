"""How models become structural schemas, and what is refused on the way."""

# ruff: noqa: RUF012  (pydantic copies default lists and maps)
from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import Field, StringConstraints, ValidationError

from huiju.api import crd, structural
from huiju.api.markers import ATOMIC, SET, Preserve, Rule, by, immutable, never_set_or_unset
from huiju.api.meta import ApiModel, Duration, Int, KubeObject, LabelMap
from huiju.api.schema import SchemaError, structural_schema


def members(model: type[ApiModel], **options: bool) -> dict[str, Any]:
    schema = structural_schema(model, **options)
    assert structural.check(schema) == []
    properties: dict[str, Any] = schema["properties"]
    return properties


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.info.kind)
def test_the_same_models_give_the_same_bytes(kind: type[KubeObject]) -> None:
    assert dict(crd.files()) == dict(crd.files())
    assert structural.check(crd.root_schema(kind)) == []


class Inner(ApiModel):
    """An inner object."""

    name: str
    """Its name."""
    size: Annotated[Int, Field(ge=1, le=8)] = 2
    """Its size."""


class Outer(ApiModel):
    """An outer object."""

    rules: ClassVar = (
        Rule("self.mode != 'b' || has(self.inner)", "inner is needed", field=".inner"),
        never_set_or_unset("inner", "make another"),
    )
    inner: Inner | None = None
    """An optional object."""
    mode: Literal["a", "b"] = "a"
    """A choice."""
    only: Literal["x"] = "x"
    """One value."""
    things: Annotated[list[Inner], by("name")] = []
    """Objects by name."""
    words: Annotated[list[str], SET] = []
    """A set."""
    row: Annotated[list[Int], ATOMIC] = []
    """A list."""
    wait: Duration = "5m"
    """A duration."""
    labels: LabelMap = {}
    """Labels."""
    big: Int = 0
    """A number."""
    free: Annotated[dict[str, Any], Preserve()] = {}
    """Anything."""


def test_none_is_left_out_and_references_are_inlined() -> None:
    inner = members(Outer)["inner"]
    assert inner["type"] == "object"
    assert inner["description"] == "An optional object."
    assert inner["required"] == ["name"]
    assert "default" not in inner
    assert "nullable" not in inner


def test_names_are_camel_case_and_sentences_come_from_docstrings() -> None:
    class Model(ApiModel):
        """A model."""

        some_field: str = ""
        """A sentence."""

    assert members(Model) == {"someField": {"description": "A sentence.", "type": "string"}}


def test_choices_are_enums() -> None:
    assert members(Outer)["mode"]["enum"] == ["a", "b"]
    assert members(Outer)["only"]["enum"] == ["x"]


def test_lists_state_their_type() -> None:
    fields = members(Outer)
    assert fields["things"]["x-kubernetes-list-type"] == "map"
    assert fields["things"]["x-kubernetes-list-map-keys"] == ["name"]
    assert fields["words"]["x-kubernetes-list-type"] == "set"
    assert fields["row"]["x-kubernetes-list-type"] == "atomic"


def test_rules_stand_on_their_object() -> None:
    assert structural_schema(Outer)["x-kubernetes-validations"] == [
        {
            "rule": "self.mode != 'b' || has(self.inner)",
            "message": "inner is needed",
            "fieldPath": ".inner",
        },
        {
            "rule": "has(self.inner) == has(oldSelf.inner) && "
            "(!has(self.inner) || self.inner == oldSelf.inner)",
            "message": "inner is immutable: make another",
            "reason": "FieldValueForbidden",
            "fieldPath": ".inner",
        },
    ]


def test_a_rule_on_one_field_stands_on_that_field() -> None:
    class Model(ApiModel):
        """A model."""

        fixed: Annotated[Inner, immutable("fixed", "make another")]
        """Never changes."""
        wait: Annotated[Duration, Rule("self != '0s'", "too short", check=lambda v: v != "0s")] = (
            "5m"
        )
        """A duration."""

    fields = members(Model)
    assert fields["fixed"]["x-kubernetes-validations"] == [
        {
            "rule": "self == oldSelf",
            "message": "fixed is immutable: make another",
            "reason": "FieldValueForbidden",
        }
    ]
    messages = [rule["message"] for rule in fields["wait"]["x-kubernetes-validations"]]
    assert messages == ["must be a duration such as 90s, 1h30m or 2d", "too short"]
    with pytest.raises(ValidationError, match="too short"):
        Model.model_validate({"fixed": {"name": "a"}, "wait": "0s"})


def test_what_must_not_change_is_always_stored() -> None:
    class Model(ApiModel):
        """A model."""

        row: Annotated[list[Int], ATOMIC, immutable("row", "make another")] = []
        """A list."""

    assert members(Model)["row"]["default"] == []

    class Fleeting(ApiModel):
        """A model."""

        wait: Annotated[Duration, immutable("wait", "make another")] | None = None
        """May be left out."""

    with pytest.raises(SchemaError, match="always there"):
        structural_schema(Fleeting)


def test_a_pattern_with_words_speaks_to_users_and_stays_a_pattern_in_a_status() -> None:
    wait = members(Outer)["wait"]
    assert "pattern" not in wait
    assert wait["x-kubernetes-validations"][0]["message"] == (
        "must be a duration such as 90s, 1h30m or 2d"
    )
    quiet = members(Outer, for_users=False)["wait"]
    assert quiet["pattern"].startswith("^")
    assert "x-kubernetes-validations" not in quiet


def test_defaults_are_stored_for_users_alone() -> None:
    assert members(Outer)["wait"]["default"] == "5m"
    assert members(Outer)["mode"]["default"] == "a"
    assert "default" not in members(Outer)["words"]
    assert "default" not in members(Outer, for_users=False)["mode"]


def test_the_keys_of_a_map_obey_a_rule() -> None:
    labels = members(Outer)["labels"]
    assert labels["maxProperties"] == 64
    assert labels["additionalProperties"]["maxLength"] == 63
    assert labels["x-kubernetes-validations"][0]["rule"].startswith("self.all(key, key.matches('^")


def test_integers_state_their_width() -> None:
    fields = members(Outer)
    assert fields["big"] == {
        "description": "A number.",
        "type": "integer",
        "format": "int64",
        "default": 0,
    }
    assert fields["things"]["items"]["properties"]["size"]["format"] == "int32"


def test_preserve_keeps_what_has_no_schema() -> None:
    free = members(Outer)["free"]
    assert free["x-kubernetes-preserve-unknown-fields"] is True
    assert "additionalProperties" not in free


def test_an_object_of_defaults_defaults_to_an_empty_one() -> None:
    class Part(ApiModel):
        """A part."""

        size: Int = 3
        """Its size."""

    class Whole(ApiModel):
        """A whole."""

        part: Part = Part()
        """The part."""

    assert members(Whole)["part"]["default"] == {}
    assert "default" not in members(Whole, for_users=False)["part"]


class Endless(ApiModel):
    """A model that holds itself."""

    again: Endless | None = None
    """Once more."""


class Union(ApiModel):
    """A model with a union."""

    value: int | str = 0
    """A number or a text."""


class Open(ApiModel):
    """A model with a limit that excludes itself."""

    value: Annotated[float, Field(gt=0)] = 1
    """A number."""


class Pair(ApiModel):
    """A model with a tuple."""

    value: tuple[int, str] = (0, "")
    """A pair."""


class Bag(ApiModel):
    """A model with a set."""

    value: set[str] = set()
    """A set."""


class Loose(ApiModel):
    """A model with a map of anything."""

    value: dict[str, Any] = {}
    """Anything."""


class Needy(ApiModel):
    """A model whose default cannot be {}."""

    value: Inner = Inner(name="a")
    """An object with a required member."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Endless, "Endless.again: Endless holds itself: recursion cannot be inlined"),
        (Union, "Union.value: unions have no structural form: use optional members"),
        (Open, "Open.value: exclusiveMinimum: use ge"),
        (Pair, "Pair.value: prefixItems: tuples have no structural form: use a model"),
        (Bag, "Bag.value: uniqueItems: use a list with the SET marker"),
        (Loose, "Loose.value: members without a schema need the Preserve marker"),
        (Needy, r"Needy.value: an object with required members cannot default to \{\}"),
    ],
)
def test_refuses_what_the_dialect_cannot_say(model: type[ApiModel], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        structural_schema(model)


def test_a_model_refuses_with_the_words_of_its_rules() -> None:
    class Model(ApiModel):
        """A model."""

        wait: Duration
        """A duration."""
        name: Annotated[str, StringConstraints(max_length=3)] = ""
        """A name."""

    with pytest.raises(ValueError, match="must be a duration such as 90s, 1h30m or 2d"):
        Model(wait="soon")
    with pytest.raises(ValueError, match="at most 32 characters"):
        Model(wait="1s" * 17)
