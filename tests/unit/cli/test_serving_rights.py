"""What the approval of an agent gives it on the hub, with data and without."""

from __future__ import annotations

from huiju.cli.pulling import approval_steps


def resources_of(*, serves_data: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for step in approval_steps("guiyang", serves_data=serves_data):
        if step.res.kind == "ClusterRole":
            for rule in step.rules:
                for resource in rule.resources:
                    found.setdefault(resource, set()).update(() if rule.names else rule.verbs)
    return found


def test_an_agent_that_serves_no_data_sees_no_shares() -> None:
    assert not {"datasetshares", "datasetgrants"} & resources_of(serves_data=False).keys()


def test_one_that_does_reads_by_name_and_lists_nothing() -> None:
    rights = resources_of(serves_data=True)
    for resource in ("datasetshares", "datasetgrants", "computecenters"):
        assert rights[resource] == {"get"}
