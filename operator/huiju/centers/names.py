"""Names, labels and annotations of everything that Huiju makes in a center.

Pure. Invariants: every name is legal and at most 63 characters long with whatever Kubernetes adds
to it; two jobs, epochs or namespaces never share a name by being cut; a name carries its epoch.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from huiju.api.meta import GROUP

LABEL_HUB: Final = f"{GROUP}/hub"
LABEL_JOB_UID: Final = f"{GROUP}/job-uid"
LABEL_EPOCH: Final = f"{GROUP}/epoch"
_EPOCH_DIGITS: Final = 9
MOST_EPOCH: Final = 10**_EPOCH_DIGITS - 1
"""The highest epoch that a name, a label and a mailbox can carry."""
LABEL_JOB_NAMESPACE: Final = f"{GROUP}/job-namespace"
LABEL_JOB_NAME: Final = f"{GROUP}/job-name"
ORIGIN: Final = f"{GROUP}/origin"
"""Annotation `<hub>/<namespace>/<name>/<uid>/<epoch>`: whose an object is."""
SCHEDULING_DEADLINE: Final = f"{GROUP}/scheduling-deadline"
"""Annotation of a workload: the time, as a duration, for all its pods to be bound."""
READY_DEADLINE: Final = f"{GROUP}/ready-deadline"
"""Annotation of a workload: the time, as a duration, for all its bound pods to run."""
HARDWARE_CODES: Final = f"{GROUP}/hardware-exit-codes"
"""Annotation of a workload: exit codes, with commas, by which its program says that the machine is
at fault."""
DEPENDENTS: Final = f"{GROUP}/dependents"
"""Annotation of a workload: plural names of the kinds that were made with it."""
PLACEMENT: Final = f"{GROUP}/placement"
"""Annotation of a workload: the hub's signed word on the placement that it stands for."""
FAILOVER: Final = f"{GROUP}/failover"
"""Label of a workload whose job is placed anew when its center is lost."""
GUARDED: Final = "guarded"
"""Value of that label: its pods stop by themselves when the lease has run out."""
UNGUARDED: Final = "unguarded"
"""Value of that label: the sentinel stops it when the lease has run out."""
STOP_REASON: Final = f"{GROUP}/stop-reason"
STOP_MESSAGE: Final = f"{GROUP}/stop-message"

LONGEST: Final = 63
_LONGEST_WORKLOAD: Final = LONGEST - len("-4095") - len("-xxxxx")
"""Room for the largest index and for the random end that a pod's name gets."""
_LONGEST_OBJECT: Final = 253
_NAMESPACE_DIGITS: Final = 20
"""Of the digest in a namespace's name: 80 bits, which nobody meets by trying."""
_ILLEGAL: Final = re.compile(r"[^a-z0-9]+")


def _digest(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def _shortened(text: str, longest: int) -> str:
    """`text` in `longest` characters, told apart from others by a hash where it was cut."""
    if len(text) <= longest:
        return text
    end = _digest(text, 8)
    return f"{text[: longest - len(end) - 1].rstrip('-._')}-{end}"


def workload_name(job: str, uid: str, epoch: int) -> str:
    """Name of an epoch's workload and of its Service: a DNS label that begins with a letter."""
    word = _ILLEGAL.sub("-", job.lower()).strip("-")
    if not word[:1].isalpha():
        word = f"j-{word}" if word else "j"
    tag = _ILLEGAL.sub("", uid.lower())
    room = _LONGEST_WORKLOAD - len(f"-e{epoch}")
    end = f"-{tag[:5] or _digest(uid, 5)}"
    if word != job or len(word) + len(end) > room:
        # Several names may have become one: tell them apart by more than five digits.
        end = f"-{_digest(f'{job}/{uid}', 12)}"
    return f"{word[: room - len(end)].rstrip('-')}{end}-e{epoch}"


def attempts_folder(job: str, uid: str) -> str:
    """Name of the folder in which all attempts of a job leave what is theirs."""
    return f"{_shortened(job, LONGEST)}-{_digest(uid, 8)}"


def carried_name(workload: str, original: str) -> str:
    """Name in the center of a ConfigMap or Secret that travels with a job."""
    return _shortened(f"{workload}-{original}", _LONGEST_OBJECT)


def own_namespace(hub_id: str, namespace: str) -> str:
    """The namespace in a center where jobs of a hub namespace run unless its owner maps it."""
    plain = f"huiju-{hub_id}-{namespace}"
    if len(plain) < LONGEST:
        return plain
    # Exactly 63 characters, which no uncut name has: the two kinds never meet. Whoever may choose
    # the name of a namespace must not find one that ends where another's Secrets are.
    end = _digest(plain, _NAMESPACE_DIGITS)
    return f"{plain[: LONGEST - len(end) - 1]}-{end}"


def center_namespace(hub_id: str, namespace: str, mappings: Mapping[str, str]) -> str:
    """The namespace in a center; `mappings` are the owner's exceptions."""
    return mappings.get(namespace) or own_namespace(hub_id, namespace)


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose an object in a center is."""

    hub_id: str
    namespace: str
    name: str
    uid: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.hub_id}/{self.namespace}/{self.name}/{self.uid}/{self.epoch}"

    def labels(self) -> dict[str, str]:
        """The labels of everything that this epoch makes."""
        return {
            LABEL_HUB: self.hub_id,
            LABEL_JOB_UID: self.uid,
            LABEL_EPOCH: str(self.epoch),
            LABEL_JOB_NAMESPACE: self.namespace,
            LABEL_JOB_NAME: _shortened(self.name, LONGEST),
        }

    def selector(self) -> dict[str, str]:
        """The labels that only this epoch's objects carry."""
        return {LABEL_JOB_UID: self.uid, LABEL_EPOCH: str(self.epoch)}


def parse_epoch(text: str) -> int | None:
    """The epoch that a label or an origin names; None where no hub can have written it."""
    known = len(text) <= _EPOCH_DIGITS and text.isascii() and text.isdecimal()
    return int(text) if known else None
