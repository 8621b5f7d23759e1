"""Shared fixtures: those of the lab; and no verdict by accident."""

import signal
import warnings

import hypothesis  # its plugin would do it last, deep in the stack: see below
import pytest

from lab.fixtures import (
    bare_cluster,
    bare_lab,
    bare_proxy,
    center,
    centers,
    centers_lab,
    hub,
    hub_lab,
    lab_cluster,
    namespace,
    namespace_in,
    pytest_collection_modifyitems,
)

# Python 3.11 now and then cannot parse a module that is first imported deep in the stack, and the
# whole run ends with an internal error.

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would each program
# that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_repeated: list[str] = []


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note attempts that failed and were repeated."""
    if str(report.outcome) == "rerun":
        _repeated.append(report.nodeid)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """What a failed attempt left open is no verdict on a run whose tests have all passed since."""
    if _repeated:
        warnings.simplefilter("ignore", pytest.PytestUnraisableExceptionWarning)


__all__ = [
    "bare_cluster",
    "bare_lab",
    "bare_proxy",
    "center",
    "centers",
    "centers_lab",
    "hub",
    "hub_lab",
    "lab_cluster",
    "namespace",
    "namespace_in",
    "pytest_collection_modifyitems",
]
