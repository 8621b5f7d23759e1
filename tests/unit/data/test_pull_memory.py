"""Places for parts: how many, and when the next request may be sent."""

from __future__ import annotations

import asyncio

import pytest

from huiju.data.manifest import LARGEST_PART, MEBIBYTE, PART
from huiju.data.pull.memory import AHEAD, MOST, Places


@pytest.mark.parametrize("part", [MEBIBYTE, PART, 32 * MEBIBYTE, LARGEST_PART])
@pytest.mark.parametrize("streams", [1, 4, 64])
def test_places_take_no_more_than_they_may_or_one_part(part: int, streams: int) -> None:
    places = Places(streams, part)
    assert 1 <= places.count <= streams
    assert places.count == 1 or places.count * part <= MOST


async def test_a_request_waits_until_another_part_nearly_ends() -> None:
    places = Places(1, 2 * AHEAD)
    async with places.place(2 * AHEAD) as first:
        await first.view()
        second = places.place(AHEAD)
        entering = asyncio.create_task(second.__aenter__())
        first.left(AHEAD + 1)
        await asyncio.sleep(0)
        assert not entering.done()
        first.left(AHEAD)
        first.left(0)  # counts once
        await entering
        # It may ask, and has no memory before the first is written.
        memory = asyncio.create_task(second.view())
        await asyncio.sleep(0)
        assert not memory.done()
        third = asyncio.create_task(places.place(1).__aenter__())
        await asyncio.sleep(0)
        assert not third.done()
        third.cancel()
    assert len(await memory) == AHEAD
    await second.__aexit__(None, None, None)


async def test_a_place_is_the_same_through_all_tries_and_comes_back_after_a_failure() -> None:
    places = Places(2, 64)

    async def breaks() -> None:
        async with places.place(10) as place:
            one = await place.view()
            one[0] = 7
            assert (await place.view())[0] == 7
            raise ValueError("broken")

    for _ in range(5):
        with pytest.raises(ValueError, match="broken"):
            await breaks()
    async with places.place(64) as a, places.place(64) as b:
        assert (await a.view()).obj is not (await b.view()).obj
