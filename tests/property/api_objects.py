"""Objects of our kinds for property tests, legal and spoiled ones.

Made from the generated schemas and not from the models, so that the two are held against each
other. Decides nothing about rules that span fields: a generated object may break those.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from huiju.api import dataset, meta
from huiju.api.meta import API_VERSION, KubeObject
from huiju.api.schema import structural_schema

Json = Any

_LOW = "abz019"
_HIGH = "AZaz09"


def _spelled(first: str, inner: str, longest: int) -> SearchStrategy[str]:
    """Texts of `inner` that start and end with one of `first`."""
    ends, middle = st.sampled_from(first), st.text(inner, max_size=longest - 2)
    return st.one_of(ends, st.builds("{}{}{}".format, ends, middle, ends))


_label = _spelled(_LOW, _LOW + "-", 10)
_dotted = st.lists(_label, min_size=1, max_size=3).map(".".join)
_word = _spelled(_HIGH, _HIGH + "-_.", 20)
_number = st.integers(0, 10**6).map(str)
_unit = st.sampled_from(["ms", "s", "m", "h", "d"])
_amount = st.builds("{}{}".format, st.one_of(_number, st.just("0.5")), _unit)

SPELLINGS: Mapping[str, SearchStrategy[str]] = {
    meta.DNS_LABEL: _label,
    meta.DNS_NAME: _dotted,
    meta.DURATION: st.lists(_amount, min_size=1, max_size=3).map("".join),
    meta.MODEL: st.one_of(
        _spelled(_LOW, _LOW + "-.", 20),
        st.sampled_from(["ascend-910a", "ascend-910b3", "ascend-910c", "nvidia-h20"]),
    ),
    meta.DECIMAL: st.one_of(
        _number, st.builds("{}.{}".format, _number, _number).map(lambda t: t[:8].rstrip("."))
    ),
    meta.QUANTITY: st.builds("{}{}".format, _number, st.sampled_from(["", "m", "Gi", "T"])),
    meta.LABEL_KEY: st.one_of(_word, st.builds("{}/{}".format, _dotted, _word)),
    meta.LABEL_VALUE: st.one_of(st.just(""), _word),
    meta.WORD: _word,
    meta.NAMESPACE_PATTERN: _spelled(_LOW + "*", _LOW + "-*", 20),
    meta.IMAGE: st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1),
    meta.FILE_NAME: st.builds("{}{}{}".format, st.text("-._", max_size=2), _word, st.text("-._")),
    r"^[0-9]+(k|M|G|T)?$": st.builds("{}{}".format, _number, st.sampled_from(["", "k", "G"])),
    r"^[0-9]+(Mi|Gi)$": st.builds("{}{}".format, _number, st.sampled_from(["Mi", "Gi"])),
    r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$": st.lists(
        st.text(_HIGH + "_+-", min_size=1, max_size=9), min_size=1, max_size=3
    ).map("/".join),
    r"^/[^\s]*$": st.lists(_word, max_size=3).map(lambda t: "/" + "/".join(t)),
    r"^(/[^/\s:]+)+$": st.lists(_word, min_size=1, max_size=3).map(lambda t: "/" + "/".join(t)),
    dataset.DIGEST_PATTERN: st.text("0123456789abcdef", min_size=64, max_size=64).map(
        "sha256:{}".format
    ),
    r"^https?://[^\s@?#]+$": _dotted.map("https://{}".format),
    r"^([^/\s\\]+(/[^/\s\\]+)*/?)?$": st.lists(_word, max_size=3).map("/".join),
    r"^[a-z0-9][a-z0-9.-]+$": _label.map("b-{}".format),
    r"^[^\s/\\][^\s\\]*$": st.lists(_word, min_size=1, max_size=3).map("/*".join),
    r"^[A-Za-z0-9][A-Za-z0-9.:-]*$": _label,
    r"^[1-9][0-9]*(G|T|P|Gi|Ti|Pi)$": st.integers(1, 999).map("{}Ti".format),
}
"""Texts for every pattern of the schemas; a new pattern must be added here."""
Schema = Mapping[str, Any]

_FREE = {"image": "registry.example.com/train:1", "hostname": "x", "args": ["--fast"], "tty": True}
JUNK: SearchStrategy[Json] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["0", "0s", "1", "5m", "PT1H", "*", "a.b", "A", "-", "true", "x" * 400]),
    st.just([]),
    st.just({}),
    st.just([{}]),
    st.just({"a": 1}),
)


@cache
def plain_schema(kind: type[KubeObject]) -> Schema:
    """The schema of `kind` with its patterns, before they become rules with words."""
    return structural_schema(kind, for_users=False)


@cache
def objects_of(kind: type[KubeObject], *, status: bool = False) -> SearchStrategy[Json]:
    """Objects that the schema of `kind` takes; rules between fields may still be broken."""
    properties = plain_schema(kind)["properties"]
    parts = {"spec": values(properties["spec"]).map(_connected)}
    if status:
        parts["status"] = values(properties["status"])
    head = {
        "apiVersion": st.just(API_VERSION),
        "kind": st.just(kind.info.kind),
        "metadata": _label.map(lambda name: {"name": name}),
    }
    return st.fixed_dictionaries({**head, **parts})


def _connected(spec: Json) -> Json:
    """Leave one member of a union: almost no two that hypothesis draws would be legal."""
    if isinstance(spec.get("source"), dict):
        source = {k: v for k, v in spec["source"].items() if k in ("center", "files")}
        return {**spec, "source": {"files": {"path": "/exports"}} | source, "channels": []}
    match spec.get("connection"):
        case {"push": push, "pull": _}:
            return {**spec, "connection": {"push": push}}
        case {"push": _} | {"pull": _} | None:
            return spec
        case _:
            return {**spec, "connection": {"pull": {}}}


def values(schema: Schema) -> SearchStrategy[Json]:
    """Values that `schema` takes."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "boolean":
            return st.booleans()
        case "integer":
            wide = schema["format"] == "int64"
            least, most = (-(2**63), 2**63 - 1) if wide else (-(2**31), 2**31 - 1)
            return st.integers(schema.get("minimum", least), schema.get("maximum", most))
        case "string":
            return _texts(schema)
        case "array":
            return _lists(schema)
        case "object" if "additionalProperties" in schema:
            of = values(schema["additionalProperties"])
            return st.dictionaries(SPELLINGS[meta.LABEL_KEY], of, max_size=3)
        case "object":
            return _members(schema)
        case other:
            raise AssertionError(f"our schemas have no {other}")


def _texts(schema: Schema) -> SearchStrategy[str]:
    low, high = schema.get("minLength", 0), schema["maxLength"]
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda time: time.replace(microsecond=0).isoformat() + "Z")
    if "pattern" not in schema:
        characters = st.characters(codec="utf-8", exclude_categories=["Cc"])
        return st.text(characters, min_size=low, max_size=min(high, 30))
    return SPELLINGS[schema["pattern"]].filter(lambda text: low <= len(text) <= high)


def _lists(schema: Schema) -> SearchStrategy[list[Json]]:
    items = values(schema["items"])
    least, most = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
    match schema["x-kubernetes-list-type"]:
        case "map":
            keys = schema["x-kubernetes-list-map-keys"]
            return st.lists(
                items,
                min_size=least,
                max_size=most,
                unique_by=lambda item: tuple(item[key] for key in keys),
            )
        case kind:
            return st.lists(items, min_size=least, max_size=most, unique=kind == "set")


def _members(schema: Schema) -> SearchStrategy[dict[str, Json]]:
    needed = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    made = st.fixed_dictionaries(
        {name: values(child) for name, child in properties.items() if name in needed},
        optional={name: values(child) for name, child in properties.items() if name not in needed},
    )
    if not schema.get("x-kubernetes-preserve-unknown-fields"):
        return made
    free = st.dictionaries(st.sampled_from(sorted(_FREE)), st.none(), max_size=2)
    return st.builds(lambda known, more: {**{key: _FREE[key] for key in more}, **known}, made, free)


@st.composite
def spoiled(draw: st.DrawFn, kind: type[KubeObject]) -> Json:
    """An object of `kind` with one or two places of its spec changed to something else."""
    document = copy.deepcopy(draw(objects_of(kind)))
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(document["spec"]))
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                holder[key] = copy.deepcopy(draw(JUNK))  # else later changes nest it in itself
            case "remove":
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.sampled_from(["nodes", "replicas", "name", "x"]))] = copy.deepcopy(
                    draw(JUNK)
                )
            case "repeat" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[key]))
    return document


def _places(value: Json) -> Any:
    """Every member and item below `value`, with what holds it."""
    match value:
        case dict():
            for key, child in value.items():
                yield value, key
                yield from _places(child)
        case list():
            for index, child in enumerate(value):
                yield value, index
                yield from _places(child)
