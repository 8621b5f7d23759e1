"""Our definitions pass the linter, and each of its rules finds what it is there for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from huiju.api import crd, lint, reference
from huiju.api.job import CrossRegionJob
from huiju.api.meta import KubeObject

ROOT = Path(__file__).parents[3]
Definition = dict[str, Any]


@pytest.mark.parametrize("kind", crd.KINDS, ids=lambda kind: kind.info.kind)
def test_our_definitions_pass(kind: type[KubeObject]) -> None:
    assert lint.lint(crd.definition(kind)) == []


def test_the_command_says_that_all_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main() == 0
    assert capsys.readouterr().err == ""


def version(definition: Definition) -> Any:
    return definition["spec"]["versions"][0]


def spec(definition: Definition) -> Any:
    return version(definition)["schema"]["openAPIV3Schema"]["properties"]["spec"]


def status(definition: Definition) -> Any:
    return version(definition)["schema"]["openAPIV3Schema"]["properties"]["status"]


def add(name: str, schema: Definition) -> Callable[[Definition], object]:
    def change(definition: Definition) -> None:
        spec(definition)["properties"][name] = schema

    return change


def rule(text: str, message: str) -> Callable[[Definition], object]:
    def change(definition: Definition) -> None:
        added = {"rule": text, "message": message}
        alternative = spec(definition)["properties"]["accelerators"]["items"]
        alternative["x-kubernetes-validations"].append(added)

    return change


def column(path: str, kind: str) -> Callable[[Definition], object]:
    def change(definition: Definition) -> None:
        added = {"name": "New", "jsonPath": path, "type": kind, "priority": 1}
        version(definition)["additionalPrinterColumns"].append(added)

    return change


TEXT: Definition = {"description": "A text.", "type": "string", "maxLength": 9}
NUMBER: Definition = {"description": "A number.", "type": "integer", "format": "int32"}
LIST: Definition = {
    "description": "A list.",
    "type": "array",
    "items": {"type": "string", "maxLength": 9},
    "maxItems": 9,
    "x-kubernetes-list-type": "atomic",
}


def without(schema: Definition, member: str) -> Definition:
    return {key: value for key, value in schema.items() if key != member}


CASES: list[tuple[str, Callable[[Definition], object], str]] = [
    ("list-type", add("x", without(LIST, "x-kubernetes-list-type")), ".spec.x: a list needs x-"),
    ("list-bound", add("x", without(LIST, "maxItems")), ".spec.x: a list needs maxItems"),
    (
        "kept-default",
        add("x", {**LIST, "x-kubernetes-list-type": "set", "default": ["*"]}),
        ".spec.x: a list with items by default is atomic",
    ),
    ("text-bound", add("x", without(TEXT, "maxLength")), ".spec.x: a string needs maxLength"),
    (
        "item-bound",
        add("x", {**LIST, "items": {"type": "string"}}),
        ".spec.x[]: a string needs maxLength",
    ),
    (
        "map-bound",
        add("x", {"description": "A map.", "type": "object", "additionalProperties": TEXT}),
        ".spec.x: a map needs maxProperties",
    ),
    ("no-sentence", add("x", without(TEXT, "description")), ".spec.x: needs a description"),
    ("half-sentence", add("x", {**TEXT, "description": "text"}), ".spec.x: the description must"),
    ("snake-case", add("x_y", TEXT), ".spec.x_y: a field is written in camelCase"),
    ("float", add("x", {"description": "A.", "type": "number"}), ".spec.x: floats do not survive"),
    ("width", add("x", without(NUMBER, "format")), ".spec.x: an integer needs the format"),
    ("nullable", add("x", {**TEXT, "nullable": True}), ".spec.x: nullable fights"),
    ("bare-reference", add("secretRef", TEXT), ".spec.secretRef: a reference is an object"),
    ("empty", add("x", {"description": "A.", "type": "object"}), ".spec.x: an object without"),
    (
        "free-form",
        add(
            "x",
            {
                "description": "A.",
                "type": "object",
                "x-kubernetes-preserve-unknown-fields": True,
            },
        ),
        ".spec.x: members without a schema are for pod templates alone",
    ),
    ("not-structural", add("x", {**TEXT, "anyOf": []}), ".spec.x: anyOf is not allowed"),
    ("mute-rule", rule("self.perWorker > 0", ""), "needs a message"),
    ("long-rule", rule("self.perWorker > 0", "m" * 251), "longer than 250 characters"),
    ("full-stop", rule("self.perWorker > 0", "must be more."), "leave out the full stop"),
    ("old-self", rule("self == oldSelf", "no change"), "oldSelf means nothing in a list"),
    ("lost-column", column(".spec.nothing", "string"), "column New: .spec.nothing leads to no"),
    ("wrong-column", column(".spec.workers", "string"), "column New: of type string cannot show"),
    ("wrong-age", column(".metadata.creationTimestamp", "string"), "column New: must be of type"),
    (
        "lost-condition",
        column('.status.conditions[?(@.kind=="Ready")].status', "string"),
        "leads to no field",
    ),
    (
        "many-columns",
        lambda d: [c.pop("priority", 0) for c in version(d)["additionalPrinterColumns"]],
        "columns: more than 6",
    ),
    ("no-age", lambda d: version(d).pop("additionalPrinterColumns"), "users look for the age"),
    (
        "lost-selector",
        lambda d: version(d)["selectableFields"].append({"jsonPath": ".spec.launch"}),
        "selectableFields .spec.launch: must point at a scalar field",
    ),
    ("no-subresource", lambda d: version(d).pop("subresources"), "status must be a subresource"),
    (
        "no-generation",
        lambda d: status(d)["properties"].pop("observedGeneration"),
        "observedGeneration is missing",
    ),
    ("no-conditions", lambda d: status(d)["properties"].pop("conditions"), "conditions are missi"),
    (
        "loose-conditions",
        lambda d: status(d)["properties"]["conditions"].update(
            {"x-kubernetes-list-type": "atomic", "x-kubernetes-list-map-keys": []}
        ),
        ".status.conditions: must be a map by type",
    ),
    (
        "poor-conditions",
        lambda d: status(d)["properties"]["conditions"]["items"]["properties"].pop("message"),
        "a condition needs message",
    ),
    ("all", lambda d: d["spec"]["names"]["categories"].append("all"), "never `all`"),
    ("no-short-name", lambda d: d["spec"]["names"].update(shortNames=[]), "a kind needs one"),
    ("list-kind", lambda d: d["spec"]["names"].update(listKind="Jobs"), "names.listKind: must be"),
    ("plural", lambda d: d["spec"]["names"].update(plural="Jobs"), "names.plural: must be"),
    ("two-stored", lambda d: d["spec"]["versions"].append(version(d)), "exactly one version is"),
    ("heavy", lambda d: d["metadata"].update(labels={"x": "y" * 262_144}), "bytes are more than"),
]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [pytest.param(change, complaint, id=name) for name, change, complaint in CASES],
)
def test_finds(change: Callable[[Definition], object], complaint: str) -> None:
    definition = copy.deepcopy(crd.definition(CrossRegionJob))
    change(definition)
    assert any(complaint in line for line in lint.lint(definition)), lint.lint(definition)


def test_the_files_are_what_the_models_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main(["--check", "--directory", str(ROOT / "crds")]) == 0
    assert reference.main(["--check", "--directory", str(ROOT / "docs" / "reference")]) == 0
    assert capsys.readouterr().err == ""


def test_a_stale_file_is_named_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--directory", str(tmp_path)]
    assert crd.main(["--write", *there]) == 0
    queues = tmp_path / "huiju.dev_computequeues.yaml"
    queues.write_text("old")
    (tmp_path / "huiju.dev_former.yaml").write_text("kind: Gone")
    assert crd.main(["--check", *there]) == 1
    complaint = capsys.readouterr().err
    assert f"{queues} is not up to date: run with --write" in complaint
    assert "huiju.dev_former.yaml" in complaint
    assert crd.main(["--write", *there]) == 0
    assert crd.main(["--check", *there]) == 0
    assert yaml.safe_load(queues.read_text())["kind"] == "CustomResourceDefinition"
    assert len(list(tmp_path.iterdir())) == len(crd.KINDS)


def test_the_reference_leaves_other_pages_alone(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("by hand")
    assert reference.main(["--check", "--directory", str(tmp_path)]) == 1
    assert reference.main(["--write", "--directory", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["api.md", "guide.md", "reasons.md"]
