"""CrossRegionJobs made from a command line or read from files.

Decides how flags become fields, not whether the job is legal: the API server says that, with the
cure. Invariant: a file goes to the server as it was written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from huiju.cli.failures import UsageError

Fields = dict[str, Any]
API_VERSION: Final = "huiju.dev/v1alpha1"
KIND: Final = "CrossRegionJob"


def from_files(paths: Sequence[str]) -> list[Fields]:
    """The jobs in YAML or JSON files (`-`: standard input)."""
    jobs = [job for path in paths for job in _read(path)]
    if not jobs:
        raise UsageError(f"{', '.join(paths)}: there is no {KIND} in it")
    return jobs


def _read(path: str) -> list[Fields]:
    import yaml

    loader = _loader()
    where = "standard input" if path == "-" else path
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).expanduser().read_bytes()
        documents = [d for d in yaml.load_all(data, Loader=loader) if d is not None]
    except OSError as error:
        raise UsageError(f"-f {path}: {error.strerror}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "its characters are not those of YAML"
        raise UsageError(f"{where}{line}: cannot be read as YAML: {problem}") from error
    return [_job(document, where) for document in documents]


def _loader() -> Any:
    """A safe loader that refuses a key given twice, of which the last would win in silence."""
    import yaml

    safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(safe):  # type: ignore[misc]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                    if key.value in seen:
                        told = f"the key {key.value!r} is given twice"
                        raise yaml.constructor.ConstructorError(None, None, told, key.start_mark)
                    seen.add(key.value)
            return super().construct_mapping(node, deep)

    return Loader


def _job(document: Any, where: str) -> Fields:
    if not isinstance(document, dict):
        raise UsageError(f"{where}: a document is not an object with apiVersion and kind")
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind != KIND:
        raise UsageError(
            f"{where}: submit takes {KIND}s, this is a {kind or 'document without kind'};"
            " use `kubectl apply` for other kinds"
        )
    if version != API_VERSION:
        raise UsageError(f"{where}: apiVersion must be {API_VERSION}, not {version}")
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or not (metadata.get("name") or metadata.get("generateName")):
        raise UsageError(f"{where}: metadata.name is missing")
    return document


def accelerator(given: str) -> Fields:
    """`MODEL:UNITS` or `MODEL:UNITS@IMAGE` as one alternative."""
    what, _, image = given.partition("@")
    model, _, units = what.rpartition(":")
    if not model or not units.isdecimal() or int(units) < 1:
        raise argparse.ArgumentTypeError(
            f"{given!r} is not MODEL:UNITS such as ascend-910b3:8 (units per worker)"
        )
    alternative: Fields = {"model": model, "perWorker": int(units)}
    return alternative | {"image": image} if image else alternative


def variable(given: str) -> Fields:
    """`NAME=VALUE` as an environment variable."""
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{given!r} is not NAME=VALUE")
    return {"name": name, "value": value}


def from_flags(flags: argparse.Namespace, command: Sequence[str]) -> Fields:
    """The job that the flags describe; the words after `--` are its command."""
    _require(flags)
    spec: Fields = {"queue": flags.queue, "accelerators": list(flags.accelerator)}
    spec |= _kept({"workers": flags.workers, "priority": flags.priority})
    spec |= _kept({"maxRuntime": flags.max_runtime, "expectedRuntime": flags.expected_runtime})
    spec["template"] = {"spec": {"containers": [_container(flags, command)]}}
    if flags.framework:
        spec["launch"] = {"framework": flags.framework}
    placement = _kept({"regions": flags.region, "centers": flags.center})
    if placement:
        spec["placement"] = placement
    if flags.failover:
        spec["failover"] = {"policy": flags.failover}
    if flags.attempts:
        spec["retry"] = {"maxAttempts": flags.attempts}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": flags.name},
        "spec": spec,
    }


def _require(flags: argparse.Namespace) -> None:
    missing = [f"--{name}" for name in ("name", "queue", "accelerator") if not getattr(flags, name)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} missing: give a job with -f FILE, or describe one like"
            " `submit --name x --queue q --accelerator ascend-910b3:8 --image IMG -- python t.py`"
        )
    if not flags.image and not all("image" in a for a in flags.accelerator):
        raise UsageError("--image missing: give one, or an image for each MODEL:UNITS@IMAGE")


def _container(flags: argparse.Namespace, command: Sequence[str]) -> Fields:
    container: Fields = {"name": "main"}
    container |= _kept({"image": flags.image, "command": list(command), "env": flags.env})
    amounts = _kept({"cpu": flags.cpu, "memory": flags.memory})
    if amounts:
        container["resources"] = {"requests": amounts}
    return container


def _kept(fields: Fields) -> Fields:
    return {key: value for key, value in fields.items() if value not in (None, "", [])}
