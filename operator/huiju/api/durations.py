"""Durations as people write them: `90s`, `1h30m`, `2d`.

Decides the spelling in both directions; the schema's pattern is in `meta.py`. Standard library
only, so that every layer can use it. Invariant: `parse_duration(format_duration(s))` is `s` for
every whole number of milliseconds.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

_UNITS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Seconds that `text` stands for; raises ValueError where it is not a duration."""
    if not _WHOLE.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration such as 90s, 1h30m or 2d")
    parts = _PART.findall(text)
    return float(sum(Fraction(amount) * _UNITS[unit] for amount, unit in parts) / 1000)


def format_duration(seconds: float) -> str:
    """Write `seconds` (not negative) to the millisecond, largest units first, none that is zero.

    Raises ValueError for a negative or infinite amount.
    """
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"{seconds} s is not a duration: it must be finite and not negative")
    left = round(seconds * 1000)
    parts: list[str] = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
