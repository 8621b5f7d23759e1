"""Programs built from their Go modules: the way that needs nothing but a module proxy.

Decides how a throw-away module must look so that Go accepts it: Kubernetes and etcd replace their
own modules by folders of their repositories, which only a main module may do. Invariant: Go checks
every module against the checksum database; a built program is moved into place whole.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.programs import ETCD, HELM, KUBERNETES, KWOK, ProgramsMissing
from lab.progress import Progress, minutes

_STAGING: Final = re.compile(r"^\s*(k8s\.io/[a-z-]+) => \./staging", re.M)
_GO: Final = (1, 26)
_LANGUAGE: Final = "go 1.26"
_KEEP: Final = 4000
"""Characters of the compiler's last words that an error shows."""


@dataclass(frozen=True, slots=True)
class _Recipe:
    """One module whose programs are compiled together, sharing what they import."""

    title: str
    module: str
    packages: dict[str, str]
    """Package by program."""
    ldflags: str
    expected: float
    """Seconds on two cores with an empty build cache."""
    requires: Callable[[Path], str]


def build(names: Sequence[str], folder: Path, modules: Path, progress: Progress) -> None:
    """Compile the named programs into the folder; raises ProgramsMissing with the cure."""
    go = _go(names)
    wanted = [recipe for recipe in _recipes() if set(recipe.packages) & set(names)]
    whole = minutes(sum(recipe.expected for recipe in wanted))
    progress.say(f"lab: building {', '.join(names)} from Go modules, once, in about {whole}")
    for recipe in wanted:
        packages = {name: recipe.packages[name] for name in recipe.packages if name in names}
        _build_one(go, recipe, packages, folder, modules / recipe.module, progress)


def _go(names: Sequence[str]) -> str:
    """Path of a Go that is new enough."""
    go = shutil.which("go")
    cure = (
        f"install Go {_GO[0]}.{_GO[1]} or newer (https://go.dev/dl/), or set HUIJU_LAB_BIN to a"
        " folder with these programs"
    )
    if go is None:
        raise ProgramsMissing(f"cannot build {', '.join(names)}: there is no Go here; {cure}")
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    if found and (int(found[1]), int(found[2])) < (1, 21):
        raise ProgramsMissing(f"cannot build {', '.join(names)}: {said.strip()} is too old; {cure}")
    return go  # 1.21 and newer fetch the toolchain that a module asks for


def _recipes() -> tuple[_Recipe, ...]:
    major, minor, _ = KUBERNETES.split(".")
    version = "k8s.io/component-base/version."
    return (
        _Recipe(
            "kwok",
            "kwok",
            {name: f"sigs.k8s.io/kwok/cmd/{name}" for name in ("kwok", "kwokctl")},
            f"-X sigs.k8s.io/kwok/pkg/consts.Version=v{KWOK}",
            150.0,
            lambda _: f"require sigs.k8s.io/kwok v{KWOK}\n",
        ),
        _Recipe(
            "etcd",
            "etcd",
            {"etcd": "go.etcd.io/etcd/server/v3"},
            "",
            60.0,
            lambda _: f"require go.etcd.io/etcd/server/v3 v{ETCD}\n",
        ),
        _Recipe(
            "Helm",
            "helm",
            {"helm": "helm.sh/helm/v4/cmd/helm"},
            f"-X helm.sh/helm/v4/internal/version.version=v{HELM}",
            180.0,
            lambda _: f"require helm.sh/helm/v4 v{HELM}\n",
        ),
        _Recipe(
            "Kubernetes",
            "k8s",
            {
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kubectl",
                )
            },
            f"-X {version}gitVersion=v{KUBERNETES} -X {version}gitMajor={major}"
            f" -X {version}gitMinor={minor}",
            480.0,
            _kubernetes_requires,
        ),
    )


def _kubernetes_requires(folder: Path) -> str:
    """Name every staging module in the version that goes with the release."""
    answer = _output(
        ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"], folder, 600
    )
    staged = _STAGING.findall(Path(json.loads(answer)["GoMod"]).read_text())
    library = "v0." + KUBERNETES.split(".", 1)[1]
    lines = [f"require k8s.io/kubernetes v{KUBERNETES}"]
    lines += [f"replace {module} => {module} {library}" for module in staged]
    return "\n".join(lines) + "\n"


def _build_one(
    go: str,
    recipe: _Recipe,
    packages: dict[str, str],
    folder: Path,
    module: Path,
    progress: Progress,
) -> None:
    started = time.monotonic()
    module.mkdir(parents=True, exist_ok=True)
    _write_module(recipe, module)
    progress.say(f"lab: fetching the modules of {recipe.title}")
    # -e: tests of dependencies import packages that nobody publishes; they are not compiled.
    _output([go, "mod", "tidy", "-e"], module, 1200)
    total = len(_output([go, "list", "-deps", *packages.values()], module, 300).split())
    out = folder / f".build-{recipe.module}-{os.getpid()}"
    out.mkdir(exist_ok=True)
    try:
        command = [go, "build", "-v", "-trimpath", "-gcflags=all=-dwarf=false"]
        command += ["-ldflags", f"-s -w {recipe.ldflags}".strip()]
        for group in _groups(packages):
            target = str(out / group[0]) if len(group) == 1 else f"{out}/"
            paths = [packages[name] for name in group]
            _compile([*command, "-o", target, *paths], module, recipe, total, progress)
        for name in packages:
            (out / name).replace(folder / name)
    finally:
        shutil.rmtree(out, ignore_errors=True)
    progress.say(f"lab: built {', '.join(packages)} in {minutes(time.monotonic() - started)}")


def _groups(packages: dict[str, str]) -> list[list[str]]:
    """Programs named as their package are linked by one command; others need one each."""
    plain = [name for name, path in packages.items() if path.endswith(f"/{name}")]
    return [
        group for group in (plain, *([name] for name in packages if name not in plain)) if group
    ]


def _write_module(recipe: _Recipe, module: Path) -> None:
    (module / "go.mod").write_text(
        f"module huiju.dev/lab/{recipe.module}\n\n{_LANGUAGE}\n\n{recipe.requires(module)}"
    )
    imports = "".join(f'\t_ "{path}"\n' for path in recipe.packages.values())
    (module / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\nimport (\n{imports})\n")


def _compile(
    command: list[str], module: Path, recipe: _Recipe, total: int, progress: Progress
) -> None:
    """Run the compiler, counting the packages that it names as it goes."""
    started = time.monotonic()
    done = 0
    tail = ""
    process = subprocess.Popen(
        command, cwd=module, env=_environment(), stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None  # noqa: S101  asked for above
        for line in process.stderr:
            done += 1
            tail = (tail + line)[-_KEEP:]
            progress.tick(
                f"lab: building {recipe.title}: package {done} of at most {total},"
                f" {minutes(time.monotonic() - started)} of about {minutes(recipe.expected)}"
            )
        if process.wait() != 0:
            raise ProgramsMissing(f"building {recipe.title} failed:\n{tail}")
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _output(command: list[str], folder: Path, seconds: float) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramsMissing(
            f"`{' '.join(command)}` had no answer in {minutes(seconds)}; is the module proxy"
            f" ({os.environ.get('GOPROXY', 'https://proxy.golang.org')}) reachable?"
        ) from error
    if done.returncode != 0:
        raise ProgramsMissing(f"`{' '.join(command)}` failed:\n{done.stderr[-_KEEP:]}")
    return done.stdout


def _environment() -> dict[str, str]:
    flags = "-mod=mod -buildvcs=false"
    return os.environ | {"CGO_ENABLED": "0", "GOFLAGS": flags, "GO111MODULE": "on"}
