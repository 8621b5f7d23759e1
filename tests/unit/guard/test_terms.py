"""What the guard is told, and how it says that it was told nonsense."""

from __future__ import annotations

import subprocess
import sys

import pytest

from huiju.guard.program import main
from huiju.guard.terms import Address, TermsRefused, read_terms

GOOD = {"HUIJU_GUARD_SENTINEL": "http://huiju-sentinel.huiju-system.svc:8083/lease"}


def test_the_least_that_is_needed_is_where_the_sentinel_is() -> None:
    terms = read_terms(GOOD)
    assert terms.sentinel == Address("huiju-sentinel.huiju-system.svc", 8083, "/lease")
    assert terms.probes == {}
    assert terms.bind == ""


def test_an_ipv6_address_is_taken_out_of_its_brackets() -> None:
    terms = read_terms({"HUIJU_GUARD_SENTINEL": "http://[fd00::1]:8083/lease"})
    assert terms.sentinel == Address("fd00::1", 8083, "/lease")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("HUIJU_GUARD_SENTINEL", ""),
        ("HUIJU_GUARD_SENTINEL", "https://huiju-sentinel:8083/lease"),
        ("HUIJU_GUARD_SENTINEL", "http://huiju-sentinel/lease"),
        ("HUIJU_GUARD_SENTINEL", "http://huiju-sentinel:99999/lease"),
        ("HUIJU_GUARD_PORT", "0"),
        ("HUIJU_GUARD_PORT", "http"),
        ("HUIJU_GUARD_POLL", "0"),
        ("HUIJU_GUARD_POLL", "nan"),
        ("HUIJU_GUARD_POLL", "soon"),
        ("HUIJU_GUARD_PROBES", "["),
        ("HUIJU_GUARD_PROBES", "[]"),
        ("HUIJU_GUARD_PROBES", '{"train": {"readiness": {}}}'),
        ("HUIJU_GUARD_PROBES", '{"train": {"liveness": 1}}'),
    ],
)
def test_nonsense_ends_it_with_the_name_of_the_variable(
    name: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TermsRefused, match=name):
        read_terms({**GOOD, name: text})
    assert main({**GOOD, name: text}) == 2
    assert capsys.readouterr().err.startswith(f"huiju guard: {name}: ")


def test_it_imports_little() -> None:
    """One of these runs in every guarded pod: what is imported is paid for by each."""
    told = subprocess.run(
        [sys.executable, "-c", "import huiju.guard.program, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(told.stdout.split())
    heavy = {"asyncio", "ssl", "argparse", "dataclasses", "pathlib", "urllib", "http", "email"}
    assert not modules & heavy
    ours = {name for name in modules if name.split(".")[0] == "huiju"}
    assert all(name == "huiju" or name.startswith("huiju.guard") for name in ours)
    assert not any(name.split(".")[0] in {"msgspec", "aiohttp", "pydantic"} for name in modules)
