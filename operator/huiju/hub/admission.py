"""The hub's own admission policy: who may ask for data, and who may decide, as data.

Decides what the API server of the hub refuses whoever writes a DatasetGrant, whatever their roles
allow. Invariants: the one who asks and the one who decides are who they say; nobody decides without
the verb `approve` on the share; a request never brings its own decision.
"""

from __future__ import annotations

from typing import Any, Final

from huiju.centers.role import PART_OF

NAME: Final = "huiju-grants"
_DECIDED: Final = (
    "has(object.spec.decision) && (!has(oldObject.spec.decision) ||"
    " object.spec.decision != oldObject.spec.decision)"
)
_SHARE: Final = (
    "authorizer.group('huiju.dev').resource('datasetshares')"
    ".namespace(object.spec.dataset.namespace).name(object.spec.dataset.name)"
)

VALIDATIONS: Final = (
    (
        "request.operation != 'CREATE' || object.spec.requestedBy == request.userInfo.username",
        "spec.requestedBy must be your own name, as `kubectl auth whoami` shows it",
    ),
    (
        "request.operation != 'CREATE' || !has(object.spec.decision)",
        "a request does not bring its own decision: leave spec.decision out",
    ),
    (
        "request.operation != 'UPDATE' || !has(oldObject.spec.decision) ||"
        " has(object.spec.decision)",
        "a decision is changed, never taken out",
    ),
    (
        f"request.operation != 'UPDATE' || !({_DECIDED}) ||"
        " object.spec.decision.by == request.userInfo.username",
        "spec.decision.by must be your own name, as `kubectl auth whoami` shows it",
    ),
    (
        f"request.operation != 'UPDATE' || !({_DECIDED}) || {_SHARE}.check('approve').allowed()",
        "only who has the verb approve on the DatasetShare decides on its grants (role"
        " huiju-data-owner in its namespace)",
    ),
)


def objects() -> tuple[dict[str, Any], ...]:
    """The policy and its binding."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME, "labels": dict(PART_OF)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["huiju.dev"],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["datasetgrants"],
                    }
                ]
            },
            "validations": [
                {"expression": expression, "message": message, "reason": "Forbidden"}
                for expression, message in VALIDATIONS
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME, "labels": dict(PART_OF)},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return policy, binding
