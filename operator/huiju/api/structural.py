"""The API server's rules for structural schemas, and for objects under one, in pure Python.

`check` says what a server would refuse in a schema; `validate` says what it would refuse in an
object. CEL rules are not evaluated here. Standard library only. Invariant: what these accept, a
real API server accepts (held together by tests against one).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

MEMBERS: Final = frozenset(
    [
        "description",
        "type",
        "format",
        "enum",
        "default",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "title",
        "nullable",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-int-or-string",
        "x-kubernetes-validations",
    ]
)
"""What a node may hold; `$ref`, `anyOf` with types, `const` and their like are not among it."""

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_WIDTHS: Final = {"int32": 31, "int64": 63}
_ONLY: Final = {
    "string": ("pattern", "minLength", "maxLength", "format"),
    "array": ("items", "minItems", "maxItems", "x-kubernetes-list-type"),
    "object": ("properties", "additionalProperties", "minProperties", "maxProperties", "required"),
}


def check(schema: Schema, path: str = "") -> list[str]:
    """What an API server would refuse in `schema`, one sentence each, empty if nothing."""
    return [f"{where or 'root'}: {what}" for where, what in _check(schema, path)]


def walk(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node of `schema` with its path, outermost first."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), Mapping):
            yield from walk(schema[key], path + mark)


def _check(schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    root = schema
    for where, node in walk(root, path):
        for member in sorted(node.keys() - MEMBERS):
            yield where, f"{member} is not allowed in a structural schema"
        yield from ((where, what) for what in _check_type(node))
        yield from ((where, what) for what in _check_list(node))
        yield from ((where, what) for what in _check_members(node))
        if "default" in node:
            for problem in validate(node["default"], node, "default", strict=True):
                yield where, problem
    metadata = root.get("properties", {}).get("metadata")
    if metadata is not None and path == "" and metadata.keys() - {"type", "description"}:
        yield ".metadata", "is implicit: only its type may be given"


def _check_type(node: Schema) -> Iterator[str]:
    kind = node.get("type")
    free = node.get("x-kubernetes-preserve-unknown-fields") or node.get(
        "x-kubernetes-int-or-string"
    )
    if kind is None and not free:
        yield "type is required"
    if kind is not None and kind not in _TYPES:
        yield f"type {kind!r} is not one of {', '.join(_TYPES)}"
    if kind is not None and node.get("x-kubernetes-int-or-string"):
        yield "type must be left out beside x-kubernetes-int-or-string"
    for owner, members in _ONLY.items():
        for member in members:
            if (
                member in node
                and kind not in (owner, None)
                and not (member == "format" and kind in ("integer", "number"))
            ):
                yield f"{member} means nothing on type {kind}"


def _check_list(node: Schema) -> Iterator[str]:
    if node.get("type") != "array":
        return
    items = node.get("items")
    if not isinstance(items, Mapping):
        yield "items must be one schema"
        return
    keys = node.get("x-kubernetes-list-map-keys", [])
    match node.get("x-kubernetes-list-type", "atomic"):
        case "atomic":
            pass
        case "set":
            atomic = items.get("x-kubernetes-list-type") == "atomic"
            if items.get("type") in ("object", "array") and not atomic:
                yield "items of a set must be scalars or atomic"
        case "map":
            if not keys or items.get("type") != "object":
                yield "a list of type map needs keys and objects"
            for key in keys:
                yield from _check_key(items, key)
            return
        case other:
            yield f"list type {other!r} is not one of atomic, set, map"
    if keys:
        yield "only a list of type map has keys"


def _check_key(items: Schema, key: str) -> Iterator[str]:
    member = items.get("properties", {}).get(key)
    if member is None or member.get("type") not in ("string", "integer", "number", "boolean"):
        yield f"key {key} must be a scalar member of the items"
    elif key not in items.get("required", []) and "default" not in member:
        yield f"key {key} must be required or have a default"


def _check_members(node: Schema) -> Iterator[str]:
    if "properties" in node and "additionalProperties" in node:
        yield "properties and additionalProperties exclude each other"
    if isinstance(node.get("additionalProperties"), bool):
        yield "additionalProperties must be a schema"
    for pattern in filter(None, [node.get("pattern")]):
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"pattern {pattern!r} does not compile: {error}"
    for rule in node.get("x-kubernetes-validations", []):
        if not rule.get("rule"):
            yield "a validation needs a rule"
        if "\n" in rule.get("message", ""):
            yield "the message of a rule must be one line"
        target = rule.get("fieldPath")
        if target and not _reaches(node, target):
            yield f"fieldPath {target} leads nowhere"


def _reaches(node: Schema, path: str) -> bool:
    for name in path.lstrip(".").split("."):
        node = node.get("properties", {}).get(name)
        if node is None:
            return False
    return True


def validate(value: Any, schema: Schema, path: str = "", *, strict: bool = False) -> list[str]:
    """What an API server would refuse in `value` under `schema`, one sentence each.

    `strict` also refuses members that the schema does not name, which a server prunes.
    """
    return list(_validate(value, schema, path, strict))


def _validate(value: Any, schema: Schema, path: str, strict: bool) -> Iterator[str]:
    kind = schema.get("type")
    if kind is not None:
        fits = isinstance(value, _TYPES[kind]) and (kind == "boolean" or value is not True)
        if not fits or (kind in ("integer", "number") and isinstance(value, bool)):
            yield f"{path}: must be of type {kind}"
            return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: must be one of {', '.join(map(repr, schema['enum']))}"
    match value:
        case str():
            yield from (f"{path}: {what}" for what in _text_problems(value, schema))
        case bool():
            pass
        case int() | float():
            if value < schema.get("minimum", value) or value > schema.get("maximum", value):
                low, high = schema.get("minimum", "any"), schema.get("maximum", "any")
                yield f"{path}: must be between {low} and {high}"
            width = _WIDTHS.get(schema.get("format", ""))
            if width is not None and not -(2**width) <= value < 2**width:
                yield f"{path}: must fit {width + 1} bits"
        case list():
            yield from _validate_list(value, schema, path, strict)
        case dict():
            yield from _validate_members(value, schema, path, strict)


def _text_problems(value: str, schema: Schema) -> Iterator[str]:
    if len(value) < schema.get("minLength", 0):
        yield f"must have at least {schema['minLength']} characters"
    if len(value) > schema.get("maxLength", len(value)):
        yield f"must have at most {schema['maxLength']} characters"
    # Python's $ also matches before a line feed at the end, a server's does not.
    if "pattern" in schema and not re.search(_to_end(schema["pattern"]), value):
        yield schema.get("x-huiju-says", f"must match {schema['pattern']}")
    if schema.get("format") == "date-time":
        try:
            datetime.datetime.fromisoformat(value)
        except ValueError:
            yield "must be a time such as 2026-01-31T12:00:00Z"


def _to_end(pattern: str) -> str:
    return pattern[:-1] + r"\Z" if pattern.endswith("$") else pattern


def _validate_list(value: list[Any], schema: Schema, path: str, strict: bool) -> Iterator[str]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        low, high = schema.get("minItems", 0), schema.get("maxItems", "any")
        yield f"{path}: must have between {low} and {high} items"
    for index, item in enumerate(value):
        yield from _validate(item, schema["items"], f"{path}[{index}]", strict)
    seen: list[Any] = []
    for index, item in enumerate(value):
        match schema.get("x-kubernetes-list-type"):
            case "set":
                key = item
            case "map" if isinstance(item, dict):
                key = {name: item.get(name) for name in schema["x-kubernetes-list-map-keys"]}
            case _:
                continue
        if key in seen:
            yield f"{path}[{index}]: duplicate {key}"
        seen.append(key)


def _validate_members(
    value: dict[str, Any], schema: Schema, path: str, strict: bool
) -> Iterator[str]:
    if not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", len(value)):
        yield f"{path}: has too few or too many members"
    properties = schema.get("properties", {})
    # A server drops null where a field is meant before it looks any further.
    value = {key: member for key, member in value.items() if member is not None}
    for name in schema.get("required", []):
        if name not in value and "default" not in properties.get(name, {}):
            yield f"{path}.{name}: is required"
    for name, member in value.items():
        child = properties.get(name, schema.get("additionalProperties"))
        if isinstance(child, Mapping):
            yield from _validate(member, child, f"{path}.{name}", strict)
        elif strict and not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name}: is unknown"
