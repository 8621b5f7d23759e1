"""Running programs, and waiting for what they bring about.

Decides deadlines. Invariants: a program that fails or hangs fails the test with what it said; a
wait ends with the last thing that was seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from lab.programs import lab_home

T = TypeVar("T")
PATIENCE: Final = 90.0
_STARTED: Final = time.monotonic()
_LONGEST: Final = 4000


class CommandFailed(AssertionError):
    """A program ended with an error; the message is what it said."""

    def __init__(self, words: tuple[str, ...], code: int, output: str) -> None:
        super().__init__(f"{' '.join(words)[:500]}: exit code {code}\n{output[-_LONGEST:]}")
        self.code = code
        self.output = output


def step(text: str) -> None:
    """Say what is going on."""
    seconds = int(time.monotonic() - _STARTED)
    tell[-1](f"  {seconds // 60:3}:{seconds % 60:02}  {text}")


tell: Final[list[Callable[[str], None]]] = [print]
"""Who says it; pytest puts one here that gets past its own capturing."""


def program(name: str) -> str:
    """Path of a program: on the PATH, beside this Python, or among the lab's."""
    places = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", ""), str(lab_home() / "bin")]
    )
    found = shutil.which(name, path=places)
    if found is None:
        raise FileNotFoundError(
            f"{name} is not installed; docs/testing.md says what `make e2e` needs"
        )
    return found


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every program: `kubectl` finds its plugin, and no kubeconfig by itself."""
    path = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", ""), str(lab_home() / "bin")]
    )
    return os.environ | {"PATH": path, "KUBECONFIG": os.devnull} | dict(more or {})


def run(
    *words: str,
    stdin: str = "",
    timeout: float = 120.0,
    env: Mapping[str, str] | None = None,
) -> str:
    """What a program prints; raises CommandFailed where it fails or takes longer than `timeout`."""
    command = (program(words[0]), *words[1:])
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment(env),
        )
    except subprocess.TimeoutExpired as late:
        said = late.stderr.decode() if isinstance(late.stderr, bytes) else late.stderr or ""
        raise CommandFailed(words, -1, f"no end after {timeout:g} s; it said: {said}") from late
    if done.returncode != 0:
        raise CommandFailed(words, done.returncode, done.stderr + done.stdout)
    return done.stdout


@contextmanager
def started(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A program that runs beside the test; it is ended with the context."""
    process = subprocess.Popen(
        [program(words[0]), *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def until(
    what: str,
    look: Callable[[], T],
    good: Callable[[T], object] = bool,
    *,
    seconds: float = PATIENCE,
    every: float = 1.0,
) -> T:
    """Look until it is good; fails with what was seen last, or with why it could not be looked."""
    end = time.monotonic() + seconds
    while True:
        try:
            seen: T | CommandFailed = look()
        except CommandFailed as failure:
            seen = failure
        if not isinstance(seen, CommandFailed) and good(seen):
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not after {seconds:g} s; last seen: {seen}")
        time.sleep(every)
