"""Which centers changed, model by model, newest last: so that who asks looks at nothing else.

Decides nothing. Every change gets a number; whoever remembers the number of the latest change that
it has seen gets the centers that changed since, and pays for these only.
"""

from __future__ import annotations

from collections.abc import Iterator

ANY = ""
"""Stands for what concerns all models: the owner's rules, and centers that come and go."""


class Market:
    """The log of changes; a center stands in it once a model."""

    __slots__ = ("_recent", "tick")

    def __init__(self) -> None:
        self.tick = 0
        """Number of the latest change."""
        self._recent: dict[str, dict[str, tuple[int, int]]] = {}
        """Model to center to its latest change, and to the latest that may have made room."""

    def touch(self, model: str, center: str, *, grown: bool) -> None:
        """Something about the model changed in the center; `grown` if more may fit than before."""
        self.tick += 1
        recent = self._recent.setdefault(model, {})
        _, last = recent.pop(center, (0, 0))
        recent[center] = (self.tick, self.tick if grown else last)

    def since(self, model: str, tick: int) -> Iterator[tuple[str, bool]]:
        """Centers in which something about the model changed since, and whether more may fit."""
        recent = self._recent.get(model)
        if recent is None:
            return
        for center, (touched, grown) in reversed(recent.items()):
            if touched <= tick:
                return
            yield center, grown > tick
