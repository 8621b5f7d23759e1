"""Turns a model into a structural schema that every supported API server takes.

Decides how what pydantic says maps to the dialect of CustomResourceDefinitions, and refuses what
that dialect cannot say instead of dropping it in silence. Knows nothing of CRD envelopes.
Invariant: the same models give the same schema, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from huiju.api.markers import cel_string
from huiju.api.meta import ApiModel

Schema = dict[str, Any]

ORDER: Final = (
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
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
    "required",
    "properties",
    "additionalProperties",
    "items",
)
"""The members that a schema of ours may hold, in the order in which they are written."""

RULES: Final = "x-kubernetes-validations"

DROPPED: Final = frozenset({"title", "examples", "deprecated", "propertyNames", "x-huiju-says"})
"""What pydantic says and the dialect has no word for; nothing is lost by leaving it out."""

CURES: Final = {
    "anyOf": "unions have no structural form: use optional members and an exactly-one rule",
    "oneOf": "unions have no structural form: use optional members and an exactly-one rule",
    "discriminator": "unions have no structural form: use optional members and a rule",
    "prefixItems": "tuples have no structural form: use a model",
    "uniqueItems": "use a list with the SET marker",
    "exclusiveMinimum": "use ge",
    "exclusiveMaximum": "use le",
}


class SchemaError(Exception):
    """A model says something that a structural schema cannot say; the message holds the cure."""


class _Dialect(GenerateJsonSchema):
    """Pydantic's generator, with the rules of each model written beside its members."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        json_schema = super().model_schema(schema)
        model = schema["cls"]
        if issubclass(model, ApiModel) and model.rules:
            json_schema["x-kubernetes-validations"] = [rule.written() for rule in model.rules]
        return json_schema


def structural_schema(model: type[ApiModel], *, for_users: bool = True) -> Schema:
    """Generate the structural schema of `model`.

    `for_users` emits defaults and turns patterns into rules that speak; a status, which Huiju
    alone writes, needs neither. Raises SchemaError for what cannot be said.
    """
    mode: JsonSchemaMode = "validation"
    raw = model.model_json_schema(by_alias=True, schema_generator=_Dialect, mode=mode)
    definitions = raw.pop("$defs", {})
    return _Converter(definitions, for_users).convert(raw, model.__name__, ())


def _compared(node: Schema) -> bool:
    """Whether a rule on the node holds it against what it was before."""
    return any("oldSelf" in rule["rule"] for rule in node.get(RULES, ()))


def _stays_where_it_is(node: Schema, path: str) -> None:
    """Refuse a rule on a member's past where the member may come and go: nobody would ask it."""
    required = node.get("required", ())
    for name, child in node.get("properties", {}).items():
        if _compared(child) and name not in required and "default" not in child:
            raise SchemaError(
                f"{path}.{name}: a rule with oldSelf needs a member that is always there"
            )


def _settle_width(node: Schema) -> None:
    """Give an integer the format that holds its bounds, and leave out those of the format."""
    bounds = node.get("minimum", -(2**63)), node.get("maximum", 2**63 - 1)
    node["format"] = "int32" if all(-(2**31) <= bound < 2**31 for bound in bounds) else "int64"
    for name, limit in (("minimum", -(2**63)), ("maximum", 2**63 - 1)):
        if node.get(name) == limit:
            del node[name]


class _Converter:
    """Walks what pydantic generated and writes the structural form of every node."""

    def __init__(self, definitions: Mapping[str, Schema], for_users: bool) -> None:
        self._definitions = definitions
        self._for_users = for_users

    def convert(self, node: Schema, path: str, within: tuple[str, ...]) -> Schema:
        """Return the structural form of `node`, which stands at `path` inside `within`."""
        node, within = self._resolve(node, path, within)
        if "const" in node:
            node["enum"] = [node.pop("const")]
        written: Schema = {}
        for key, value in node.items():
            match key:
                case "properties":
                    written[key] = {
                        name: self.convert(child, f"{path}.{name}", within)
                        for name, child in value.items()
                    }
                case "items":
                    written[key] = self.convert(value, f"{path}[]", within)
                case "additionalProperties":
                    written |= self._map_values(value, path, within)
                case _ if key in ORDER:
                    written[key] = value
                case _ if key not in DROPPED:
                    raise SchemaError(f"{path}: {key}: {CURES.get(key, 'not in the dialect')}")
        self._speak(written, node)
        if written.get("type") == "integer":
            _settle_width(written)
        self._settle_default(written, path)
        if self._for_users:
            _stays_where_it_is(written, path)
        return {key: written[key] for key in ORDER if key in written}

    def _resolve(
        self, node: Schema, path: str, within: tuple[str, ...]
    ) -> tuple[Schema, tuple[str, ...]]:
        """Follow references and leave out null, until the node speaks for itself."""
        node = dict(node)
        while True:
            if "$ref" in node:
                name = node.pop("$ref").rpartition("/")[2]
                if name in within:
                    raise SchemaError(f"{path}: {name} holds itself: recursion cannot be inlined")
                within = (*within, name)
                inner = self._definitions[name]
                rules = [*inner.get(RULES, ()), *node.get(RULES, ())]
                node = {**inner, **node, **({RULES: rules} if rules else {})}
            elif "anyOf" in node:
                members = [m for m in node["anyOf"] if m.get("type") != "null"]
                if len(members) != 1:
                    raise SchemaError(f"{path}: {CURES['anyOf']}")
                rest = {key: value for key, value in node.items() if key != "anyOf"}
                node = {**members[0], **rest}
            else:
                return node, within

    def _map_values(self, value: Any, path: str, within: tuple[str, ...]) -> Schema:
        """Keep the schema of a map's values; strictness about members stays in pydantic."""
        if value is False:
            return {}
        if value is True:
            raise SchemaError(f"{path}: members without a schema need the Preserve marker")
        return {"additionalProperties": self.convert(value, f"{path}{{}}", within)}

    def _speak(self, written: Schema, node: Schema) -> None:
        """Turn a pattern that has words into a rule, where a person will read them."""
        words = node.get("x-huiju-says")
        if not (words and self._for_users and "pattern" in written):
            return
        pattern = cel_string(written.pop("pattern"))
        rule = {"rule": f"self.matches({pattern})", "message": words}
        written[RULES] = [rule, *written.get(RULES, ())]

    def _settle_default(self, written: Schema, path: str) -> None:
        """Keep the defaults that are worth storing; an object's is {} and its members' own.

        What must not change is always stored, or nobody would notice that it comes or goes.
        """
        compared = _compared(written)
        if "default" not in written:
            return
        default = written.pop("default")
        empty = default in (None, [], {}, "")
        if not self._for_users or default is None or (empty and not compared):
            return
        if "properties" not in written:
            written["default"] = default
            return
        if written.get("required"):
            raise SchemaError(f"{path}: an object with required members cannot default to {{}}")
        if compared or any("default" in child for child in written["properties"].values()):
            written["default"] = {}
