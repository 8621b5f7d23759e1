"""Every reason is explained, once, in sentences that a user can act on."""

from __future__ import annotations

import re

import pytest

from huiju.api import reference
from huiju.api.reasons import DESCRIPTIONS, SECTIONS, Reason


def test_every_reason_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Reason)


def test_no_reason_stands_in_two_sections() -> None:
    assert sum(len(section) for section in SECTIONS.values()) == len(Reason)


@pytest.mark.parametrize("reason", list(Reason))
def test_a_reason_is_one_stable_word(reason: Reason) -> None:
    assert re.fullmatch(r"[A-Z][A-Za-z]{1,62}", reason)
    assert reason.name == re.sub(r"(?<!^)(?=[A-Z])", "_", reason).upper()


@pytest.mark.parametrize("reason", list(Reason))
def test_meaning_and_cure_are_sentences(reason: Reason) -> None:
    description = DESCRIPTIONS[reason]
    for text in (description.meaning, description.cure):
        assert re.fullmatch(r"[A-Z].{10,140}\.", text), text
        assert "  " not in text
    assert description.meaning != description.cure


def test_the_page_names_every_reason() -> None:
    page = reference.reasons_page()
    for reason in Reason:
        assert page.count(f"| `{reason}` |") == 1
