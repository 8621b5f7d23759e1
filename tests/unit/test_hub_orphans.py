"""Which workloads without a job are removed, and when somebody is asked first."""

from __future__ import annotations

from dataclasses import replace

from huiju.centers.syncer import Held
from huiju.hub.orphans import judge, mark_of
from huiju.hub.settings import HubSettings

SETTINGS = replace(HubSettings(), orphan_mass=3)


def held(*numbers: int) -> list[Held]:
    return [Held(f"u{number}", 1, "space", f"w{number}") for number in numbers]


def look(
    found: list[Held], *, consent: str = "", agreed: frozenset[str] = frozenset()
) -> tuple[int, bool, frozenset[str]]:
    finding = judge(found, set(), set(), SETTINGS, consent=consent, agreed=agreed)
    assert bool(finding.message) == finding.mass
    return len(finding.orphans), finding.mass, finding.agreed


def test_few_are_removed_and_a_mass_is_not() -> None:
    assert look(held(1, 2, 3)) == (3, False, frozenset())
    assert look(held(1, 2, 3, 4)) == (0, True, frozenset())


def test_consent_is_to_one_mass_and_to_what_is_left_of_it() -> None:
    mass = held(*range(9))
    mark = mark_of(mass)
    gone, asked, agreed = look(mass, consent=mark)
    assert (gone, asked) == (9, False)
    left = mass[:6]
    assert mark_of(left) != mark
    assert look(left, consent=mark, agreed=agreed)[:2] == (6, False)


def test_consent_to_one_mass_says_nothing_of_the_next() -> None:
    mass = held(*range(9))
    mark = mark_of(mass)
    agreed = look(mass, consent=mark)[2]
    assert look([], consent=mark, agreed=agreed) == (0, False, frozenset())
    assert look(held(*range(20, 30)), consent=mark, agreed=agreed) == (0, True, frozenset())
    assert look(held(*range(10)), consent=mark, agreed=agreed)[1], "one more than was agreed to"
    assert look(mass, consent="true")[1]


def test_what_was_seen_to_be_deleted_needs_no_word() -> None:
    mass = held(*range(9))
    deleted = {one.job_uid for one in mass}
    finding = judge(mass, set(), deleted, SETTINGS, consent="", agreed=frozenset())
    assert len(finding.orphans) == 9
    assert not finding.mass


def test_the_mark_is_of_jobs_in_whatever_order() -> None:
    assert mark_of(held(1, 2)) == mark_of(held(2, 1, 1))
