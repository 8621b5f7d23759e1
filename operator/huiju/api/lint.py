"""Conventions that a CustomResourceDefinition of ours keeps: `python -m huiju.api.lint`.

Decides what a reviewer would ask for beyond what a server refuses (that part is `structural.py`):
lists with a type and a bound, sentences on every field, rules that say what to do, columns that
show something. Invariant: it reads the generated definition and nothing else, so that it judges
what users install.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from huiju.api import crd, structural
from huiju.api.structural import Schema, walk

Found = Iterator[tuple[str, str]]

LARGEST: Final = 262_144
"""Bytes of an annotation: what a definition may weigh for `kubectl apply` to keep its copy."""
COLUMNS: Final = 6
"""Columns that fit a terminal beside the name; more go to `-o wide`."""
LONGEST_MESSAGE: Final = 250
FREE_FORM: Final = frozenset({".spec.template", ".spec.attempts[].objects[]"})
"""Where members without a schema are meant to be: a pod template, and whole Kubernetes objects."""

_CAMEL: Final = re.compile(r"[a-z][a-zA-Z0-9]*")
_KEBAB: Final = re.compile(r"[a-z][a-z0-9]*")
_PATH: Final = re.compile(r"\.([a-zA-Z0-9]+)|\[\?\(@\.([a-zA-Z0-9]+)==\"[A-Za-z]+\"\)\]")
_GIVEN: Final = frozenset({".apiVersion", ".kind", ".metadata"})
"""What the server itself defines, whatever a schema says of it."""
_OWN_METADATA: Final[Mapping[str, str]] = {
    ".metadata.creationTimestamp": "date",
    ".metadata.name": "string",
}
_SHOWS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"string"}),
    "integer": frozenset({"integer"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"string"}),
}
_CONDITION: Final = frozenset({"type", "status", "reason", "message", "lastTransitionTime"})


def lint(definition: Mapping[str, Any]) -> list[str]:
    """What is wrong with a CustomResourceDefinition, one line each, empty if nothing."""
    name = definition["metadata"]["name"]
    problems = [f"{name}: {where}: {what}" for where, what in _envelope(definition)]
    for version in definition["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        problems += [f"{name}: {line}" for line in structural.check(schema)]
        problems += [f"{name}: {where or 'root'}: {what}" for where, what in _version(version)]
    return problems


def _envelope(definition: Mapping[str, Any]) -> Found:
    spec = definition["spec"]
    names = spec["names"]
    if definition["metadata"]["name"] != f"{names['plural']}.{spec['group']}":
        yield "metadata.name", "must be <plural>.<group>"
    if names["listKind"] != f"{names['kind']}List":
        yield "names.listKind", f"must be {names['kind']}List"
    for member in ("plural", "singular"):
        if not _KEBAB.fullmatch(names[member]) or not names[member].startswith(
            names["kind"].lower().removesuffix("y")  # inventory, inventories
        ):
            yield f"names.{member}", "must be the kind in lower case"
    if not names.get("shortNames"):
        yield "names.shortNames", "a kind needs one for the command line"
    if not names.get("categories") or "all" in names["categories"]:
        yield "names.categories", "needs one of our own, and never `all`"
    if sum(version["storage"] for version in spec["versions"]) != 1:
        yield "versions", "exactly one version is stored"
    size = len(yaml.safe_dump(definition).encode())
    if size > LARGEST:
        yield "root", f"{size} bytes are more than the {LARGEST} that `kubectl apply` can keep"


def _version(version: Mapping[str, Any]) -> Found:
    schema = version["schema"]["openAPIV3Schema"]
    if "status" not in version.get("subresources", {}):
        yield "subresources", "status must be a subresource"
    yield from _columns(version.get("additionalPrinterColumns", []), schema)
    for field in version.get("selectableFields", []):
        node = resolve(schema, field["jsonPath"])
        if node is None or node.get("type") not in ("string", "integer", "boolean"):
            yield f"selectableFields {field['jsonPath']}", "must point at a scalar field"
    yield from _status(schema.get("properties", {}).get("status"))
    for where, node in walk(schema):
        if where in _GIVEN or any(where.startswith(f"{free}.") for free in FREE_FORM):
            continue
        yield from ((where, what) for what in (*_field(where, node), *_bounds(node)))
        yield from ((where, what) for what in _rules(where, node, schema))


def _columns(columns: list[Mapping[str, Any]], schema: Schema) -> Found:
    for column in columns:
        where = f"column {column['name']}"
        path = column["jsonPath"]
        if path in _OWN_METADATA:
            if column["type"] != _OWN_METADATA[path]:
                yield where, f"must be of type {_OWN_METADATA[path]}"
            continue
        node = resolve(schema, path)
        if node is None:
            yield where, f"{path} leads to no field"
        elif node.get("type") not in _SHOWS.get(column["type"], ()):
            yield where, f"of type {column['type']} cannot show a field of type {node.get('type')}"
    if sum(not column.get("priority") for column in columns) > COLUMNS:
        yield "columns", f"more than {COLUMNS} without `-o wide`: give some priority 1"
    if not any(column["jsonPath"] == ".metadata.creationTimestamp" for column in columns):
        yield "columns", "users look for the age"


def _status(status: Schema | None) -> Found:
    if status is None:
        yield ".status", "a kind needs a status"
        return
    members = status.get("properties", {})
    if "observedGeneration" not in members:
        yield ".status", "observedGeneration is missing"
    conditions = members.get("conditions")
    if conditions is None:
        yield ".status", "conditions are missing"
        return
    if conditions.get("x-kubernetes-list-map-keys") != ["type"]:
        yield ".status.conditions", "must be a map by type"
    missing = _CONDITION - conditions.get("items", {}).get("properties", {}).keys()
    if missing:
        yield ".status.conditions", f"a condition needs {', '.join(sorted(missing))}"


def resolve(schema: Schema, path: str) -> Schema | None:
    """The field that a JSON path of ours leads to, None where it leads nowhere."""
    node: Schema = schema
    position = 0
    while position < len(path):
        step = _PATH.match(path, position)
        if step is None:
            return None
        position = step.end()
        if step[1]:
            child = node.get("properties", {}).get(step[1])
        else:
            child = node.get("items")
            child = child if child and step[2] in child.get("properties", {}) else None
        if child is None:
            return None
        node = child
    return node


def _field(where: str, node: Schema) -> Iterator[str]:
    name = where.rpartition(".")[2]
    if not name.endswith(("[]", "{}")):
        if name and not _CAMEL.fullmatch(name):
            yield "a field is written in camelCase"
        description = node.get("description", "")
        if not description:
            yield "needs a description"
        elif not description.endswith(".") or not (
            description[0].isupper() or description[0] in "/`"
        ):
            yield "the description must be a sentence with a capital and a full stop"
        if name.endswith("Ref") and node.get("type") != "object":
            yield "a reference is an object with a name, so that it can grow"
    if node.get("type") == "number":
        yield "floats do not survive every client: use a decimal string or an integer"
    if node.get("type") == "integer" and node.get("format") not in ("int32", "int64"):
        yield "an integer needs the format int32 or int64"
    if node.get("nullable"):
        yield "nullable fights server-side apply: leave the field out instead"
    if node.get("x-kubernetes-preserve-unknown-fields") and where not in FREE_FORM:
        yield "members without a schema are for pod templates alone"


def _bounds(node: Schema) -> Iterator[str]:
    match node.get("type"):
        case "array":
            if "x-kubernetes-list-type" not in node:
                yield "a list needs x-kubernetes-list-type, or several writers overwrite each other"
            if "maxItems" not in node:
                yield "a list needs maxItems"
            if node.get("default") and node.get("x-kubernetes-list-type") != "atomic":
                yield "a list with items by default is atomic: server-side apply would keep them"
        case "string":
            if "enum" not in node and "maxLength" not in node:
                yield "a string needs maxLength: rules over it cost what it may at most hold"
        case "object":
            if "additionalProperties" in node and "maxProperties" not in node:
                yield "a map needs maxProperties"
            free = node.get("x-kubernetes-preserve-unknown-fields")
            if not free and not node.keys() & {"properties", "additionalProperties"}:
                yield "an object without members loses all that users write into it"


def _rules(where: str, node: Schema, root: Schema) -> Iterator[str]:
    for rule in node.get("x-kubernetes-validations", []):
        text, message = rule["rule"], rule.get("message", "")
        label = f"rule {text[:40]!r}"
        if not message:
            yield f"{label} needs a message: users never read CEL"
        elif len(message) > LONGEST_MESSAGE:
            yield f"{label}: a message longer than {LONGEST_MESSAGE} characters is not read"
        elif message.endswith("."):
            yield f"{label}: messages are joined by others, leave out the full stop"
        if "oldSelf" in text and _uncorrelated(where, root):
            yield f"{label}: oldSelf means nothing in a list whose items have no keys"


def _uncorrelated(where: str, root: Schema) -> bool:
    """True if `where` lies in a list that the server cannot compare item by item."""
    return any(
        node.get("type") == "array"
        and node.get("x-kubernetes-list-type", "atomic") != "map"
        and where.startswith(f"{path}[]")
        for path, node in walk(root)
    )


def main() -> int:
    """Print what is wrong with the definitions that the models make; 1 if anything is."""
    problems = [line for kind in crd.KINDS for line in lint(crd.definition(kind))]
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
