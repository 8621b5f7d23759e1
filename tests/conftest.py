"""Shared fixtures: those of the lab."""

import signal

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

# A shell that starts the tests in the background has them ignore Ctrl-C, and so would each program
# that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
