"""One tenant's template costs the others nothing, whatever its size."""

from __future__ import annotations

from tests.unit.test_hub_intake import job


def test_a_template_of_a_mebibyte_is_refused_with_the_cure() -> None:
    """Each pod of a gang would have been a copy of it in the etcd of a center's owner."""
    container = {"name": "main", "image": "i", "args": ["x" * (1 << 20)]}
    made = job(1, template={"spec": {"containers": [container]}})
    assert "spec.carry" in made.spec.pods.error
    assert "131072" in made.spec.pods.error
    assert not job(
        1, template={"spec": {"containers": [{**container, "args": []}]}}
    ).spec.pods.error
