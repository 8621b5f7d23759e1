"""`huiju gateway` and `huiju pull` as two programs, and a grant that ends between them."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from huiju.api.reasons import Reason
from huiju.data.access import Place
from huiju.data.authority import Asked, Authority
from huiju.data.gatewayrun import write_state
from huiju.data.manifest import MEBIBYTE
from huiju.data.signing import GatewayLinker
from lab.pulling import Owner, Pull
from tests.integration.data.pulls import ODD, grant, publish, share, tree
from tests.patience import PATIENCE

KEY = b"k" * 32
PLACES = [Place("ulanqab", "north")]


@asynccontextmanager
async def gateway(state: Path) -> AsyncIterator[str]:
    """The program; gives its address."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "huiju", "gateway", "--state", str(state), "--port", "0"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), PATIENCE)).decode()
        found = re.search(r"address=(\S+)", line)
        assert found is not None, line
        yield f"http://{found[1]}"
    finally:
        process.terminate()
        assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def test_a_folder_is_copied_and_a_revoked_grant_ends_it(tmp_path: Path) -> None:
    data, state = tmp_path / "data", tmp_path / "state"
    summary = await publish(data, ODD | {"big.bin": 20 * MEBIBYTE + 1})
    shared = share(summary.digest, {"files": {"path": str(data)}}, summary)
    authority = Authority()
    authority.tell([shared], [grant("Approved")], PLACES)
    write_state(state, KEY, [shared], [grant("Approved")], PLACES)
    asked = Asked("u1", summary.digest, "ulanqab", ("team-b",))
    target = tmp_path / "store" / "u1" / "copy"
    order = {"replica": "r", "epoch": 1, "digest": summary.digest, "target": str(target)}
    async with gateway(state) as address:
        owner = Owner(authority, GatewayLinker(address, KEY), tmp_path / "draft", asked)
        first = Pull(owner, tmp_path / "pod", order)
        first.folder.mkdir()
        first.terms(rate=3 * MEBIBYTE)
        await first.start()
        await first.until(lambda line: line.get("bytesDone", 0) > 2 * MEBIBYTE)
        # The hub may say what it likes meanwhile: the gateway has its own knowledge.
        write_state(state, KEY, [shared], [grant("Revoked")], PLACES)
        assert await first.end() == 1, first.lines[-1]
        assert first.last("failed")["reason"] == Reason.GRANT_REVOKED
        assert not target.exists()

        (state / "state.json").write_text("{")
        closed = Pull(owner, tmp_path / "pod-2", order | {"epoch": 2})
        await closed.start()
        await asyncio.sleep(0)
        assert await closed.end() == 1
        assert closed.last("failed")["reason"] in (Reason.PERMISSION_DENIED, Reason.GRANT_REVOKED)

        write_state(state, KEY, [shared], [grant("Approved")], PLACES)
        await asyncio.sleep(2.5)
        again = Pull(owner, tmp_path / "pod-3", order | {"epoch": 3})
        await again.start()
        assert await again.end() == 0, again.lines[-1]
        assert tree(target) == tree(data)
        assert again.last("done")["fetched"] < summary.bytes
