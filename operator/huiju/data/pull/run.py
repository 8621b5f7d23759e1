"""`huiju pull`: the puller as a program, in a pod without any right on its cluster.

Decides exit codes: 0 the copy is there, 1 it is not (the last line says why), 2 a wrong order, 3
another transfer has the target, 4 stopped on demand; all but 2 can be taken up again. Invariant: a
signal ends it at once and loses no part that is written.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from huiju.data.pull.gate import Stopped
from huiju.data.pull.order import Fenced, Mode, Order, OrderRefused, PullFailed, read_order
from huiju.data.pull.puller import Puller
from huiju.data.pull.report import Report
from huiju.data.pull.target import FolderTarget
from huiju.data.pull.verify import verify

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
FENCED: Final = 3
STOPPED: Final = 4


async def run_puller(folder: Path) -> int:
    """Carry out the order in the folder; returns the exit code."""
    try:
        order = await asyncio.to_thread(read_order, folder)
    except OrderRefused as refusal:
        print(f"huiju pull: {refusal}", file=sys.stderr)
        return USAGE
    work = asyncio.create_task(_carry_out(order, folder))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, work.cancel)
    with suppress(asyncio.CancelledError):
        return await work
    return STOPPED


def _remove(order: Order) -> None:
    target = FolderTarget(Path(order.target), order.epoch)
    target.claim()
    target.remove()


async def _carry_out(order: Order, folder: Path) -> int:
    say = Report(order.replica, order.epoch)
    try:
        match order.mode:
            case Mode.VERIFY:
                await verify(order, say)
            case Mode.REMOVE:
                await asyncio.to_thread(_remove, order)
                say("removed")
            case Mode.PULL | Mode.REPAIR:
                await Puller(order, folder, say).run()
    except PullFailed as failure:
        say("failed", reason=str(failure.reason), message=str(failure), path=failure.path)
        return FAILED
    except Fenced as fenced:
        say("failed", reason="Fenced", message=str(fenced), path="")
        return FENCED
    except Stopped:
        return STOPPED
    return OK
