"""A short storm over a real federation; long ones are `make chaos`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.plan import draw
from tests.chaos.storm import Terms, storm

pytestmark = [pytest.mark.lab, pytest.mark.federation, pytest.mark.timeout(600)]


async def test_a_short_storm_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    plan = draw(11, 15.0, every=0.3, blows=3.0)
    terms = Terms(11, 15.0, 1.0, tmp_path, f"storm-{os.getpid()}")
    outcome = await storm(terms, plan)
    assert outcome.violations == []
    assert outcome.faults > 20
    assert outcome.attempts > 5
