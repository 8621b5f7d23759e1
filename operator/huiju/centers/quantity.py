"""Kubernetes quantities as exact integers.

Decides only what a written amount is in base units: CPU in millicores, everything else in whole
units (bytes, counts). Invariant: no float ever touches a number, and what is not whole is rounded
up, as the API server does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Final

from huiju.scheduling.model import CPU

_FORM: Final = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]{1,3})|([A-Za-z]*))"
)
_SCALES: Final[Mapping[str, Fraction]] = {
    "": Fraction(1),
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate("mun", start=1)},
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", start=1)},
    **{unit + "i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)},
}


def parse(amount: str | int | float) -> Fraction:
    """The exact value of a quantity.

    Raises:
        ValueError: the text is no quantity.
    """
    match amount:
        case bool():
            raise ValueError(f"not a quantity: {amount!r}")
        case int():
            return Fraction(amount)
        case float():
            # The shortest text that reads back as the same float is what its author wrote.
            return _parse_text(repr(amount))
        case str():
            return _parse_text(amount)


@lru_cache(maxsize=4096)
def _parse_text(text: str) -> Fraction:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"not a quantity: {text!r}")
    digits, exponent, suffix = found.groups()
    number = Fraction(digits.rstrip(".") if digits.endswith(".") else digits)
    if exponent is not None:
        return number * Fraction(10) ** int(exponent)
    if suffix not in _SCALES:
        raise ValueError(f"not a quantity: {text!r} has an unknown suffix")
    return number * _SCALES[suffix]


def base_units(resource: str, amount: str | int | float) -> int:
    """A quantity in the base unit of its resource, rounded up.

    Raises:
        ValueError: the text is no quantity.
    """
    if type(amount) is str:
        return _text_in_base_units(resource == CPU, amount)
    return _round_up(parse(amount) * (1000 if resource == CPU else 1))


@lru_cache(maxsize=16384)
def _text_in_base_units(in_thousandths: bool, text: str) -> int:
    return _round_up(_parse_text(text) * (1000 if in_thousandths else 1))


def _round_up(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)
