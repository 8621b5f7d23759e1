"""Wall-clock times as Kubernetes writes them (RFC 3339, UTC) and as seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(seconds: float) -> str:
    """`2026-01-31T08:15:30Z`, whole seconds, as metav1.Time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds(text: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 for the empty string."""
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def pause_ends(text: str, longest: float, now: float) -> float:
    """When a pause of at most `longest` seconds ends that was written as this time; 0: at once.

    A time beyond twice the longest pause was written by a clock that ran ahead, which nobody is to
    wait for; clocks that are a little apart are not meant.
    """
    at = seconds(text)
    return 0.0 if at > now + 2 * longest else at
