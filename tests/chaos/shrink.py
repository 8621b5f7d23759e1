"""A smaller plan that still brings the violation, for a person to read.

Decides what to leave out next. Invariant: what is returned was seen to fail, or is the whole plan.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def shrunk(
    plan: Sequence[T], fails: Callable[[Sequence[T]], Awaitable[bool]], tries: int
) -> list[T]:
    """Leave out halves, then quarters, and so on, while it still fails; at most `tries` runs."""
    left, parts = list(plan), 2
    while tries > 0 and len(left) >= 2:
        size = -(-len(left) // parts)
        for start in range(0, len(left), size):
            rest = left[:start] + left[start + size :]
            tries -= 1
            if await fails(rest):
                left, parts = rest, max(2, parts - 1)
                break
            if tries == 0:
                return left
        else:
            if size == 1:
                return left
            parts = min(len(left), parts * 2)
    return left
