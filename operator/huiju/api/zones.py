"""Time zones by IANA name: what no schema can know, for the database grows."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def time_zone(name: str) -> ZoneInfo:
    """The zone of this name.

    Raises:
        ValueError: there is no such zone; the message has the cure.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {name!r}: give an IANA name such as Asia/Shanghai or UTC"
        ) from None
