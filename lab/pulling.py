"""A transfer as its two centers run it: a real puller, and what both agents do for it.

Decides nothing that the agents do not: it starts the program, reads its lines, has each need
answered by the owner's signer, and puts the sealed answer into the puller's folder. Invariant: the
puller sees nothing but that folder and the source.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from huiju.data.access import Refused
from huiju.data.authority import Asked, Authority
from huiju.data.links import Need
from huiju.data.manifest import Reader
from huiju.data.signing import Linker, Transfer, answer

_LINE: Final = 1 << 20


class Owner:
    """The owner's center: what it knows, where its manifest lies, how it signs."""

    def __init__(
        self,
        authority: Authority,
        linker: Linker,
        manifest: Path,
        asked: Asked,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.authority = authority
        self.linker = linker
        self.reader = Reader(manifest)
        self.asked = asked
        self.clock = clock

    def answer(self, said: Mapping[str, Any], order: Mapping[str, Any]) -> bytes | Refused:
        """The sealed batch for a line of the puller's."""
        transfer = Transfer(
            order["replica"],
            order["epoch"],
            said["publicKey"],
            self.asked,
            tuple(order.get("include", ())),
            tuple(order.get("exclude", ())),
        )
        need = Need(said["seq"], said["first"], said["count"])
        return answer(self.authority, self.linker, self.reader, transfer, need, self.clock())


class Pull:
    """One run of the program."""

    def __init__(self, owner: Owner, folder: Path, order: Mapping[str, Any]) -> None:
        self.owner = owner
        self.folder = folder
        self.order = dict(order)
        self.lines: list[dict[str, Any]] = []
        self.needs = 0
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    @property
    def pid(self) -> int:
        """Number of the process."""
        if self._process is None:
            raise RuntimeError("the puller does not run")
        return self._process.pid

    @property
    def started(self) -> bool:
        """Whether it was started."""
        return self._process is not None

    def put(self, name: str, content: bytes) -> None:
        """Put a file into the puller's folder, whole."""
        half = self.folder / f".{name}"
        half.write_bytes(content)
        half.replace(self.folder / name)

    def terms(self, **control: Any) -> None:
        """Say what holds from now on."""
        self.put("control.json", json.dumps(control).encode())

    async def start(self, *before: str) -> None:
        """Start the program, behind the words of another where given."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.put("order.json", json.dumps(self.order).encode())
        self._process = await asyncio.create_subprocess_exec(
            *before,
            *(sys.executable, "-m", "huiju", "pull", "--folder", str(self.folder)),
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        if self._process is None or self._process.stdout is None:
            return
        async for raw in self._process.stdout:
            line = json.loads(raw)
            async with self._changed:
                self.lines.append(line)
                self._changed.notify_all()
            if line["event"] == "need":
                self.needs += 1
                found = await asyncio.to_thread(self.owner.answer, line, self.order)
                if isinstance(found, Refused):
                    told = {"reason": str(found.reason), "message": found.message}
                    self.put(f"refused-{line['seq']}", json.dumps(told).encode())
                else:
                    self.put(f"links-{line['seq']}", found)

    async def until(self, seen: Callable[[dict[str, Any]], bool], seconds: float = 60) -> Any:
        """The first line that fits, past ones too; raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            while not (found := [line for line in self.lines if seen(line)]):
                await self._changed.wait()
            return found[0]

    def last(self, event: str) -> dict[str, Any]:
        """The last line of an event; raises IndexError."""
        return [line for line in self.lines if line["event"] == event][-1]

    async def end(self, seconds: float = 120) -> int:
        """Wait for the program's end; returns its exit code (negative: the signal)."""
        if self._process is None or self._reading is None:
            raise RuntimeError("the puller does not run")
        async with asyncio.timeout(seconds):
            code = await self._process.wait()
            await self._reading
        return code

    async def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self.end()
