"""How many units of an accelerator one worker may ask for, as far as the model alone tells.

Decides what no server of a generation can serve; what a certain center's servers can serve is
decided where they are known. Invariant: the CEL rules and the Python checks come from one table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from huiju.api.markers import cel_string


@dataclass(frozen=True, slots=True)
class Family:
    """Accelerator models of one generation and the sizes that its servers can serve.

    `single` holds for every worker, `gang` for the workers of a job that has several.
    """

    name: str
    pattern: str
    single: tuple[int, ...]
    gang: tuple[int, ...]

    def covers(self, model: str) -> bool:
        """True if `model` is of this family."""
        return re.search(self.pattern, model) is not None

    def sizes(self, workers: int) -> tuple[int, ...]:
        """Legal units per worker in a job of that many workers."""
        return self.gang if workers > 1 else self.single

    def cel_covers(self, model: str) -> str:
        """`covers` in CEL, of the expression `model`."""
        return f"{model}.matches({cel_string(self.pattern)})"


START: Final = "ascend-"
"""What the model names of all families begin with, so that others are told by one look."""

_EVEN: Final = tuple(range(2, 17, 2))

FAMILIES: Final = (
    # Two rings of four: a job of up to four cards stays inside one.
    Family("Ascend 910A", "^ascend-910(a|pro[ab]|premiuma)$", (1, 2, 4, 8), (1, 2, 4, 8)),
    # Servers of 8 take any number, those of 16 split an even one above 8 over two groups.
    Family(
        "Ascend 910B",
        "^ascend-910b[0-9]*(c|-1)?$",
        (*range(1, 9), 10, 12, 14, 16),
        (*range(1, 9), 10, 12, 14, 16),
    ),
    # Dies come in modules of two, and only a worker that is alone may take half of one.
    Family("Ascend A3", "^ascend-(a3|910c)(-[a-z0-9]+)?$", (1, *_EVEN), _EVEN),
)


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family | None:
    """The family whose sizes are limited that `model` belongs to, if any."""
    return next((family for family in FAMILIES if family.covers(model)), None)


def spell(sizes: tuple[int, ...]) -> str:
    """Write sizes for a person: `1-8, 10, 12, 14 or 16`."""
    runs: list[str] = []
    for size in sizes:
        first, _, last = (runs[-1] if runs else "").partition("-")
        if first and size == int(last or first) + 1:
            runs[-1] = f"{first}-{size}"
        else:
            runs.append(str(size))
    spread = [part for run in runs for part in (run.split("-") if _is_pair(run) else [run])]
    return spread[0] if len(spread) == 1 else f"{', '.join(spread[:-1])} or {spread[-1]}"


def _is_pair(run: str) -> bool:
    first, _, last = run.partition("-")
    return bool(last) and int(last) == int(first) + 1


def size_fits(model: str, per_worker: int) -> bool:
    """Whether a server of the model can give one worker so many units, as far as is known."""
    family = family_of(model)
    return family is None or per_worker in family.single


def size_complaint(model: str, per_worker: int, workers: int) -> str | None:
    """What to tell who asks for an impossible size, None where it is possible."""
    family = family_of(model)
    if family is None or per_worker in family.sizes(workers):
        return None
    if workers > 1 and per_worker in family.single:
        return (
            f"perWorker {per_worker} of {model} is impossible with several workers:"
            f" use {spell(family.gang)}, or one worker"
        )
    return f"perWorker {per_worker} of {model} is impossible: use {spell(family.single)}"
