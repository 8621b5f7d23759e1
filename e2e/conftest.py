"""Fixtures: the network of the run, and a team for each test."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from e2e import artifacts, commands, network, settings, team
from e2e.commands import step
from e2e.network import Network
from e2e.team import Team

NETWORK = pytest.StashKey[Network]()
_SECONDS = 600
"""Of one test, with the making of the network in the first one's."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Clusters take longer than what `make test` allows a test."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(_SECONDS))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Show progress while tests run, whatever they print."""
    capture = session.config.pluginmanager.getplugin("capturemanager")
    terminal = session.config.pluginmanager.getplugin("terminalreporter")

    def tell(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(text)

    commands.tell.append(tell)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what the clusters show the moment that a test has failed."""
    report = yield
    made = item.config.stash.get(NETWORK, None)
    if made is not None and report.failed and report.when != "teardown":
        place = artifacts.collect(made.clusters, settings.ARTIFACTS, item.name)
        report.sections.append(("artifacts", str(place)))
        step(f"FAILED; objects, events and logs are in {place}")
    return report


@pytest.fixture(scope="session")
def net(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Network]:
    """A hub and two centers with everything installed."""
    made = network.plan(settings.from_environment(), tmp_path_factory.mktemp("e2e"))
    request.config.stash[NETWORK] = made
    if not made.settings.keep:
        made.remove()
    try:
        made.make()
        yield made
    finally:
        if made.settings.keep:
            step(f"clusters are left: {', '.join(c.name for c in made.clusters)}")
        else:
            made.remove()


@pytest.fixture
def squad(net: Network, request: pytest.FixtureRequest) -> Iterator[Team]:
    """A team of this test's own."""
    word = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))
    made = team.found(net, f"team-{word[:30].strip('-')}")
    yield made
    made.clear()
