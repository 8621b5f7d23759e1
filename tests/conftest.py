"""Shared fixtures: those of the lab."""

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
