"""Every test that docs/data-tests.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "data-tests.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([a-z0-9_]+)::([a-z0-9_]+)`", PAGE)))


def test_the_page_names_tests() -> None:
    assert len(NAMED) > 60


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_a_named_test_is_there(file: str, test: str) -> None:
    # More than one folder has a file of that name: of copies, say, policy and program.
    files = [*(ROOT / "tests").rglob(f"test_{file}.py")]
    assert any(f"def test_{test}(" in f.read_text(encoding="utf-8") for f in files), file
