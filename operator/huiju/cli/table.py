"""Tables as kubectl prints them: left-aligned columns, two or more spaces between.

Decides layout only. Invariant: a cell never breaks a line, and wide (East Asian) characters count
as the two columns that they take.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Fields = dict[str, Any]
_GAP: Final = 3
_UNITS: Final = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its title, how an object's cell is found, whether only `-o wide` shows it."""

    title: str
    cell: Callable[[Fields], object]
    wide: bool = False
    steady: bool = True
    """False for what changes by itself (an age): such a change prints no row while watching."""


class Table:
    """Rows of some columns; widths grow with what was printed, as a watch goes on."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = tuple(titles)
        self._widths = [0] * len(self._titles)

    def header(self, rows: Iterable[Sequence[str]] = ()) -> str:
        """The line of titles, wide enough for the rows to come."""
        for row in (self._titles, *rows):
            self._grow(row)
        return self._line(self._titles)

    def row(self, cells: Sequence[str]) -> str:
        """One line; the last cell is not padded."""
        self._grow(cells)
        return self._line(cells)

    def _grow(self, cells: Sequence[str]) -> None:
        self._widths = [max(w, width(c)) for w, c in zip(self._widths, cells, strict=True)]

    def _line(self, cells: Sequence[str]) -> str:
        padded = (c + " " * (w - width(c)) for c, w in zip(cells, self._widths, strict=True))
        return (" " * _GAP).join(padded).rstrip()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """All lines of a table, the titles first."""
    made = Table(titles)
    return [made.header(rows), *(made.row(row) for row in rows)]


def cells(columns: Sequence[Column], obj: Fields) -> tuple[str, ...]:
    """An object's cells; what is missing is `-`."""
    return tuple(text(column.cell(obj)) for column in columns)


def text(value: object) -> str:
    """A value as one line; nothing and empty are `-`."""
    if value is None or value == "":
        return "-"
    return " ".join(str(value).split()) or "-"


def width(cell: str) -> int:
    """Columns that the text takes on a terminal."""
    if cell.isascii():
        return len(cell)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in cell
    )


def dig(obj: Any, *path: str) -> Any:
    """What lies at the path, or None where a part of it is missing."""
    for key in path:
        if not isinstance(obj, dict):
            return None
        obj = obj.get(key)
    return obj


def age(stamp: str | None, now: float) -> str:
    """Time since an RFC 3339 stamp in the two largest units, as kubectl writes ages."""
    then = moment(stamp)
    return "-" if then is None else span(now - then)


def moment(stamp: str | None) -> float | None:
    """An RFC 3339 stamp in seconds since the epoch, None where there is none."""
    if not stamp:
        return None
    from datetime import datetime

    try:
        return datetime.fromisoformat(stamp).timestamp()
    except ValueError:
        return None


def span(seconds: float) -> str:
    """A length of time in one or two units: `45s`, `12m`, `3h20m`, `2d4h`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole}s"
    index = next(i for i, (size, _) in enumerate(_UNITS) if whole >= size)
    size, unit = _UNITS[index]
    count, left = divmod(whole, size)
    if count >= 10 or unit == "s":
        return f"{count}{unit}"
    smaller, small_unit = _UNITS[index + 1]
    rest = left // smaller
    return f"{count}{unit}{rest}{small_unit}" if rest else f"{count}{unit}"


def condition(obj: Fields, kind: str) -> Fields:
    """The condition of this type, empty if there is none."""
    found = dig(obj, "status", "conditions") or []
    return next((c for c in found if c.get("type") == kind), {})
