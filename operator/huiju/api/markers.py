"""What a field or a model says to the CRD generator beyond its type.

Decides nothing by itself: markers are written into the JSON schema that pydantic generates and are
read there by `schema.py`. Invariant: a rule that speaks of one object alone holds in CEL and in
Python with the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import (
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True)
class ListType:
    """How the API server merges a list: `atomic`, `set`, or `map` with its keys."""

    kind: Literal["atomic", "set", "map"]
    keys: tuple[str, ...] = ()

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Write the list type into the schema."""
        schema = handler(core)
        schema["x-kubernetes-list-type"] = self.kind
        if self.keys:
            schema["x-kubernetes-list-map-keys"] = list(self.keys)
        return schema

    def duplicate(self, entries: list[Any]) -> Any | None:
        """Return what occurs twice in `entries` (an item or its keys), None when nothing does."""
        seen: list[Any] = []
        for entry in entries:
            match self.kind:
                case "atomic":
                    return None
                case "set":
                    value = entry
                case "map":
                    wire = entry.model_dump(by_alias=True)
                    value = {key: wire.get(key) for key in self.keys}
            if value in seen:
                return value
            seen.append(value)
        return None


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule on an object or, in a field's annotation, on that field alone.

    `rule` must hold, else the user reads `message`. A rule on one field belongs to that field: the
    API server pays for each member that a rule looks up by the number of members beside it.
    `field` is the path the error points at (`.perWorker`), `reason` one of the API server's
    FieldValue reasons. `message_expression` computes the message in CEL where it depends on the
    object. A rule that reads `oldSelf` is a transition rule and has no `check`; every other one
    states the same in Python: `check` returns True where the rule holds, and `explain` gives the
    message that `message_expression` gives.
    """

    rule: str
    message: str
    field: str = ""
    reason: str = "FieldValueInvalid"
    message_expression: str = ""
    optional_old_self: bool = False
    check: Callable[[Any], bool] | None = None
    explain: Callable[[Any], str] | None = None

    def obeyed_by(self, value: Any) -> Any:
        """`value` itself; raises what a validator raises where the rule does not hold."""
        if self.check is not None and not self.check(value):
            message = self.explain(value) if self.explain else self.message
            raise PydanticCustomError("rule", "{message}", {"message": message})
        return value

    def written(self) -> dict[str, Any]:
        """The rule the way the API server reads it."""
        written: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.message_expression:
            written["messageExpression"] = self.message_expression
        if self.reason != "FieldValueInvalid":
            written["reason"] = self.reason
        if self.field:
            written["fieldPath"] = self.field
        if self.optional_old_self:
            written["optionalOldSelf"] = True
        return written

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Hold the field against the rule in Python too."""
        return core_schema.no_info_after_validator_function(self.obeyed_by, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Write the rule beside the field's own schema."""
        schema = handler(core)
        rules = [*schema.get("x-kubernetes-validations", ()), self.written()]
        return {**schema, "x-kubernetes-validations": rules}


def immutable(field: str, cure: str) -> Rule:
    """A rule on `field`, in its annotation, that it never changes; `cure` says what to do.

    A server compares only what is there before and after, so the field must be required, or have
    a default that is stored. Equality sees members that a schema does not name, so the rule also
    guards a pod template.
    """
    return Rule("self == oldSelf", f"{field} is immutable: {cure}", reason="FieldValueForbidden")


def never_set_or_unset(field: str, cure: str) -> Rule:
    """A rule on the object around it that an optional `field` never changes, comes or goes."""
    both = f"has(self.{field}) == has(oldSelf.{field})"
    return Rule(
        f"{both} && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field} is immutable: {cure}",
        field=f".{field}",
        reason="FieldValueForbidden",
    )


@dataclass(frozen=True, slots=True)
class Preserve:
    """The field keeps members that the schema does not name (only for pod templates).

    `schema` names the members that are checked at once; the rest is checked by the API server
    that gets the rendered workload.
    """

    schema: Mapping[str, Any] | None = None

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Replace what pydantic says by the declared part."""
        schema = handler(core)
        schema.pop("additionalProperties", None)
        schema |= dict(self.schema or {})
        schema["x-kubernetes-preserve-unknown-fields"] = True
        return schema


@dataclass(frozen=True, slots=True)
class Says:
    """What to tell who misses the pattern of a string, in place of the bare pattern.

    In a spec the pattern becomes a CEL rule with these words; in a status, which only Huiju
    writes, it stays a pattern, so that status writes cost the API server less.
    """

    words: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Say the words in Python too."""
        return core_schema.no_info_wrap_validator_function(self._speak, handler(source))

    def _speak(self, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError as refusal:
            if any(error["type"] == "string_pattern_mismatch" for error in refusal.errors()):
                raise PydanticCustomError("pattern", "{words}", {"words": self.words}) from None
            raise

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave the words beside the pattern for the generator."""
        return {**handler(core), "x-huiju-says": self.words}


@dataclass(frozen=True, slots=True)
class Keys:
    """A pattern that the keys of a map match: structural schemas cannot say it, CEL can."""

    pattern: str
    words: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Leave the values' schema and a rule for the generator."""
        schema = handler(core)
        values = schema.pop("patternProperties")[self.pattern]
        rule = f"self.all(key, key.matches({cel_string(self.pattern)}))"
        return {
            **schema,
            "additionalProperties": values,
            "x-kubernetes-validations": [{"rule": rule, "message": self.words}],
        }


def cel_string(text: str) -> str:
    """Write `text` as a CEL literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


@dataclass(frozen=True, slots=True)
class Column:
    """A printer column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0
    format: str = ""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """The CRD envelope of a kind: names, scope, columns, selectable fields."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("huiju",)


ATOMIC = ListType("atomic")
SET = ListType("set")


def by(*keys: str) -> ListType:
    """A list merged by `keys`, which every entry must have."""
    return ListType("map", keys)
