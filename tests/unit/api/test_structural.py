"""The rules of structural schemas, each with the schema or the object that breaks it."""

from __future__ import annotations

from typing import Any

import pytest

from huiju.api.structural import check, validate, walk

TEXT = {"type": "string"}


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "object", "$ref": "#/x"}, "$ref is not allowed in a structural schema"),
        ({"type": "object", "const": 1}, "const is not allowed in a structural schema"),
        ({"type": "object", "uniqueItems": True}, "uniqueItems is not allowed"),
        ({}, "type is required"),
        ({"type": "null"}, "type 'null' is not one of"),
        (
            {"type": "string", "x-kubernetes-int-or-string": True},
            "type must be left out beside x-kubernetes-int-or-string",
        ),
        ({"type": "integer", "maxLength": 3}, "maxLength means nothing on type integer"),
        ({"type": "string", "maxItems": 3}, "maxItems means nothing on type string"),
        ({"type": "boolean", "format": "int32"}, "format means nothing on type boolean"),
        ({"type": "array"}, "items must be one schema"),
        ({"type": "array", "items": [TEXT]}, "items must be one schema"),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
            "items of a set must be scalars or atomic",
        ),
        (
            {"type": "array", "items": TEXT, "x-kubernetes-list-type": "bag"},
            "list type 'bag' is not one of atomic, set, map",
        ),
        (
            {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"},
            "a list of type map needs keys and objects",
        ),
        (
            {"type": "array", "items": TEXT, "x-kubernetes-list-map-keys": ["name"]},
            "only a list of type map has keys",
        ),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"name": {"type": "object"}}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "key name must be a scalar member of the items",
        ),
        (
            {
                "type": "array",
                "items": {"type": "object", "properties": {"name": TEXT}},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
            "key name must be required or have a default",
        ),
        (
            {"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
            "properties and additionalProperties exclude each other",
        ),
        ({"type": "object", "additionalProperties": True}, "additionalProperties must be a schema"),
        ({"type": "string", "pattern": "("}, "pattern '(' does not compile"),
        ({"type": "string", "default": 5}, "default: must be of type string"),
        (
            {"type": "object", "properties": {}, "default": {"a": 1}},
            "default.a: is unknown",
        ),
        ({"type": "string", "x-kubernetes-validations": [{}]}, "a validation needs a rule"),
        (
            {"type": "string", "x-kubernetes-validations": [{"rule": "true", "message": "a\nb"}]},
            "the message of a rule must be one line",
        ),
        (
            {
                "type": "object",
                "properties": {"a": {"type": "object", "properties": {}}},
                "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".a.b"}],
            },
            "fieldPath .a.b leads nowhere",
        ),
    ],
)
def test_a_server_would_refuse_the_schema(schema: dict[str, Any], complaint: str) -> None:
    inner = {"type": "object", "properties": {"spec": schema}}
    assert [line for line in check(inner) if line.startswith(f".spec: {complaint}")], check(inner)


def test_metadata_is_the_servers_own() -> None:
    properties = {"metadata": {"type": "object", "properties": {"owner": TEXT}}}
    assert check({"type": "object", "properties": properties}) == [
        ".metadata: is implicit: only its type may be given"
    ]


@pytest.mark.parametrize(
    "schema",
    [
        {"x-kubernetes-int-or-string": True},
        {"x-kubernetes-preserve-unknown-fields": True},
        {"type": "integer", "format": "int32", "minimum": 0, "default": 3},
        {
            "type": "array",
            "items": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"},
            "x-kubernetes-list-type": "set",
        },
        {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {**TEXT, "default": "a"}}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    ],
)
def test_a_server_would_take_the_schema(schema: dict[str, Any]) -> None:
    assert check({"type": "object", "properties": {"spec": schema}}) == []


def test_walks_outermost_first() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "object", "properties": {"b": TEXT}}},
            "c": {"type": "object", "additionalProperties": TEXT},
        },
    }
    assert [path for path, _ in walk(schema)] == ["", ".a", ".a[]", ".a[].b", ".c", ".c{}"]


MAP = {
    "type": "array",
    "items": {"type": "object", "required": ["k"], "properties": {"k": TEXT}},
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["k"],
}
SET = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}
OBJECT = {"type": "object", "required": ["a"], "properties": {"a": TEXT}}


@pytest.mark.parametrize(
    ("schema", "value", "complaint"),
    [
        (TEXT, 5, "must be of type string"),
        (TEXT, None, "must be of type string"),
        ({"type": "integer"}, True, "must be of type integer"),
        ({"type": "integer"}, 1.5, "must be of type integer"),
        ({"type": "number"}, False, "must be of type number"),
        ({"type": "boolean"}, "true", "must be of type boolean"),
        ({"type": "object"}, [], "must be of type object"),
        ({**TEXT, "enum": ["a", "b"]}, "c", "must be one of 'a', 'b'"),
        ({**TEXT, "minLength": 2}, "a", "must have at least 2 characters"),
        ({**TEXT, "maxLength": 2}, "abc", "must have at most 2 characters"),
        ({**TEXT, "pattern": "^a$"}, "b", "must match ^a$"),
        ({**TEXT, "pattern": "^a$"}, "a\n", "must match ^a$"),
        ({**TEXT, "format": "date-time"}, "2026-02-30T00:00:00Z", "must be a time such as"),
        ({"type": "integer", "minimum": 1}, 0, "must be between 1 and any"),
        ({"type": "integer", "maximum": 3}, 4, "must be between any and 3"),
        ({"type": "integer", "format": "int32"}, 2**31, "must fit 32 bits"),
        ({"type": "integer", "format": "int64"}, -(2**63) - 1, "must fit 64 bits"),
        ({**SET, "maxItems": 1}, ["a", "b"], "must have between 0 and 1 items"),
        ({**SET, "minItems": 1}, [], "must have between 1 and any items"),
        ({"type": "object", "maxProperties": 1}, {"a": 1, "b": 2}, "has too few or too many"),
    ],
)
def test_a_server_would_refuse_the_value(schema: Any, value: Any, complaint: str) -> None:
    problems = validate(value, schema, "it")
    assert problems
    assert problems[0].startswith(f"it: {complaint}")


@pytest.mark.parametrize(
    ("schema", "value", "problems"),
    [
        (SET, ["a", "b", "a"], ["it[2]: duplicate a"]),
        (MAP, [{"k": "a"}, {"k": "a"}], ["it[1]: duplicate {'k': 'a'}"]),
        (MAP, [{"k": "a"}, {}], ["it[1].k: is required"]),
        (MAP, ["a"], ["it[0]: must be of type object"]),
        (OBJECT, {}, ["it.a: is required"]),
        (OBJECT, {"a": "b", "c": "d"}, []),
        ({**OBJECT, "properties": {"a": {**TEXT, "default": "x"}}}, {}, []),
        (
            {"type": "object", "additionalProperties": TEXT},
            {"a": 1},
            ["it.a: must be of type string"],
        ),
        ({"type": "integer", "format": "int32"}, 2**31 - 1, []),
        ({"x-kubernetes-int-or-string": True}, "a", []),
    ],
)
def test_says_where_it_is(schema: Any, value: Any, problems: list[str]) -> None:
    assert validate(value, schema, "it") == problems


def test_strict_refuses_what_a_server_prunes() -> None:
    assert validate({"a": "b", "c": "d"}, OBJECT, "it", strict=True) == ["it.c: is unknown"]
    free = {**OBJECT, "x-kubernetes-preserve-unknown-fields": True}
    assert validate({"a": "b", "c": "d"}, free, "it", strict=True) == []
