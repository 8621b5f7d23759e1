"""What a puller is told: its order once, and its terms again and again.

Both are JSON in the folder that the center's agent keeps for it (a mounted Secret): `order.json`
and `control.json`. Decides what they may say. Invariant: terms that cannot be read leave those
before in force.
"""

from __future__ import annotations

from datetime import tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from huiju.api.reasons import Reason
from huiju.api.zones import time_zone

ORDER: Final = "order.json"
CONTROL: Final = "control.json"


class PullFailed(Exception):
    """The end of a transfer without a copy."""

    def __init__(self, reason: Reason, message: str, path: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.path = path


class Fenced(Exception):
    """Another puller holds the target now."""


class OrderRefused(ValueError):
    """An order that makes no sense; the message names the field."""


class Mode(StrEnum):
    """What to do."""

    PULL = "Pull"
    """Make the copy, or go on with one that was begun."""
    VERIFY = "Verify"
    """Read a finished copy and check every digest."""
    REPAIR = "Repair"
    """Check a finished copy, fetch what is wrong, and finish it again."""
    REMOVE = "Remove"
    """Take a copy away, and what was begun of one."""


class Order(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One transfer."""

    replica: Annotated[str, msgspec.Meta(min_length=1)]
    """UID of the DatasetReplica."""
    epoch: Annotated[int, msgspec.Meta(ge=1)]
    """Number of the transfer; a lower one has lost the right to write."""
    digest: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    """Digest of the version's manifest."""
    target: Annotated[str, msgspec.Meta(pattern="^/.+[^/]$")]
    """Folder of the finished copy; the one above it is the puller's to write in."""
    mode: Mode = Mode.PULL
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    signing_key: str = ""
    """Public key in PEM form that must have signed the manifest; empty takes unsigned ones."""
    streams: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4
    """Parts fetched at once; each holds one part in memory."""
    patience: Annotated[float, msgspec.Meta(ge=1)] = 900.0
    """Seconds without a byte or a link after which the transfer fails."""
    ca: str = ""
    """Certificates in PEM form that the source's are checked against; empty is the system's."""


class Control(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Terms that may change while the transfer runs."""

    rate: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes per second at most; 0 is without limit."""
    windows: tuple[tuple[int, int], ...] = ()
    """Hours (first, end) of the local day in which data moves; empty is always."""
    zone: str = "UTC"
    """Time zone of the hours."""
    stop: Literal[False, True] = False
    """End at the next part; the transfer can be taken up later."""

    def time_zone(self) -> tzinfo:
        """The zone; raises ValueError."""
        return time_zone(self.zone)


def read_order(folder: Path) -> Order:
    """The order; raises OrderRefused."""
    file = folder / ORDER
    try:
        return msgspec.json.decode(file.read_bytes(), type=Order)
    except OSError as error:
        raise OrderRefused(f"{file}: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise OrderRefused(f"{file}: {error}") from None


def read_control(folder: Path, before: Control) -> Control:
    """The terms now, `before` where they cannot be read."""
    try:
        found = msgspec.json.decode((folder / CONTROL).read_bytes(), type=Control)
        found.time_zone()
    except (OSError, ValueError):  # a DecodeError is a ValueError
        return before
    return found
